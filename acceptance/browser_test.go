package acceptance

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/internal/testcam"
)

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
	ms, err := strconv.ParseInt(p.eval(barcodeScript()+" || 0"), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return time.UnixMilli(ms)
}

const (
	// label is what the player calls what it shows.
	label = "document.querySelector('.player video').getAttribute('aria-label')"
	// shownTime is the instant that the player is at, in ms.
	shownTime = "new Date(document.querySelector('.ctl time').dateTime).getTime()"
	// clipMarked is whether a clip is marked.
	clipMarked = "[...document.querySelectorAll('.ctl button')].some(b => /^Clip .*↓/.test(b.innerText))"
)

// live goes to what is live now.
func (p *page) live() {
	p.t.Helper()
	p.key("g")
	p.until("the player is live", fmt.Sprintf("/live/.test(%s) && Date.now() - %s < 5000 && Date.now() - %s < 5000", label, barcodeScript(), shownTime), 15*time.Second)
}

// back goes ten seconds back from what is live.
func (p *page) back() {
	p.t.Helper()
	p.key("j")
	p.until("the player shows a recording", fmt.Sprintf("/recorded/.test(%s) && Number.isFinite(%s)", label, shownTime), 10*time.Second)
}

func TestBrowserPlaysTheDemoLiveAndRecorded(t *testing.T) {
	s := start(t, "--demo")
	p := browse(t, s)
	p.until("a moving picture on the first page", barcodeScript()+" > 0", 30*time.Second)
	p.shot("start-live")
	recorded(s, "demo", 20)

	p.open("cameras/demo")
	p.until("the stream page plays", barcodeScript()+" > 0 && document.querySelector('.player video').currentTime > 0", 20*time.Second)
	s.until("the live picture to be fresh", 20*time.Second, func() error {
		var delays []time.Duration
		for range 15 {
			delays = append(delays, time.Since(p.clock()))
		}
		slices.Sort(delays)
		if delays[0] < 0 || delays[len(delays)/2] > 5*time.Second {
			return fmt.Errorf("it is %v to %v old", delays[0], delays[len(delays)-1])
		}
		t.Logf("glass to glass: median %v, worst %v", delays[len(delays)/2].Round(time.Millisecond), delays[len(delays)-1].Round(time.Millisecond))
		return nil
	})
	p.shot("stream-live")

	p.back()
	p.until("the picture is of then", fmt.Sprintf("%s > 0 && Date.now() - %s > 8000", barcodeScript(), barcodeScript()), 10*time.Second)
	p.shot("stream-recorded")
	p.live()

	p.back()
	p.key("i")
	p.until("a clip is marked", clipMarked, 5*time.Second)
	end := time.Now()
	p.shot("stream-clip")
	s.until("the end of the marked window to be written", 20*time.Second, func() error {
		if v := s.stream("demo"); v.Last.Before(end) {
			return fmt.Errorf("recorded to %v of %v", v.Last, end)
		}
		return nil
	})
	p.key("d")
	select {
	case how := <-p.saved:
		if how != "completed" {
			p.fail("the download of the clip: %s", how)
		}
	case <-time.After(patience * 20 * time.Second):
		p.fail("no clip was downloaded")
	}
	files, err := filepath.Glob(filepath.Join(p.files, "*.mp4"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the download is %q, %v", files, err)
	}
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
	s.until("the camera listens", 20*time.Second, func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})

	p := browse(t, s)
	p.until("the empty first page", "document.body.innerText.length > 40", 15*time.Second)
	p.shot("start-empty")
	p.open("add")
	p.until("a form of four fields", "document.querySelectorAll('form input.in').length === 4", 10*time.Second)
	p.write("form input.mono", "rtsp://"+address+"/cam0")
	p.write("form input[type=password]", "se:cr@t/?")
	p.write("form .g2 input.in:not([type=password])", "admin")
	p.write("#name", "sim")
	p.act(first("#name"), "e.form.requestSubmit()")
	p.until("the ladder ends well", "[...document.querySelectorAll('li[aria-current=step]')].some(e => /3/.test(e.innerText))", 60*time.Second)
	p.shot("add-ladder")
	p.press("Keep")
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
			p.open(where)
			p.drawn()
			if strings.Contains(where, "fleet") {
				p.press("Last 15 min")
			}
			// Pictures and strips fill in, for who looks at the screenshots: nothing depends on it.
			p.await("Promise.race([Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => new Promise(r => setTimeout(r, 300))), new Promise(r => setTimeout(r, 900))]).then(() => 0)")
			p.fits(where)
			name := strings.ReplaceAll(where, "/", "-")
			if name == "" {
				name = "start"
			}
			p.shot(name + "-" + look)
		}
	})
}
