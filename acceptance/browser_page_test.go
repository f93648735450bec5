package acceptance

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"penstock/internal/repotest"
)

// page is one tab of a real browser that is signed in. Its methods wait for what they
// look for: the page draws when its answers come, and it is another process.
type page struct {
	t     *testing.T
	s     *server
	ctx   context.Context
	saved chan string // how each download ended
	files string      // where they are
}

// witness keeps in `said` what the page says in passing, however short.
const witness = `(() => { window.said = []; new MutationObserver((list) => { for (const m of list) for (const n of m.addedNodes) if (n instanceof Element)
	for (const t of n.matches('.toast') ? [n] : n.querySelectorAll('.toast')) window.said.push(t.textContent); }).observe(document, {childList: true, subtree: true}); })()`

// browse opens the console by its one-time link; more are options of the browser.
func browse(t *testing.T, s *server, more ...chromedp.ExecAllocatorOption) *page {
	t.Helper()
	chromium := repotest.Need(t, "chromium")
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1360, 900), chromedp.WSURLReadTimeout(patience*30*time.Second),
		chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	ctx, stop := chromedp.NewContext(alloc, chromedp.WithErrorf(complain))
	t.Cleanup(func() { stop(); stopAlloc() })
	if err := chromedp.Run(ctx); err != nil { // the browser lives as long as this context
		t.Fatalf("start the browser: %v", err)
	}
	p := &page{t: t, s: s, ctx: ctx, saved: make(chan string, 8), files: t.TempDir()}
	chromedp.ListenTarget(ctx, func(e any) {
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			if ctx.Err() == nil {
				t.Errorf("the page threw: %v", e.ExceptionDetails)
			}
		case *browser.EventDownloadProgress:
			if e.State != browser.DownloadProgressStateInProgress {
				p.saved <- e.State.String()
			}
		}
	})
	p.do(browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(p.files).WithEventsEnabled(true),
		chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := cdppage.AddScriptToEvaluateOnNewDocument(witness).Do(ctx)
			return err
		}), chromedp.Navigate(strings.Replace(s.link, "localhost", "127.0.0.1", 1)))
	p.until("the console is there", "document.querySelector('main h1')", 30*time.Second)
	return p
}

// complain prints what chromedp has to say, but for one event of Chromium that it does not
// know and that comes a thousand times in a test.
func complain(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "unhandled node event *dom.EventTopLayerElementsUpdated" {
		log.Print("chromedp: ", text)
	}
}

// run does actions within a limit, so that a browser that hangs is told by its name.
func (p *page) run(most time.Duration, actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeout(p.ctx, most)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

func (p *page) do(actions ...chromedp.Action) {
	p.t.Helper()
	if err := p.run(patience*30*time.Second, actions...); err != nil {
		p.fail("browser: %v", err)
	}
}

// account is what the page says, and how its players stand.
const account = `[location.hash, ...[...document.querySelectorAll('video')].map((v) => { const b = v.buffered; return JSON.stringify({at: v.currentTime, ready: v.readyState, network: v.networkState, paused: v.paused, seeking: v.seeking, ended: v.ended, muted: v.muted,
	rate: v.playbackRate, frames: v.webkitDecodedFrameCount, sound: v.webkitAudioDecodedByteCount, error: v.error?.message, buffered: Array.from({length: b.length}, (_, i) => [b.start(i), b.end(i)])}); }), document.body.innerText.slice(0, 1500)].join('\n')`

// fail ends the test with a screenshot and the words on the page.
func (p *page) fail(format string, args ...any) {
	p.t.Helper()
	p.shot("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
	var words string
	if err := p.run(30*time.Second, chromedp.Evaluate(account, &words)); err != nil {
		words = err.Error()
	}
	p.t.Fatalf("%s\nthe page says: %s", fmt.Sprintf(format, args...), words)
}

// shot keeps a screenshot in test-output for people to look at.
func (p *page) shot(name string) {
	p.t.Helper()
	var png []byte
	if err := p.run(30*time.Second, chromedp.CaptureScreenshot(&png)); err != nil {
		p.t.Logf("screenshot %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(outputs(p.t), name+".png"), png, 0o600); err != nil {
		p.t.Error(err)
	}
}

// absent is what an expression throws when it asks something of an element that is not
// there (yet).
var absent = regexp.MustCompile(`^TypeError: Cannot (read|set) properties of (null|undefined)`)

// passing reports whether what went wrong with reading the page may be right in a moment:
// the expression threw, or the page was just being loaded. Thrown, if not nil, says which
// exceptions.
func passing(err error, thrown *regexp.Regexp) bool {
	var exception *runtime.ExceptionDetails
	if errors.As(err, &exception) {
		words := exception.Text
		if exception.Exception != nil {
			words = exception.Exception.Description
		}
		return !strings.Contains(words, "SyntaxError") && (thrown == nil || thrown.MatchString(words))
	}
	var refused *cdproto.Error
	return errors.As(err, &refused) && (strings.Contains(refused.Message, "context") || strings.Contains(refused.Message, "navigated"))
}

// eval runs an expression that gives a string, once what it asks for is there. It must do
// nothing but look.
func (p *page) eval(js string) (out string) {
	p.t.Helper()
	deadline := time.Now().Add(patience * 10 * time.Second)
	for {
		err := p.run(patience*30*time.Second, chromedp.Evaluate("String("+js+")", &out))
		if err == nil {
			return out
		}
		if !passing(err, absent) || time.Now().After(deadline) {
			p.fail("%s: %v", js, err)
		}
		time.Sleep(50 * time.Millisecond) // the page is another process: there is no event to wait for
	}
}

// until waits for an expression to be true; one that throws is not true yet.
func (p *page) until(what, js string, most time.Duration) {
	p.t.Helper()
	most *= patience
	deadline := time.Now().Add(most)
	for {
		var ok bool
		err := p.run(patience*30*time.Second, chromedp.Evaluate("Boolean("+js+")", &ok))
		if err == nil && ok {
			return
		}
		if err != nil && !passing(err, nil) {
			p.fail("%s: %s: %v", what, js, err)
		}
		if time.Now().After(deadline) {
			if err == nil {
				err = errors.New("it is false")
			}
			p.fail("%s: not within %v: %s: %v", what, most, js, err)
		}
		time.Sleep(50 * time.Millisecond) // the page is another process: there is no event to wait for
	}
}

// script runs what has an effect, once.
func (p *page) script(js string) {
	p.t.Helper()
	p.do(chromedp.Evaluate(js, nil))
}

// await runs a script, once, whose promise gives a number, 0 if it gives none.
func (p *page) await(js string) (n int) {
	p.t.Helper()
	p.do(chromedp.Evaluate("Promise.resolve("+js+").then(n => n || 0)", &n, func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
	return n
}

// breathe lets the page draw, and do for a moment what it does then. A browser that has no
// time to draw goes on without.
func (p *page) breathe() {
	p.t.Helper()
	p.await("new Promise(r => { requestAnimationFrame(() => setTimeout(r, 20)); setTimeout(r, 1000); })")
}

// act waits for an element, the value of an expression, to be there for people, and runs a
// script on it, e, in the same instant: the page draws nothing anew in between.
func (p *page) act(element, script string) {
	p.t.Helper()
	js := fmt.Sprintf(`(() => { let e; try { e = %s; } catch (err) { return String(err); }
		if (!e) return 'it is not there'; if (e.disabled) return 'it is disabled'; if (!e.checkVisibility({visibilityProperty: true})) return 'it is not seen';
		%s; return ''; })()`, element, script)
	deadline := time.Now().Add(patience * 10 * time.Second)
	for {
		var why string
		p.do(chromedp.Evaluate(js, &why, func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithUserGesture(true) }))
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			p.fail("%s: %s", element, why)
		}
		time.Sleep(50 * time.Millisecond) // the page is another process: there is no event to wait for
	}
}

// first is the expression for the first element that a selector fits.
func first(selector string) string { return fmt.Sprintf("document.querySelector(%q)", selector) }

// button is the expression for the last button whose words begin so and that can be
// pressed: in the open dialog, when there is one.
func button(words string) string {
	return fmt.Sprintf("[...(document.querySelector('dialog[open]') || document).querySelectorAll('button')].filter(b => b.offsetParent !== null && !b.disabled && b.innerText.trim().startsWith(%q)).at(-1)", words)
}

func (p *page) click(selector string) {
	p.t.Helper()
	p.act(first(selector), "e.click()")
}

// press clicks the button whose words begin so.
func (p *page) press(words string) {
	p.t.Helper()
	p.act(button(words), "e.click()")
}

// write types into a field in place of what is there, and anew if the page took the focus
// away meanwhile.
func (p *page) write(selector, text string) {
	p.t.Helper()
	for range 5 {
		p.act(first(selector), "e.focus(); e.select()")
		for _, letter := range text { // each with its own limit
			p.key(string(letter))
		}
		if p.eval(first(selector)+".value") == text {
			p.breathe()
			return
		}
	}
	p.fail("%s does not take %q", selector, text)
}

// choose sets a field or a select.
func (p *page) choose(selector, value string) {
	p.t.Helper()
	p.set(first(selector), value)
}

func (p *page) set(element, value string) {
	p.t.Helper()
	p.until(fmt.Sprintf("a choice %q", value), fmt.Sprintf("(e => !e.options || [...e.options].some(o => o.value === %q))(%s)", value, element), 10*time.Second)
	p.act(element, fmt.Sprintf("e.value = %q; for (const k of ['input', 'change']) e.dispatchEvent(new Event(k, {bubbles: true}))", value))
	p.breathe()
}

// key presses a key on what has the focus.
func (p *page) key(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// submit sends the form of the open dialog and waits until it is closed.
func (p *page) submit() {
	p.t.Helper()
	p.act("document.querySelector('dialog[open] .btn.pri:not(:disabled)')", "e.form.requestSubmit()")
	p.until("the dialog is closed", "!document.querySelector('dialog[open]')", 10*time.Second)
}

// hears waits for the page to say, in passing, what begins so, after do.
func (p *page) hears(words string, do func()) {
	p.t.Helper()
	n := p.eval("said.length")
	do()
	p.until("word of "+words, fmt.Sprintf("said.slice(%s).some(t => t.startsWith(%q))", n, words), 10*time.Second)
}

// open goes to a place of the console and waits until it is shown, perhaps without its
// answers; see drawn. What was shown before is marked: the new place is another element.
func (p *page) open(place string) {
	p.t.Helper()
	p.script(fmt.Sprintf(`(() => { const at = () => location.hash.replace(/^#\/?/, '').split('?')[0], was = at(), m = document.querySelector('main');
		location.hash = %q; if (m && at() !== was) m.dataset.left = ''; })()`, "#/"+place))
	p.until("the page "+place, "document.querySelector('main:not([data-left]) h1')", 15*time.Second)
}

// drawn waits for the answers that the page needs.
func (p *page) drawn() {
	p.t.Helper()
	p.until("what the page waits for", "document.querySelector('main h1') && !document.querySelector('main [aria-busy=true], dialog[open] [aria-busy=true]')", 15*time.Second)
}

func (p *page) reload() {
	p.t.Helper()
	p.script("window.left = true")
	p.do(chromedp.Reload())
	p.until("the page loaded anew", "!window.left && document.readyState === 'complete' && document.querySelector('main h1')", 30*time.Second)
}

// looks calls do with the page on a desktop and a phone, dark and light.
func (p *page) looks(do func(look string)) {
	p.t.Helper()
	sizes := map[string][2]int64{"desktop": {1360, 900}, "phone": {390, 844}}
	for size, wh := range sizes {
		for _, scheme := range []string{"dark", "light"} {
			p.sized(wh[0], wh[1], size == "phone")
			p.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
			p.until("the page is "+scheme, fmt.Sprintf("document.documentElement.dataset.theme === %q", scheme), 10*time.Second)
			do(size + "-" + scheme)
		}
	}
}

// sized gives the page a window of another size.
func (p *page) sized(width, height int64, mobile bool) {
	p.t.Helper()
	p.do(emulation.SetDeviceMetricsOverride(width, height, 1, mobile))
	p.until(fmt.Sprintf("a window %d wide", width), fmt.Sprintf("Math.abs(document.documentElement.clientWidth - %d) < 20", width), 10*time.Second) // a scroll bar takes some
	p.breathe()
}

// fits fails where the page is wider than its window.
func (p *page) fits(where string) {
	p.t.Helper()
	if over := p.eval("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"); over == "true" {
		p.t.Errorf("%s runs over the side of the page", where)
	}
}
