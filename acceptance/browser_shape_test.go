package acceptance

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
)

// misfits lists what is wrong with the page as it stands: what reaches over its edge, what
// has no name, what is too small for a finger, and ids and references that do not hold.
const misfits = `(() => {
  const out = [], short = (e) => e.outerHTML.slice(0, 110);
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) out.push('the page is ' + root.scrollWidth + ' wide on ' + root.clientWidth);
  if (document.querySelectorAll('main h1').length !== 1) out.push(document.querySelectorAll('main h1').length + ' headings of the page');
  for (const e of document.querySelectorAll('body *')) {
    const r = e.getBoundingClientRect();
    if (e.id && document.querySelectorAll('#' + CSS.escape(e.id)).length > 1) out.push('id twice: ' + e.id);
    if (e.matches('img:not([alt])')) out.push('no alt: ' + short(e));
    for (const a of ['aria-describedby', 'aria-controls', 'aria-labelledby']) for (const id of (e.getAttribute(a) || '').split(' ')) if (id && !document.getElementById(id)) out.push(a + ' of nothing: ' + id);
    if (!r.width || e.closest('.sr,.skip') || !e.matches('button,a[href],input,select,textarea,[tabindex="0"]')) continue;
    const labels = [...(e.labels || [])].map((l) => l.innerText).join(' ');
    if (!(e.getAttribute('aria-label') || e.innerText || labels || e.title || '').trim()) out.push('no name: ' + short(e));
    const whole = e.closest('article') && e.matches('article a'); // its tile is the target
    if (innerWidth < 760 && !whole && getComputedStyle(e).display !== 'inline' && (r.height < 24 || r.width < 24)) out.push(Math.round(r.width) + 'x' + Math.round(r.height) + ' for a finger: ' + short(e));
  }
  return [...new Set(out)].join('\n');
})()`

// TestBrowserFitsEveryScreen opens every page on a phone, a tablet and a desk.
func TestBrowserFitsEveryScreen(t *testing.T) {
	s := start(t, "--demo")
	p := browse(t, s)
	recorded(s, "demo", 2)
	long := "warehouse.north-wing_second-floor." + strings.Repeat("camera-", 20) + "4711"
	if status, body, _ := s.do("POST", "/v1/streams", map[string]any{"name": long, "retention": "24h"}); status >= 300 {
		t.Fatalf("%d %s", status, body)
	}
	pages := map[string]string{
		"start": "start", "wall": "cameras", "stream": "cameras/demo", "long name": "cameras/" + long, "no such camera": "cameras/none", "add": "add",
		"add, pushed": "add?push=1", "data": "data", "data stream": "data/demo-sensor", "health": "health", "settings": "settings", "audit": "audit", "audit, narrowed": "audit?span=own&decision=deny", "no such page": "none",
	}
	s.happen("demo")
	for _, size := range [][2]int64{{390, 844}, {768, 1024}, {1440, 900}} {
		mobile := size[0] < 1000
		p.do(emulation.SetTouchEmulationEnabled(mobile))
		p.sized(size[0], size[1], mobile)
		for name, place := range pages {
			p.open(place)
			p.drawn()
			p.breathe()
			if wrong := p.eval(misfits); wrong != "" {
				t.Errorf("%s at %dx%d:\n%s", name, size[0], size[1], wrong)
			}
		}
		p.dialogsFit()
	}
}

// dialogsFit opens the dialogs of the stream page as the window now is.
func (p *page) dialogsFit() {
	p.t.Helper()
	p.open("cameras/demo")
	p.until("the events", "document.querySelectorAll('.ev').length > 3 && document.querySelector('.tl canvas').clientHeight > 110", 10*time.Second)
	for name, open := range map[string]string{
		"all events": "[...document.querySelectorAll('.link')].find(b => b.innerText.startsWith('All '))", "an event": "document.querySelector('.ev .ico')",
		"retention": "document.querySelector('.kv .link')", "record": "[...document.querySelectorAll('button')].find(b => b.innerText.startsWith('Record event'))",
	} {
		p.act(open, "e.click()")
		p.until(name+" is open", "document.querySelector('dialog[open] form, dialog[open] .ev')", 10*time.Second)
		p.drawn()
		p.breathe()
		if wrong := p.eval(misfits); wrong != "" {
			p.t.Errorf("%s at %s:\n%s", name, p.eval("innerWidth + 'x' + innerHeight"), wrong)
		}
		if over := p.eval("(d => d.scrollWidth > d.clientWidth || d.getBoundingClientRect().right > innerWidth + 1 || document.querySelector('dialog .body').scrollWidth > document.querySelector('dialog .body').clientWidth)(document.querySelector('dialog[open]'))"); over == "true" {
			p.t.Errorf("%s runs over the side of its dialog at %s", name, p.eval("innerWidth"))
		}
		p.click("dialog[open] button[aria-label=Close]")
		p.until(name+" is closed", "!document.querySelector('dialog[open]')", 5*time.Second)
	}
}
