package acceptance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"penstock/internal/repotest"
	"penstock/internal/testcam"
)

// page is one tab of a real browser that is signed in.
type page struct {
	t         *testing.T
	s         *server
	ctx       context.Context
	downloads string
}

// browse opens the console by its one-time link; more are options of the browser.
func browse(t *testing.T, s *server, more ...chromedp.ExecAllocatorOption) *page {
	t.Helper()
	chromium := repotest.Need(t, "chromium")
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1360, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	ctx, stop := chromedp.NewContext(alloc)
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(func() { cancel(); stop(); stopAlloc() })
	p := &page{t: t, s: s, ctx: ctx, downloads: t.TempDir()}
	chromedp.ListenTarget(ctx, func(e any) {
		if e, ok := e.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page threw: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
		}
	})
	p.do(browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(p.downloads).WithEventsEnabled(true),
		chromedp.Navigate(strings.Replace(s.link, "localhost", "127.0.0.1", 1)))
	return p
}

func (p *page) do(actions ...chromedp.Action) {
	p.t.Helper()
	if err := chromedp.Run(p.ctx, actions...); err != nil {
		p.shot("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
		p.t.Fatalf("browser: %v", err)
	}
}

// shot keeps a screenshot in test-output for people to look at.
func (p *page) shot(name string) {
	p.t.Helper()
	var png []byte
	if err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot(&png)); err != nil {
		p.t.Logf("screenshot %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(outputs(p.t), name+".png"), png, 0o600); err != nil {
		p.t.Error(err)
	}
}

// eval runs an expression that gives a string.
func (p *page) eval(js string) string {
	p.t.Helper()
	var out string
	p.do(chromedp.Evaluate("String("+js+")", &out))
	return out
}

// await runs a script whose promise gives a number, 0 if it gives none.
func (p *page) await(js string) (n int) {
	p.t.Helper()
	p.do(chromedp.Evaluate("Promise.resolve("+js+").then(n => n || 0)", &n, func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
	return n
}

// breathe lets the page draw, and do for a moment what it does then.
func (p *page) breathe() {
	p.t.Helper()
	p.await("new Promise(r => requestAnimationFrame(() => setTimeout(r, 20)))")
}

// until waits for an expression to be true.
func (p *page) until(what, js string, most time.Duration) time.Duration {
	p.t.Helper()
	most *= patience
	begin := time.Now()
	for {
		var ok bool
		p.do(chromedp.Evaluate("Boolean("+js+")", &ok))
		if ok {
			return time.Since(begin)
		}
		if time.Since(begin) > most {
			p.shot("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
			p.t.Fatalf("%s: not within %v; the page says: %s", what, most, p.eval("document.body.innerText.slice(0, 1500)"))
		}
		time.Sleep(50 * time.Millisecond) // the page is another process: there is no event to wait for
	}
}

// readBarcode is testcam.ReadBarcode on the page's video; NaN where there is no picture.
const readBarcode = `(() => {
  const v = document.querySelector('.player video, .tile video, a.v video');
  if (!v || v.readyState < 2 || !v.videoWidth) return NaN;
  const c = document.createElement('canvas'); c.width = v.videoWidth; c.height = v.videoHeight;
  const g = c.getContext('2d'); g.drawImage(v, 0, 0);
  let n = 0;
  for (const [x, y] of %s) n = n * 2 + (g.getImageData(x, y, 1, 1).data[1] > 127 ? 1 : 0);
  return n;
})()`

func barcodeScript() string {
	cells := make([]string, testcam.BarcodeBits)
	for i := range cells {
		x, y := testcam.BarcodeCell(i)
		cells[i] = fmt.Sprintf("[%d,%d]", x, y)
	}
	return fmt.Sprintf(readBarcode, "["+strings.Join(cells, ",")+"]")
}

// clock is the instant that the picture on the page shows.
func (p *page) clock() time.Time {
	p.t.Helper()
	var ms float64
	p.do(chromedp.Evaluate(barcodeScript()+" || 0", &ms))
	return time.UnixMilli(int64(ms))
}

func TestBrowserPlaysTheDemoLiveAndRecorded(t *testing.T) {
	s := start(t, "--demo")
	p := browse(t, s)
	p.until("a moving picture on the first page", barcodeScript()+" > 0", 30*time.Second)
	p.shot("start-live")
	recorded(s, "demo", 8)

	p.do(chromedp.Navigate("http://" + s.http + "/#/cameras/demo"))
	p.until("the stream page plays", barcodeScript()+" > 0 && document.querySelector('.player video').currentTime > 0", 20*time.Second)
	time.Sleep(2 * time.Second) // let the player settle at its distance from live
	var delays []time.Duration
	for range 15 {
		delays = append(delays, time.Since(p.clock()))
		time.Sleep(100 * time.Millisecond)
	}
	slices.Sort(delays)
	t.Logf("glass to glass: median %v, worst %v", delays[len(delays)/2].Round(time.Millisecond), delays[len(delays)-1].Round(time.Millisecond))
	if delays[0] < 0 || delays[len(delays)/2] > 5*time.Second {
		t.Errorf("the live picture is %v old", delays[len(delays)/2])
	}
	p.shot("stream-live")

	p.do(chromedp.KeyEvent("j")) // ten seconds back
	p.until("the player shows a recording", "/recorded/.test(document.querySelector('.player video').getAttribute('aria-label'))", 10*time.Second)
	p.until("the picture is of then", fmt.Sprintf("%s > 0 && Date.now() - %s > 8000", barcodeScript(), barcodeScript()), 10*time.Second)
	p.shot("stream-recorded")
	p.do(chromedp.KeyEvent("g"))
	p.until("the player is live again", fmt.Sprintf("Date.now() - %s < 5000", barcodeScript()), 15*time.Second)

	p.do(chromedp.KeyEvent("j"))
	p.until("back again", "/recorded/.test(document.querySelector('.player video').getAttribute('aria-label'))", 10*time.Second)
	p.do(chromedp.KeyEvent("i"))
	p.until("a clip is marked", "[...document.querySelectorAll('.ctl button')].some(b => /^Clip .*↓/.test(b.innerText))", 5*time.Second)
	p.shot("stream-clip")
	time.Sleep(4 * time.Second) // the end of the marked window is still being written
	p.do(chromedp.KeyEvent("d"))
	s.until("the clip is on disk", 20*time.Second, func() error {
		files, err := filepath.Glob(filepath.Join(p.downloads, "*.mp4"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no file yet: %w", err)
		}
		return nil
	})
	files, _ := filepath.Glob(filepath.Join(p.downloads, "*.mp4"))
	if n := decodes(t, files[0]); n < 25 {
		t.Errorf("the clip has %d frames", n)
	}
}

func TestBrowserAddsACamera(t *testing.T) {
	s := start(t)
	address := freeAddress(t)
	camsim := filepath.Join(t.TempDir(), "camsim")
	if out, err := exec.Command("go", "build", "-o", camsim, "penstock/cmd/camsim").CombinedOutput(); err != nil {
		t.Fatalf("build camsim: %v\n%s", err, out)
	}
	cam := exec.Command(camsim, "serve", "--listen", address, "--user", "admin", "--pass", "se:cr@t/?")
	if err := cam.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cam.Process.Kill(); _ = cam.Wait() })

	p := browse(t, s)
	p.until("the empty first page", "document.querySelector('main') && document.body.innerText.length > 40", 15*time.Second)
	p.shot("start-empty")
	p.do(chromedp.Navigate("http://"+s.http+"/#/add"), chromedp.WaitVisible("#name"))
	fields := `[...document.querySelectorAll('form input.in')]`
	p.do(chromedp.SendKeys(`form input.mono`, "rtsp://"+address+"/cam0", chromedp.ByQuery),
		chromedp.SendKeys(`form input[type=password]`, "se:cr@t/?", chromedp.ByQuery))
	if n := p.eval(fields + ".length"); n != "4" {
		t.Fatalf("the form has %s fields", n)
	}
	p.do(chromedp.Focus(`form .g2 input.in:not([type=password])`, chromedp.ByQuery), chromedp.SendKeys(`form .g2 input.in:not([type=password])`, "admin", chromedp.ByQuery),
		chromedp.Focus("#name", chromedp.ByQuery), chromedp.Evaluate(`document.querySelector('#name').select()`, nil), chromedp.SendKeys("#name", "sim", chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelector('#name').form.requestSubmit()`, nil))
	p.until("the ladder ends well", "[...document.querySelectorAll('li[aria-current=step]')].some(e => /3/.test(e.innerText))", 60*time.Second)
	p.shot("add-ladder")
	p.do(chromedp.Evaluate(`[...document.querySelectorAll('button')].find(b => /^(Add|Keep|Record)/.test(b.innerText.trim())).click()`, nil))
	p.until("the new camera plays", barcodeScript()+" > 0", 40*time.Second)
	p.shot("add-done")
	recorded(s, "sim", 1)
}

func TestScreenshots(t *testing.T) {
	t.Parallel()
	s := start(t, "--demo")
	recorded(s, "demo", 3)
	status, _, _ := s.do("POST", "/v1/streams", map[string]any{"name": "loading-dock-with-a-long-name", "retention": "30d",
		"source": map[string]any{"url": "rtsp://127.0.0.1:1/stream1", "username": "admin", "password": "x", "transport": "auto"}})
	if status != 201 {
		t.Fatalf("create: %d", status)
	}
	p := browse(t, s)
	p.until("the first page", barcodeScript()+" > 0", 30*time.Second)
	pages := append([]string{"", "cameras", "cameras/demo", "cameras/loading-dock-with-a-long-name", "add", "health", "settings", "audit"}, s.dataShots()...)
	s.happen("demo")
	p.looks(func(look string) {
		for _, where := range pages {
			p.do(chromedp.Navigate("http://" + s.http + "/#/" + where))
			p.until(where+" is drawn", "document.querySelector('main') && !document.querySelector('main[aria-busy=true]')", 10*time.Second)
			if strings.Contains(where, "fleet") {
				p.press("Last 15 min")
			}
			time.Sleep(900 * time.Millisecond) // pictures and strips fill in
			p.fits(where)
			name := strings.ReplaceAll(where, "/", "-")
			if name == "" {
				name = "start"
			}
			p.shot(name + "-" + look)
		}
	})
}

// looks calls do with the page on a desktop and a phone, dark and light.
func (p *page) looks(do func(look string)) {
	p.t.Helper()
	sizes := map[string][2]int64{"desktop": {1360, 900}, "phone": {390, 844}}
	for size, wh := range sizes {
		for _, scheme := range []string{"dark", "light"} {
			p.do(emulation.SetDeviceMetricsOverride(wh[0], wh[1], 1, size == "phone"),
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
			do(size + "-" + scheme)
		}
	}
}

// fits fails where the page is wider than its window.
func (p *page) fits(where string) {
	p.t.Helper()
	if over := p.eval("document.documentElement.scrollWidth > innerWidth + 1"); over == "true" {
		p.t.Errorf("%s runs over the side of the page", where)
	}
}
