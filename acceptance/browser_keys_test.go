package acceptance

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"penstock/internal/camsim"
)

// seldom is a camera that makes a key frame every six seconds, and its ONVIF side, whose
// port is none of the usual ones.
func seldom(t *testing.T) (url string, encoder *camsim.Device, service string) {
	t.Helper()
	clip := camsim.Record(camsim.NewDemo(), 6*time.Second)
	clip.Units = slices.DeleteFunc(clip.Units, func(u camsim.Unit) bool { return u.Sync && u.DTS > 0 })
	cam, err := camsim.Serve(camsim.ServerConfig{Material: clip})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cam.Close() }) // its library calls being closed an error
	encoder = &camsim.Device{}
	onvif := httptest.NewServer(encoder)
	t.Cleanup(onvif.Close)
	return cam.URL(0), encoder, onvif.URL + "/onvif/device_service"
}

func TestBrowserSetsTheKeyFrameInterval(t *testing.T) {
	t.Parallel()
	s := start(t)
	address, encoder, service := seldom(t)
	p := browse(t, s)
	p.open("add")
	p.write("form input.mono", address)
	p.act(first("#name"), "e.form.requestSubmit()")
	const button = "document.querySelector('.ladder .act .btn')"
	p.until("what to do about it", "/every (5.9|6.\\d) s/.test(document.querySelector('.ladder').innerText) && "+button, 25*time.Second)
	p.looks(func(look string) {
		p.act(button, "e.scrollIntoView({block: 'center'})")
		p.breathe()
		p.fits("the ladder")
		p.shot("keys-ladder-" + look)
	})

	// By keyboard alone. Nothing answers ONVIF where cameras mostly do: it says so.
	p.act(button, "e.focus()")
	p.key(kb.Enter)
	p.until("that it asks first", "/in the camera itself/.test(document.querySelector('dialog[open]')?.innerText)", 5*time.Second)
	if n := encoder.GOV(); n != 250 {
		t.Fatalf("asking set %d frames", n)
	}
	p.key(kb.Escape)
	p.until("that it was called off", "!document.querySelector('dialog[open]') && document.activeElement === "+button, 5*time.Second)
	p.key(kb.Enter)
	p.press("Change the camera")
	p.until("why not", "/Not set: .*nothing answers at ports 80, .*Switch ONVIF on/.test(document.querySelector('dialog[open] [role=alert]')?.innerText)", 60*time.Second)
	p.looks(func(look string) {
		p.breathe()
		p.fits("the dialog")
		p.shot("keys-dialog-" + look)
	})
	p.write("dialog[open] #keydev", service)
	p.key(kb.Enter)
	p.until("what was set", `/Set: a key frame every 1 s \(25 frames at 25\/s, profile main\); it was every 10 s/.test(document.activeElement.innerText)`, 20*time.Second)
	if n := encoder.GOV(); n != 25 {
		t.Errorf("the camera has %d frames", n)
	}
	p.shot("keys-set")
	p.setsOfOneThatIsAdded(address, encoder, service)
}

// setsOfOneThatIsAdded does so on the page of a camera.
func (p *page) setsOfOneThatIsAdded(address string, encoder *camsim.Device, service string) {
	p.t.Helper()
	x := &interop{t: p.t, s: p.s, name: "door"}
	x.create(map[string]any{"url": address, "transport": "tcp"})
	p.open("cameras/door")
	const button = "document.querySelector('.kv .free .btn')"
	role := func(role string) {
		p.await(fmt.Sprintf(`import('/js/store.js').then((m) => { m.session.value = {...m.session.value, role: %q}; })`, role))
	}
	p.until("what to do about it", "/^(5.9|6(.\\d)?) s/.test(document.querySelector('.kv .free')?.innerText) && "+button, 40*time.Second)
	role("viewer")
	p.until("nothing for one who looks", "!"+button+" && /^(5.9|6(.\\d)?) s/.test(document.querySelector('.kv .free').innerText)", 5*time.Second)
	role("operator")
	p.until("the button again", button, 5*time.Second)
	p.looks(func(look string) {
		p.act(button, "e.scrollIntoView({block: 'center'})")
		p.breathe()
		p.fits("the page")
		p.shot("keys-page-" + look)
	})
	// The answer of a server at which this sign-in may not, on its way to the page.
	p.script(`(() => { const ask = window.asks = window.fetch; window.fetch = async (u, o) => String(u).endsWith('/v1/streams/door/key-interval') ? new Response('{"error":{"code":"Denied","message":"no"}}', {status: 403}) : ask(u, o); })()`)
	p.act(button, "e.click()")
	p.press("Change the camera")
	p.until("why not", "/Not set: this sign-in may not change cameras/.test(document.querySelector('dialog[open] [role=alert]')?.innerText)", 10*time.Second)
	p.script("void (window.fetch = window.asks)")
	p.choose("dialog[open] #keysec", "2")
	p.write("dialog[open] #keydev", service)
	p.submit()
	p.until("what was set", `/Set: a key frame every 2 s \(50 frames at 25\/s, profile main\); it was every 1 s/.test(document.querySelector('.kv .free').innerText)`, 20*time.Second)
	if n := encoder.GOV(); n != 50 {
		p.t.Errorf("the camera has %d frames", n)
	}
	p.shot("keys-page-set")
}
