package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"penstock/internal/repotest"
)

// g711Source makes a film whose sound is G.711 as cameras send it, with a tone that rises
// so that no two stretches are the same.
func g711Source(t testing.TB, law string, length int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), law+".mkv")
	n := strconv.Itoa(length)
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=" + n,
		"-f", "lavfi", "-i", "aevalsrc='0.6*sin(2*PI*t*(200+30*t))+0.05*sin(40000*t*t)':s=8000:d=" + n + ",asetnsamples=160",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "0", "-c:a", law, file}
	if out, err := repotest.Command(t, repotest.Need(t, "ffmpeg"), args...).CombinedOutput(); err != nil {
		t.Fatalf("make the source: %v\n%s", err, out)
	}
	return file
}

// pcm is what ffmpeg, which must not complain, makes of the sound of an input.
func pcm(t testing.TB, input string, before ...string) []byte {
	t.Helper()
	var errs bytes.Buffer
	args := append([]string{"-v", "error", "-xerror"}, before...)
	cmd := repotest.Command(t, repotest.Need(t, "ffmpeg"), append(args, "-i", input, "-map", "0:a:0", "-f", "s16le", "-")...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Errorf("decode %s: %v\n%s", filepath.Base(input), err, errs.String())
	}
	return out
}

func TestG711GoesThroughSampleBySample(t *testing.T) {
	const length = 8
	ffmpeg := repotest.Need(t, "ffmpeg")
	s := start(t)
	for _, law := range []string{"pcm_alaw", "pcm_mulaw"} {
		t.Run(law, func(t *testing.T) {
			s := s.as(t)
			file := g711Source(t, law, length)
			name := strings.ReplaceAll(law, "_", "-")
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			if err := command(ctx, ffmpeg, "-v", "error", "-re", "-i", file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", s.pushURL(name)); err != nil {
				t.Fatal(err)
			}
			s.until("the server's word that it left", 20*time.Second, func() error {
				if !strings.Contains(s.words(), `"producer left" component=rtsp stream=`+name+" ") {
					return errors.New("not yet")
				}
				return nil
			})
			source := pcm(t, file)
			check := func(what string, got []byte) {
				t.Helper()
				at := bytes.Index(source, got)
				if most := 16_000 * length; at < 0 || at%2 != 0 || len(got) < most-16_000 {
					t.Errorf("%s: %d bytes of PCM, which are not a piece of the source's %d", what, len(got), most)
				}
			}
			address := "http://" + s.http + "/v1/streams/" + name
			prove := []string{"-headers", "Authorization: Bearer " + s.token + "\r\n"}
			vod := pcm(t, address+"/vod.m3u8?start=-10m", prove...)
			check("vod.m3u8", vod)
			clip := pcm(t, address+"/clip.mp4?start=-10m", prove...)
			check("clip.mp4", clip)
			if !bytes.Equal(vod, clip) {
				t.Errorf("vod.m3u8 has %d bytes of PCM, clip.mp4 %d", len(vod), len(clip))
			}
			if live := pcm(t, address+"/live.m3u8?dvr=10m", append(prove, "-live_start_index", "0", "-t", "4")...); !bytes.HasPrefix(vod, live) || len(live) < 4*16_000*9/10 {
				t.Errorf("live.m3u8?dvr=10m begins with %d bytes of PCM that are not those of vod.m3u8", len(live))
			}
		})
	}
}

func TestBrowserHearsG711(t *testing.T) {
	file := g711Source(t, "pcm_alaw", 30)
	s := start(t)
	push := exec.Command(repotest.Need(t, "ffmpeg"), "-v", "error", "-re", "-stream_loop", "-1", "-i", file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", s.pushURL("lobby"))
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = push.Process.Kill(); _ = push.Wait() })
	p := browse(t, s)
	recorded(s, "lobby", 1)
	const video = "document.querySelector('.player video')"
	silent := "/no sound/.test(document.querySelector('.player').innerText)"
	p.open("cameras/lobby")
	p.until("the live player decodes sound", video+"?.webkitAudioDecodedByteCount > 8000", 30*time.Second)
	p.click(`[aria-label="Sound on"]`)
	// What comes out of the element is louder than nothing.
	p.script(`(() => {
	  const c = new AudioContext(); const a = c.createAnalyser();
	  c.createMediaElementSource(` + video + `).connect(a); a.connect(c.destination); c.resume();
	  window.loudness = () => { const b = new Float32Array(a.fftSize); a.getFloatTimeDomainData(b); return Math.hypot(...b) / Math.sqrt(b.length); };
	})()`)
	p.until("the live sound is loud", "!"+video+".muted && window.loudness() > 0.1", 20*time.Second)
	p.shot("sound-live")

	recorded(s, "lobby", 8)
	p.back()
	p.until("the recording is loud", video+".webkitAudioDecodedByteCount > 8000 && !"+video+".paused && window.loudness() > 0.1", 20*time.Second)
	if p.eval(silent) != "false" {
		t.Errorf("the page says that there is no sound: %s", p.eval("document.querySelector('.player').innerText"))
	}

	// A clip that is opened by itself is heard too.
	h := s.fragments("lobby")
	p.script(fmt.Sprintf(`(() => { const v = document.createElement('video'); v.id = 'clip'; v.src = '/v1/streams/lobby/clip.mp4?start=%d&end=%d'; v.muted = true; document.body.append(v); v.play(); })()`,
		h[0].Start.UnixMicro(), h[1].End.UnixMicro()))
	p.until("a clip decodes sound", "document.querySelector('#clip').webkitAudioDecodedByteCount > 8000 && document.querySelector('#clip').webkitDecodedFrameCount > 10", 20*time.Second)

	// A browser without FLAC shows pictures, and says what is missing.
	p.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := cdp.AddScriptToEvaluateOnNewDocument(`(() => { const may = MediaSource.isTypeSupported; MediaSource.isTypeSupported = (m) => !/flac/i.test(m) && may.call(MediaSource, m); })()`).Do(ctx)
		return err
	}))
	p.reload()
	p.until("pictures without sound", video+"?.webkitDecodedFrameCount > 10 && "+silent, 30*time.Second)
	if n := p.eval(video + ".webkitAudioDecodedByteCount"); n != "0" {
		t.Errorf("%s bytes of sound were decoded", n)
	}
	p.shot("sound-none")
}
