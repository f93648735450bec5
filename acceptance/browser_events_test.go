package acceptance

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pion/rtp"

	"penstock/internal/camsim"
)

// happening is an event of a stream.
type happening struct {
	ID, Kind, Label, Keep string
	Start                 time.Time
	End                   *time.Time
	Open                  bool
	KeptUntil             *time.Time `json:"kept_until"`
}

func (s *server) events(name string) []happening {
	s.t.Helper()
	var v struct{ Events []happening }
	s.get("/v1/streams/"+name+"/events?start=-1h", &v)
	return v.Events
}

// event adds one.
func (s *server) event(name string, body object) {
	s.t.Helper()
	if status, text, _ := s.do("POST", "/v1/streams/"+name+"/events", body); status != http.StatusCreated {
		s.t.Fatalf("add an event: %d %s", status, text)
	}
}

// happen fills a stream with events of all shapes.
func (s *server) happen(name string) {
	s.t.Helper()
	long := "A delivery that took rather longer than anybody in the yard had thought it would, with <b>markup</b> & a-word-without-any-place-to-break-it-" + strings.Repeat("x", 60)
	s.event(name, object{"label": long, "start": "-3m", "end": "-2m", "keep": "forever", "data": object{"truck": 4711, "seen": []string{"gate", "dock"}}})
	s.event(name, object{"start": "-100s"})
	s.event(name, object{"kind": "inspection", "label": "Unloading", "start": "-70s", "open": true, "keep": "30d"})
	for i := range 12 {
		s.event(name, object{"kind": []string{"person", "forklift"}[i%2], "start": fmt.Sprintf("-%ds", 10+i*5), "end": fmt.Sprintf("-%ds", 6+i*5)})
	}
}

// one waits until the events of a stream hold one that is as wanted.
func (s *server) one(name, what string, is func(happening) bool) (found happening) {
	s.t.Helper()
	s.until(what, 10*time.Second, func() error {
		all := s.events(name)
		for _, e := range all {
			if is(e) {
				found = e
				return nil
			}
		}
		return fmt.Errorf("events %+v", all)
	})
	return found
}

const listed = "[...document.querySelectorAll('aside .ev')].map(e => e.innerText).join('|')"

func TestBrowserMarksKeepsAndRecords(t *testing.T) {
	t.Parallel()
	s := start(t, "--demo")
	p := browse(t, s)
	recorded(s, "demo", 20)
	p.open("cameras/demo")
	p.until("the stream page plays", barcodeScript()+" > 0", 20*time.Second)
	p.until("that nothing was marked", "/Nothing was marked in the last 24 hours/.test(document.body.innerText)", 10*time.Second)

	p.marks(s)
	s.one("demo", "its label, kept for ever", func(e happening) bool {
		return e.Kind == "mark" && e.Label == "Truck <b>4711</b>" && e.Keep == "forever" && e.KeptUntil == nil
	})
	p.until("the list shows it", "/Truck <b>4711<\\/b>[^|]*kept for ever/s.test("+listed+")", 5*time.Second)

	p.key("r")
	p.write("dialog[open] #elabel", "Unloading")
	p.submit()
	open := s.one("demo", "the event that goes on", func(e happening) bool { return e.Open && e.Label == "Unloading" && e.Keep == "30d" })
	p.until("it is seen to go on", "/Unloading[^|]*so far/s.test("+listed+")", 5*time.Second)
	p.shot("events-open")
	p.press("Stop")
	open = s.one("demo", "its end", func(e happening) bool {
		return e.ID == open.ID && !e.Open && e.End != nil && e.End.After(e.Start)
	})
	p.until("it goes on no longer", "/Unloading/.test("+listed+") && !/so far/.test("+listed+")", 5*time.Second)

	p.back()
	p.key("i")
	p.until("a clip is marked", clipMarked, 10*time.Second)
	p.key("p")
	p.write("dialog[open] #elabel", "the clip")
	p.choose("dialog[open] select", "365d")
	p.submit()
	clip := s.one("demo", "the clip that is kept", func(e happening) bool { return e.Label == "the clip" && e.Keep == "365d" && e.End != nil })
	if long := clip.End.Sub(clip.Start); long < time.Second || long > 11*time.Second {
		t.Errorf("the clip that is kept lasts %v", long)
	}
	p.key(kb.Escape)
	p.until("that no clip is marked", "!("+clipMarked+")", 5*time.Second)
	p.live()
	p.told(s)
	p.goesTo(s, open)
	p.deletes(s, clip)
}

// marks marks what is shown, and names and keeps it by the button that is offered for some
// seconds: a machine that stood still meanwhile is asked again.
func (p *page) marks(s *server) {
	p.t.Helper()
	const opened = "document.querySelector('dialog[open] #elabel')"
	for try := 0; p.eval("!!"+opened) != "true"; try++ {
		if try == 5 {
			p.fail("what was marked cannot be named")
		}
		pressed := time.Now()
		p.hears("Marked ", func() { p.key("b") })
		e := s.one("demo", "the mark", func(e happening) bool { return e.Kind == "mark" && e.Keep == "" && !e.Open })
		if e.Start.After(time.Now()) || pressed.Sub(e.Start) > time.Minute {
			p.t.Errorf("what is shown live at %v was marked as of %v", pressed, e.Start)
		}
		if p.eval(fmt.Sprintf("(b => { b?.click(); return !!b; })(%s)", button("Name or keep it"))) == "true" {
			p.until("a dialog to name it", opened, 10*time.Second)
		}
	}
	p.write("dialog[open] #elabel", "Truck <b>4711</b>")
	p.choose("dialog[open] select", "forever")
	p.submit()
}

// told has others add an event while the page looks on.
func (p *page) told(s *server) {
	p.t.Helper()
	s.event("demo", object{"kind": "person", "label": "at the door", "start": "-5s", "end": "-3s"})
	p.until("what others found", "/at the door[^|]*person/s.test("+listed+")", 10*time.Second)
	p.until("that it is said aloud", "[...document.querySelectorAll('[role=status]')].some(e => /new event.*: at the door/i.test(e.textContent))", 10*time.Second)
	// So it is when an answer about the timeline has it a moment before the server tells of it, but once.
	if n := p.await(`import('/js/events.js').then(({Events, readEvent}) => { const at = new Date().toISOString(), e = {id: 'x', kind: 'person', start: at, end: at}, all = new Events('x');
		all.began -= 60e3; all.feed([e], 0, Date.now() + 1000, Date.now(), true); return all.mark(readEvent(e)) + 2 * all.mark(readEvent(e)); })`); n != 1 {
		p.t.Errorf("an event that is known and then told of: %b", n)
	}
	e := s.one("demo", "what was found", func(e happening) bool { return e.Label == "at the door" })
	// Under the pointer it says what it is: the timeline shows ten minutes, up to a little after now.
	p.until("its words under the pointer", fmt.Sprintf(`(() => { const c = document.querySelector('.tl canvas'), r = c.getBoundingClientRect(), w = 600e3, from = Date.now() + 0.06 * w - w;
		c.dispatchEvent(new PointerEvent('pointermove', {clientX: r.left + (%d - from) / w * r.width, clientY: r.top + 91, pointerType: 'mouse', bubbles: true}));
		return /at the door/.test(document.querySelector('.peek')?.innerText); })()`, e.Start.Add(time.Second).UnixMilli()), 10*time.Second)
	p.shot("events-pointer")
}

// goesTo plays an event from the list, and goes from one to the next by keys.
func (p *page) goesTo(s *server, e happening) {
	p.t.Helper()
	p.act("[...document.querySelectorAll('aside .ev .go')].find(b => /Unloading/.test(b.innerText))", "e.click()")
	p.until("its picture, with a run-up", fmt.Sprintf("/recorded/.test(%s) && %s > %d && %s < %d", label, barcodeScript(), e.Start.Add(-11*time.Second).UnixMilli(), barcodeScript(), e.End.Add(time.Minute).UnixMilli()), 20*time.Second)
	all := s.events("demo")
	p.live()
	for i := len(all) - 1; i >= len(all)-2; i-- {
		p.hears(wordOf(all[i]), func() { p.key("E") })
		p.key(" ") // it stands still: who watches on is elsewhere in a while
		p.until("its time", fmt.Sprintf("Math.abs(%s - %d) < 20000 && Math.abs(new Date(new URLSearchParams(location.hash.split('?')[1]).get('t')) - %d) < 20000", shownTime, all[i].Start.UnixMilli(), all[i].Start.UnixMilli()), 10*time.Second)
	}
	p.hears(wordOf(all[len(all)-1]), func() { p.key("e") })
}

// wordOf is what the page calls an event.
func wordOf(e happening) string {
	if e.Label != "" {
		return e.Label
	}
	return e.Kind
}

func (p *page) deletes(s *server, e happening) {
	p.t.Helper()
	p.press("All ")
	p.until("the list of all", fmt.Sprintf("document.querySelectorAll('dialog[open] .ev').length === %d", len(s.events("demo"))), 10*time.Second)
	p.shot("events-all")
	p.act("[...document.querySelectorAll('dialog[open] .ev')].find(e => /the clip/.test(e.innerText)).querySelector('.ico')", "e.click()")
	p.press("Delete…")
	p.until("it asks", "/Delete the clip/.test(document.querySelector('dialog[open]')?.innerText)", 5*time.Second)
	p.submit()
	if status, _, _ := s.do("GET", "/v1/streams/demo/events/"+url.PathEscape(e.ID), nil); status != http.StatusNotFound {
		p.t.Errorf("what was deleted: %d", status)
	}
	p.until("the list without it", "!/the clip/.test("+listed+")", 5*time.Second)
}

func TestBrowserShowsWhatAShorterRetentionDeletes(t *testing.T) {
	t.Parallel()
	s := start(t, "--demo")
	recorded(s, "demo", 16) // more than a megabyte
	s.stop()                // what is being written is not deleted: this closes it
	s.up()
	p := browse(t, s)
	recorded(s, "demo", 20)
	p.open("cameras/demo")
	p.click(".kv .link")
	p.until("the dialog", "/Change something to see/.test(document.querySelector('dialog[open]')?.innerText)", 10*time.Second)
	p.choose("dialog[open] #rsize", "on")
	p.choose("dialog[open] select.unit", "MB")
	p.write("dialog[open] input[aria-label=Size]", "1.1")
	p.until("what it would delete", `/^Deletes \S+ [kM]B of /.test(document.querySelector('.preview').innerText) && /^Delete .* and save$/.test(document.querySelector('dialog[open] .btn.pri').innerText)`, 10*time.Second)
	p.shot("retention-preview")
	var v struct {
		Bytes int64 `json:"retention_bytes"`
	}
	first := s.stream("demo").First
	if s.get("/v1/streams/demo", &v); v.Bytes != 0 {
		t.Fatalf("looking changed the stream: %d", v.Bytes)
	}
	p.submit()
	s.until("less is kept", 20*time.Second, func() error {
		if s.get("/v1/streams/demo", &v); v.Bytes != 1_100_000 {
			return fmt.Errorf("at most %d bytes", v.Bytes)
		}
		if now := s.stream("demo").First; !now.After(first) {
			return fmt.Errorf("the oldest is still of %v", now)
		}
		return nil
	})
	// One who may look sees the same, and nothing to change it with.
	p.await(`import('/js/store.js').then((m) => { m.session.value = {...m.session.value, role: 'viewer'}; })`)
	p.click(".kv .link")
	p.until("the dialog of one who looks", "/1.1 MB/.test(document.querySelector('dialog[open]')?.innerText) && /not change it/.test(document.querySelector('dialog[open]').innerText) && !document.querySelector('dialog[open] form')", 10*time.Second)
	p.until("no way to mark for one who looks", "document.querySelectorAll('.evbtns, .ev .ico').length === 0", 5*time.Second)
}

// TestBrowserForecastsTheDisk changes what the server says of its disk on its way to the page.
func TestBrowserForecastsTheDisk(t *testing.T) {
	t.Parallel()
	s := start(t, "--demo")
	p := browse(t, s)
	recorded(s, "demo", 1)
	disk := func(free, steady float64, days int) {
		full := "null"
		if days > 0 {
			full = fmt.Sprintf("new Date(Date.now() + %d * 864e5 + 36e5).toISOString()", days)
		}
		p.script(fmt.Sprintf(`(() => { const ask = window.asks ||= window.fetch; window.fetch = async (u, o) => { const r = await ask(u, o); if (!String(u).endsWith('/v1/system')) return r;
			return new Response(JSON.stringify({...await r.json(), disk: {total: 2e12, free: %g, used_by_media: 1e9, daily_bytes: 112e9, steady_bytes: %g, kept_bytes: 812e6, full_at: %s}}), {headers: {'Content-Type': 'application/json'}}); };
			location.hash = '#/health'; import('/js/store.js').then((m) => m.refreshSystem()); })()`, free, steady, full))
	}
	const alert = "document.querySelector('main .card.alert')?.innerText"
	disk(1.1e12, 3.36e12, 10)
	p.until("when it fills", "/The disk fills on .*, in 10 days[^]*45% of 2 TB used, 112 GB a day[^]*would take 3.36 TB[^]*What events keep, 812 MB, is not touched/.test("+alert+")", 10*time.Second)
	p.until("what each camera keeps", "['demo', '24 h', 'GB'].every(word => document.querySelector('#kept').innerText.includes(word))", 20*time.Second)
	p.shot("health-full")
	for place, says := range map[string]string{"start": "/The disk fills on/.test(" + alert + ")", "cameras": "/disk full on/.test(document.querySelector('.top').innerText)"} {
		p.open(place)
		p.until("a word of it at "+place, says, 10*time.Second)
	}
	disk(0.02e12, 3.36e12, 1)
	p.until("that there is no room", "/all but full/.test("+alert+")", 10*time.Second)
	disk(1.1e12, 1.2e12, 0)
	p.until("that all is well", "location.hash === '#/health' && !/disk/i.test("+alert+") && /it does not fill/.test(document.body.innerText)", 10*time.Second)
}

func TestBrowserShowsTheAuditLog(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := browse(t, s)
	for i := range 70 {
		if status, body, _ := s.do("POST", "/v1/streams", object{"name": fmt.Sprint("made-", i)}); status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
	}
	p.open("audit")
	const lines = "document.querySelectorAll('table.audit tbody tr:not(.more)').length"
	p.until("the newest lines", lines+" >= 30 && /made-69/.test(document.querySelector('table.audit tbody').innerText)", 10*time.Second)
	if p.eval("/made-0\\b/.test(document.querySelector('table.audit').innerText)") == "true" {
		t.Error("the first page holds the oldest lines, too")
	}
	p.press("Older")
	p.until("the older lines", "/made-0\\b/.test(document.querySelector('table.audit').innerText)", 10*time.Second)
	p.shot("audit")
	p.click("table.audit .link")
	p.until("all of a line", "/Hash/.test(document.querySelector('tr.more')?.innerText)", 5*time.Second)
	filter := func(n int, text string) {
		p.set(fmt.Sprintf("document.querySelectorAll('.filters input[type=search]')[%d]", n), text)
	}
	filter(2, "made-7/")
	p.until("one object", lines+" === 1 && /CreateStream/.test(document.querySelector('table.audit tbody').innerText)", 10*time.Second)
	filter(0, "nobody-of-that-name")
	p.until("that nothing matches", "/Nothing matches/.test(document.body.innerText)", 10*time.Second)
	p.reload()
	p.until("the same after a reload", "/Nothing matches/.test(document.body.innerText) && document.querySelectorAll('.filters input[type=search]')[0].value === 'nobody-of-that-name'", 20*time.Second)
	p.press("Clear the filters")
	p.until("all again", lines+" >= 30", 10*time.Second)
}

// speaks calls a camera again and begins to speak. A slow camera is given up, and whoever
// says nothing for half a minute, too: then it calls once more. It returns how many packets
// the camera had heard before.
func (p *page) speaks(heard *atomic.Int64) (before int64) {
	p.t.Helper()
	again := button("Call again")
	for range 5 {
		p.press("Call again")
		p.until("the camera listens, or the call ended", "document.querySelector('.hold') === document.activeElement || "+again, 30*time.Second)
		// The microphone is open, and what it hears stays here.
		p.until("a level, or the call ended", "parseInt(document.querySelector('.vu i')?.style.width) > 0 || "+again, 30*time.Second)
		before = heard.Load()
		if p.eval("(e => { e?.dispatchEvent(new KeyboardEvent('keydown', {key: ' ', bubbles: true, cancelable: true})); return !!e; })(document.querySelector('.hold'))") == "true" {
			return before
		}
	}
	p.fail("no call to the camera lasts")
	return 0
}

func TestBrowserTalksToACamera(t *testing.T) {
	t.Parallel()
	s := start(t)
	var heard, loudest atomic.Int64
	cam, err := camsim.Serve(camsim.ServerConfig{Material: camsim.Record(camsim.NewDemo(), 10*time.Second), Back: camsim.PCMU, Speaker: func(p *rtp.Packet) {
		heard.Add(1)
		for _, b := range p.Payload {
			// µ-law: the bits are turned, three of them an exponent (ITU-T G.711).
			u := ^b
			loudest.Store(max(loudest.Load(), int64(float64(int(u&15)<<3+132)*math.Pow(2, float64(u>>4&7)))-132))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cam.Close() }) // its library calls being closed an error
	x := &interop{t: t, s: s, name: "door"}
	x.create(map[string]any{"url": cam.URL(0), "transport": "tcp"})
	recorded(s, "door", 1)
	p := browse(t, s, chromedp.Flag("use-fake-device-for-media-stream", true))
	microphone := func(to browser.PermissionSetting) chromedp.Action {
		return browser.SetPermission(&browser.PermissionDescriptor{Name: "microphone"}, to)
	}
	p.do(microphone(browser.PermissionSettingDenied))
	p.open("cameras/door")
	p.press("Talk")
	p.until("why not", "/microphone was not allowed/.test(document.querySelector('.talk')?.innerText)", 10*time.Second)
	p.do(microphone(browser.PermissionSettingGranted))
	if n := p.speaks(&heard); n != 0 {
		t.Errorf("%d packets went out before anybody spoke", n)
	}
	s.until("a second is heard, and not silence", 20*time.Second, func() error {
		if n, most := heard.Load(), loudest.Load(); n < 50 || most < 300 {
			return fmt.Errorf("%d packets, the loudest sample %d", n, most)
		}
		return nil
	})
	p.shot("talk")
	p.act(first(".hold"), "e.dispatchEvent(new KeyboardEvent('keyup', {key: ' ', bubbles: true}))")
	p.until("it is silent again", "/Hold to talk/.test(document.querySelector('.hold').innerText)", 5*time.Second)
	p.press("Hang up")
	p.until("the bar is gone", "!document.querySelector('.talk')", 5*time.Second)
	var v struct{ Busy *object }
	s.until("the camera is free", 10*time.Second, func() error {
		if s.get("/v1/streams/door/talk", &v); v.Busy != nil {
			return fmt.Errorf("busy: %v", *v.Busy)
		}
		return nil
	})
	// A page that did not come safely gets no microphone, and says why.
	p.script("void Object.defineProperty(window, 'isSecureContext', {value: false})")
	p.press("Talk")
	p.until("words about https", "/by https/.test(document.querySelector('.talk')?.innerText)", 5*time.Second)
}
