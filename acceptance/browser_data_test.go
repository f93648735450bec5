package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// drag presses in an open shard of the map at the part of its width, moves by so many
// widths of the whole map, and lets go; what is then asked says so.
func (p *page) drag(shard string, from, by float64, asks string) {
	p.t.Helper()
	var box struct{ X, Y, W, H, All float64 }
	var y float64
	mouse := func(kind input.MouseType, x float64) chromedp.Action {
		return chromedp.ActionFunc(func(ctx context.Context) error {
			e := input.DispatchMouseEvent(kind, x, y).WithButton(input.Left).WithClickCount(1)
			if kind == input.MouseMoved {
				e = e.WithButtons(1)
			}
			return e.Do(ctx)
		})
	}
	// What is above the map may grow while the mouse is on its way: then it hits another
	// place, and nothing is dragged.
	p.until("the shard", fmt.Sprintf("[...document.querySelectorAll('button.shard')].some(b => b.title.startsWith(%q))", shard), 10*time.Second)
	for range 10 {
		p.do(chromedp.Evaluate(fmt.Sprintf(`(() => { document.querySelector('.shardmap').scrollIntoView({block: 'center', behavior: 'instant'});
			const b = [...document.querySelectorAll('button.shard')].find(b => b.title.startsWith(%q)).getBoundingClientRect();
			return {X: b.left, Y: b.top, W: b.width, H: b.height, All: document.querySelector('.shardmap').getBoundingClientRect().width}; })()`, shard), &box))
		x := box.X + box.W*from
		y = box.Y + box.H/2
		p.do(mouse(input.MousePressed, x))
		for i := 1; i <= 5; i++ {
			p.do(mouse(input.MouseMoved, x+by*box.All*float64(i)/5))
			p.breathe()
		}
		dragged := p.eval(fmt.Sprintf("[...document.querySelectorAll('[aria-live=polite]')].some(e => e.innerText.startsWith(%q))", asks)) == "true"
		p.shot("data-drag")
		p.do(mouse(input.MouseReleased, x+by*box.All))
		if dragged {
			p.until("it asks before", fmt.Sprintf("document.querySelector('dialog[open]').innerText.startsWith(%q)", asks), 10*time.Second)
			return
		}
		if p.eval("!!document.querySelector('dialog[open]')") == "true" {
			p.fail("dragging in %s asked another thing than %s", shard, asks)
		}
	}
	p.fail("%s cannot be dragged", shard)
}

// rows is how many records the page shows.
const rows = "document.querySelectorAll('table.recs tbody tr').length"

func TestBrowserMakesFillsAndReshapesADataStream(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := browse(t, s)
	p.open("data")
	p.press("Make the first one")
	p.write("#dname", "sensors")
	p.choose("#dmode", "fixed")
	p.until("how many shards", "document.querySelector('#dshards')?.value === '2'", 10*time.Second)
	p.shot("data-new")
	p.press("Make it")
	p.until("the page of the new stream", "location.hash === '#/data/sensors' && document.querySelectorAll('button.shard').length === 2", 10*time.Second)

	// A record that is put by hand comes through the tail.
	p.until("the tail runs", "/Waiting for records/.test(document.body.innerText)", 10*time.Second)
	p.press("Put record")
	p.write("#pkey", "truck-7")
	p.write("#pdata", `{"speed": 83, "place": "Bern"}`)
	p.press("Put")
	p.until("the record is in the tail", rows+" === 1 && /truck-7/.test(document.querySelector('table.recs').innerText) && /Bern/.test(document.querySelector('table.recs').innerText)", 10*time.Second)
	p.shot("data-put")
	p.press("Close")
	p.click("table.recs tbody tr")
	p.until("the record is shown whole", `document.querySelector('table.recs tr[aria-expanded=true]')?.innerText.includes('"speed": 83')`, 5*time.Second)

	// Splitting by dragging inside of a shard.
	p.drag("shardId-000000000000", 0.3, 0.1, "Split ")
	p.until("what it splits", "/Split shardId-000000000000/.test(document.querySelector('dialog[open]')?.innerText)", 5*time.Second)
	p.shot("data-split")
	p.press("Split")
	p.until("three shards are open", "document.querySelectorAll('button.shard').length === 3 && !document.querySelector('dialog[open]')", 15*time.Second)
	all := s.shards("sensors")
	if len(all) != 4 || all[0].open() {
		t.Fatalf("after the split: %+v", all)
	}
	if at := all[3].HashKeyRange.StartingHashKey; len(at) < 38 || at < "81" && len(at) == 38 || len(at) == 38 && at > "89" {
		t.Errorf("the second child begins at %s: not where the mouse was let go, at half of the first half", at) // 85e36
	}

	// Merging by dragging into the neighbour.
	p.drag("shardId-000000000002", 0.5, 0.25, "Merge ")
	p.press("Merge")
	p.until("two shards are open", "document.querySelectorAll('button.shard').length === 2 && !document.querySelector('dialog[open]')", 15*time.Second)
	if all = s.shards("sensors"); len(all) != 5 || all[2].open() || all[3].open() {
		t.Fatalf("after the merge: %+v", all)
	}
	p.shot("data-merged")

	p.filters()
	// Deleting asks for the name.
	p.press("Delete")
	p.write("dialog[open] input", "sensors")
	p.submit()
	p.until("the list without it", "location.hash === '#/data' && /No data streams yet/.test(document.body.innerText)", 10*time.Second)
	s.until("the stream is gone", 10*time.Second, func() error {
		if status, _, _ := s.do("GET", "/v1/data/sensors", nil); status != http.StatusNotFound {
			return fmt.Errorf("status %d", status)
		}
		return nil
	})
}

// search filters the records.
func (p *page) search(text string) {
	p.t.Helper()
	p.choose("input[type=search]", text)
	p.act(first("input[type=search]"), "e.form.requestSubmit()")
	p.breathe()
}

// filters chooses, pauses and reads back on the page of sensors, which follows it.
func (p *page) filters() {
	p.t.Helper()
	put := func(key string, n int) {
		for i := range n {
			p.s.kds("PutRecord", object{"StreamName": "sensors", "PartitionKey": key, "Data": fmt.Appendf(nil, `{"i":%d}`, i)}, nil)
		}
	}
	p.search("key:wanted-*")
	p.until("the tail begins anew", rows+" === 0 && /Waiting for records/.test(document.body.innerText)", 5*time.Second)
	put("other-1", 3)
	put("wanted-1", 2)
	p.until("what was asked for", rows+" === 2", 10*time.Second)
	if shown := p.eval("document.querySelector('table.recs').innerText"); strings.Contains(shown, "other-1") || strings.Count(shown, "wanted-1") != 2 {
		p.t.Errorf("the filter lets other records through: %s", shown)
	}
	p.press("Pause")
	p.until("that it is paused", button("Go on"), 5*time.Second)
	// What arrives is read all the same, and would be shown a third of a second later.
	p.script(`(() => { window.arrived = ''; const d = TextDecoder.prototype.decode; TextDecoder.prototype.decode = function (...a) { const text = d.apply(this, a); window.arrived += text; return text; }; })()`)
	put("wanted-2", 2)
	p.until("what came to the page", "arrived.split('wanted-2').length === 3", 10*time.Second)
	p.await("new Promise(r => setTimeout(r, 700))")
	if n := p.eval(rows); n != "2" {
		p.t.Errorf("a paused tail shows %s records", n)
	}
	p.press("Go on")
	p.until("what came meanwhile", rows+" === 4", 5*time.Second)
	p.press("Last 15 min")
	p.until("what was stored", rows+" === 4 && /that is all for now/.test(document.body.innerText)", 10*time.Second)
}

// dataShots are the data pages for TestScreenshots: full of records, and one that is not
// there.
func (s *server) dataShots() []string {
	s.t.Helper()
	for _, name := range []string{"front-gate", "truck-telemetry-of-the-northern-fleet"} {
		s.kds("CreateStream", object{"StreamName": name, "ShardCount": 2}, nil)
		s.active(name)
	}
	const name = "truck-telemetry-of-the-northern-fleet"
	s.kds("RegisterStreamConsumer", object{"StreamARN": dataARN(name), "ConsumerName": "billing"}, nil)
	s.kds("SplitShard", object{"StreamName": name, "ShardToSplit": "shardId-000000000001", "NewStartingHashKey": "255211775190703847597530955573826158592"}, nil)
	s.active(name)
	s.kds("MergeShards", object{"StreamName": name, "ShardToMerge": "shardId-000000000002", "AdjacentShardToMerge": "shardId-000000000003"}, nil)
	s.active(name)
	for i := range 200 {
		s.kds("PutRecord", object{"StreamName": name, "PartitionKey": fmt.Sprint("truck-", i%7), "Data": fmt.Appendf(nil, `{"truck":%d,"speed":%d.5,"place":{"lat":46.94%d,"lon":7.44},"state":"driving on the motorway to the north"}`, i%7, 60+i%30, i)}, nil)
	}
	return []string{"data", "data/" + name, "data/front-gate", "data/not-there"}
}

// TestScreenshotsOfNoData takes the data pages where there is nothing, and where the
// server cannot be reached.
func TestScreenshotsOfNoData(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := browse(t, s)
	p.looks(func(look string) {
		p.open("data")
		p.until("the empty list", "/No data streams yet/.test(document.body.innerText)", 10*time.Second)
		p.fits("data")
		p.shot("data-empty-" + look)
	})
	p.open("data/not-there") // a page is loaded when it is first shown
	p.until("a stream that is not there", "/No such data stream/.test(document.body.innerText)", 10*time.Second)
	s.stop()
	p.open("data/unreachable")
	p.looks(func(look string) {
		p.until("the page says that it is cut off", "/could not be read/.test(document.body.innerText)", 15*time.Second)
		p.fits("data offline")
		p.shot("data-offline-" + look)
	})
	s.up()
	p.until("the page comes back by itself", "/No such data stream/.test(document.body.innerText)", 20*time.Second)
}
