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

// write types into a field of the open dialog, in place of what is there.
func (p *page) write(field, text string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible("dialog[open] "+field), chromedp.Evaluate(fmt.Sprintf(`document.querySelector('dialog[open] %s').select()`, field), nil), chromedp.SendKeys("dialog[open] "+field, text))
}

// choose sets a select of the open dialog.
func (p *page) choose(field, value string) {
	p.t.Helper()
	p.do(chromedp.Evaluate(fmt.Sprintf(`(f => { f.value = %q; f.dispatchEvent(new Event('change', {bubbles: true})); })(document.querySelector('dialog[open] %s'))`, value, field), nil))
	p.breathe()
}

// submit sends the form of the open dialog and waits until it is closed.
func (p *page) submit() {
	p.t.Helper()
	p.until("the form can be sent", "document.querySelector('dialog[open] .btn.pri:not(:disabled)')", 10*time.Second)
	p.do(chromedp.Evaluate("document.querySelector('dialog[open] form').requestSubmit()", nil))
	p.until("the dialog is closed", "!document.querySelector('dialog[open]')", 10*time.Second)
}

const listed = "[...document.querySelectorAll('aside .ev')].map(e => e.innerText).join('|')"

func TestBrowserMarksKeepsAndRecords(t *testing.T) {
	t.Parallel()
	s := start(t, "--demo")
	p := browse(t, s)
	recorded(s, "demo", 10)
	p.do(chromedp.Navigate("http://" + s.http + "/#/cameras/demo"))
	p.until("the stream page plays", barcodeScript()+" > 0", 20*time.Second)
	p.until("that nothing was marked", "/Nothing was marked in the last 24 hours/.test(document.body.innerText)", 10*time.Second)

	p.do(chromedp.KeyEvent("b"))
	e := s.one("demo", "the mark", func(e happening) bool { return e.Kind == "mark" && e.Keep == "" && !e.Open })
	if off := time.Since(e.Start); off < 0 || off > time.Minute {
		t.Errorf("what is shown live was marked as of %v ago", off)
	}
	p.press("Name or keep it")
	p.write("#elabel", "Truck <b>4711</b>")
	p.choose("select", "forever")
	p.submit()
	s.one("demo", "its label, kept for ever", func(x happening) bool {
		return x.ID == e.ID && x.Label == "Truck <b>4711</b>" && x.Keep == "forever" && x.KeptUntil == nil
	})
	p.until("the list shows it", "/Truck <b>4711<\\/b>[^|]*kept for ever/s.test("+listed+")", 5*time.Second)

	p.do(chromedp.KeyEvent("r"))
	p.write("#elabel", "Unloading")
	p.submit()
	open := s.one("demo", "the event that goes on", func(e happening) bool { return e.Open && e.Label == "Unloading" && e.Keep == "30d" })
	p.until("it is seen to go on", "/Unloading[^|]*so far/s.test("+listed+")", 5*time.Second)
	p.shot("events-open")
	p.press("Stop")
	s.one("demo", "its end", func(e happening) bool { return e.ID == open.ID && !e.Open && e.End != nil && e.End.After(e.Start) })
	p.until("it goes on no longer", "!/so far/.test("+listed+")", 5*time.Second)

	p.do(chromedp.KeyEvent("j"))
	p.until("the player shows a recording", "/recorded/.test(document.querySelector('.player video').getAttribute('aria-label'))", 10*time.Second)
	p.do(chromedp.KeyEvent("i"), chromedp.KeyEvent("p"))
	p.write("#elabel", "the clip")
	p.choose("select", "365d")
	p.submit()
	clip := s.one("demo", "the clip that is kept", func(e happening) bool { return e.Label == "the clip" && e.Keep == "365d" && e.End != nil })
	if long := clip.End.Sub(clip.Start); long < time.Second || long > 11*time.Second {
		t.Errorf("the clip that is kept lasts %v", long)
	}
	p.do(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent("g"))
	p.told(s)
	p.goesTo(s, open)
	p.deletes(s, clip)
}

// told has others add an event while the page looks on.
func (p *page) told(s *server) {
	p.t.Helper()
	s.event("demo", object{"kind": "person", "label": "at the door", "start": "-5s", "end": "-3s"})
	p.until("what others found", "/at the door[^|]*person/s.test("+listed+")", 10*time.Second)
	p.until("that it is said aloud", "[...document.querySelectorAll('[role=status]')].some(e => /new event.*: at the door/i.test(e.textContent))", 10*time.Second)
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
	p.do(chromedp.Evaluate(`[...document.querySelectorAll('aside .ev .go')].find(b => /Unloading/.test(b.innerText)).click()`, nil))
	p.until("its picture, with a run-up", fmt.Sprintf("%s > %d && %s < %d", barcodeScript(), e.Start.Add(-11*time.Second).UnixMilli(), barcodeScript(), e.Start.Add(8*time.Second).UnixMilli()), 20*time.Second)
	all := s.events("demo")
	p.do(chromedp.KeyEvent("g"))
	p.until("the player is live again", "/live/.test(document.querySelector('.player video').getAttribute('aria-label'))", 10*time.Second)
	for i := len(all) - 1; i >= len(all)-2; i-- {
		p.do(chromedp.KeyEvent("E"))
		p.until("word of the event before, "+wordOf(all[i]), fmt.Sprintf("[...document.querySelectorAll('.toast')].at(-1)?.innerText.startsWith(%q)", wordOf(all[i])), 10*time.Second)
		p.until("its time", fmt.Sprintf("Math.abs(new Date(new URLSearchParams(location.hash.split('?')[1]).get('t')) - %d) < 20000", all[i].Start.UnixMilli()), 10*time.Second)
	}
	p.do(chromedp.KeyEvent("e"))
	p.until("the next event", fmt.Sprintf("[...document.querySelectorAll('.toast')].at(-1)?.innerText.startsWith(%q)", wordOf(all[len(all)-1])), 10*time.Second)
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
	p.do(chromedp.Evaluate(`[...document.querySelectorAll('dialog[open] .ev')].find(e => /the clip/.test(e.innerText)).querySelector('.ico').click()`, nil))
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
	p.do(chromedp.Navigate("http://" + s.http + "/#/cameras/demo"))
	p.until("the facts", "document.querySelector('.kv .link')", 20*time.Second)
	p.do(chromedp.Evaluate("document.querySelector('.kv .link').click()", nil))
	p.until("the dialog", "/Change something to see/.test(document.querySelector('dialog[open]')?.innerText)", 10*time.Second)
	p.choose("#rsize", "on")
	p.choose("select.unit", "MB")
	p.write("input[aria-label=Size]", "1.1")
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
	p.do(chromedp.Evaluate(`import('/js/store.js').then((m) => { m.session.value = {...m.session.value, role: 'viewer'}; })`, nil))
	p.do(chromedp.Evaluate("document.querySelector('.kv .link').click()", nil))
	p.until("the dialog of one who looks", "/1.1 MB/.test(document.querySelector('dialog[open]')?.innerText) && /not change it/.test(document.querySelector('dialog[open]').innerText) && !document.querySelector('dialog[open] form')", 10*time.Second)
	if n := p.eval("document.querySelectorAll('.evbtns, .ev .ico').length"); n != "0" {
		t.Errorf("one who looks has %s ways to mark", n)
	}
}

// TestBrowserForecastsTheDisk changes what the server says of its disk on its way to the page.
func TestBrowserForecastsTheDisk(t *testing.T) {
	t.Parallel()
	s := start(t, "--demo")
	p := browse(t, s)
	recorded(s, "demo", 1)
	p.until("the console is there", "document.querySelector('main h1')", 20*time.Second)
	disk := func(free, steady float64, days int) {
		full := "null"
		if days > 0 {
			full = fmt.Sprintf("new Date(Date.now() + %d * 864e5 + 36e5).toISOString()", days)
		}
		p.do(chromedp.Evaluate(fmt.Sprintf(`(() => { const ask = window.asks ||= window.fetch; window.fetch = async (u, o) => { const r = await ask(u, o); if (!String(u).endsWith('/v1/system')) return r;
			return new Response(JSON.stringify({...await r.json(), disk: {total: 2e12, free: %g, used_by_media: 1e9, daily_bytes: 112e9, steady_bytes: %g, kept_bytes: 812e6, full_at: %s}}), {headers: {'Content-Type': 'application/json'}}); };
			location.hash = '#/health'; import('/js/store.js').then((m) => m.refreshSystem()); })()`, free, steady, full), nil))
	}
	const alert = "document.querySelector('main .card.alert')?.innerText"
	disk(1.1e12, 3.36e12, 10)
	p.until("when it fills", "/The disk fills on .*, in 10 days[^]*45% of 2 TB used, 112 GB a day[^]*would take 3.36 TB[^]*What events keep, 812 MB, is not touched/.test("+alert+")", 10*time.Second)
	if rows := p.eval("document.querySelector('#kept').innerText"); !strings.Contains(rows, "demo") || !strings.Contains(rows, "24 h") || !strings.Contains(rows, "GB") {
		t.Errorf("what each camera keeps: %q", rows)
	}
	p.shot("health-full")
	for hash, says := range map[string]string{"#/start": "/The disk fills on/.test(" + alert + ")", "#/cameras": "/disk full on/.test(document.querySelector('.top').innerText)"} {
		p.do(chromedp.Evaluate(fmt.Sprintf("location.hash = %q", hash), nil))
		p.until("a word of it at "+hash, says, 10*time.Second)
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
	p.until("the console is there", "document.querySelector('main')", 20*time.Second)
	for i := range 70 {
		if status, body, _ := s.do("POST", "/v1/streams", object{"name": fmt.Sprint("made-", i)}); status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
	}
	p.do(chromedp.Navigate("http://" + s.http + "/#/audit"))
	const lines = "document.querySelectorAll('table.audit tbody tr:not(.more)').length"
	p.until("the newest lines", lines+" >= 30 && /made-69/.test(document.querySelector('table.audit tbody').innerText)", 10*time.Second)
	if p.eval("/made-0\\b/.test(document.querySelector('table.audit').innerText)") == "true" {
		t.Error("the first page holds the oldest lines, too")
	}
	p.press("Older")
	p.until("the older lines", "/made-0\\b/.test(document.querySelector('table.audit').innerText)", 10*time.Second)
	p.shot("audit")
	p.do(chromedp.Evaluate(`document.querySelector('table.audit .link').click()`, nil))
	p.until("all of a line", "/Hash/.test(document.querySelector('tr.more')?.innerText)", 5*time.Second)
	filter := func(n int, text string) {
		p.do(chromedp.Evaluate(fmt.Sprintf(`(f => { f.value = %q; f.dispatchEvent(new Event('input', {bubbles: true})); })(document.querySelectorAll('.filters input[type=search]')[%d])`, text, n), nil))
	}
	filter(2, "made-7/")
	p.until("one object", lines+" === 1 && /CreateStream/.test(document.querySelector('table.audit tbody').innerText)", 10*time.Second)
	filter(0, "nobody-of-that-name")
	p.until("that nothing matches", "/Nothing matches/.test(document.body.innerText)", 10*time.Second)
	p.do(chromedp.Reload())
	p.until("the same after a reload", "/Nothing matches/.test(document.body.innerText) && document.querySelectorAll('.filters input[type=search]')[0].value === 'nobody-of-that-name'", 20*time.Second)
	p.press("Clear the filters")
	p.until("all again", lines+" >= 30", 10*time.Second)
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
	p.until("the console is there", "document.querySelector('main')", 20*time.Second)
	p.do(microphone(browser.PermissionSettingDenied), chromedp.Navigate("http://"+s.http+"/#/cameras/door"))
	p.press("Talk")
	p.until("why not", "/microphone was not allowed/.test(document.querySelector('.talk')?.innerText)", 10*time.Second)
	p.do(microphone(browser.PermissionSettingGranted))
	p.press("Call again")
	p.until("the camera listens", "document.querySelector('.hold') === document.activeElement", 20*time.Second)
	if n := heard.Load(); n != 0 {
		t.Errorf("%d packets went out before anybody spoke", n)
	}
	p.do(chromedp.Evaluate("document.querySelector('.hold').dispatchEvent(new KeyboardEvent('keydown', {key: ' ', bubbles: true, cancelable: true}))", nil))
	s.until("a second is heard, and not silence", 20*time.Second, func() error {
		if n, most := heard.Load(), loudest.Load(); n < 50 || most < 300 {
			return fmt.Errorf("%d packets, the loudest sample %d", n, most)
		}
		return nil
	})
	p.shot("talk")
	p.do(chromedp.Evaluate("document.querySelector('.hold').dispatchEvent(new KeyboardEvent('keyup', {key: ' ', bubbles: true}))", nil))
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
	p.do(chromedp.Evaluate("void Object.defineProperty(window, 'isSecureContext', {value: false})", nil))
	p.press("Talk")
	p.until("words about https", "/by https/.test(document.querySelector('.talk')?.innerText)", 5*time.Second)
}
