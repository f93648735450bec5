package still

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/repotest"
	"penstock/internal/testcam"
	"penstock/media"
	"penstock/playback/internal/playtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t testing.TB, rig *playtest.Rig, c Config) (http.Handler, *Server) {
	t.Helper()
	c.Hub, c.Clock = rig.Hub, rig.Clock
	c.Timeout = cmp.Or(c.Timeout, 5*time.Minute) // a machine may be very late
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return playtest.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.ServeStill(w, r, rig.Stream) }), s
}

func at(t time.Time) string { return "/still.jpg?at=" + url.QueryEscape(t.Format(time.RFC3339Nano)) }

// camera films with testcam, whose frames show their time as a barcode.
func camera(d time.Duration) playtest.Source {
	cam := testcam.New()
	src := playtest.Source{Length: d, Tracks: []media.Track{{ID: 1, Timescale: 90000, Codec: &media.H264{SPS: cam.SPS(), PPS: cam.PPS()}}}}
	for i := range int(d / (40 * time.Millisecond)) {
		data, sync := cam.Frame(playtest.Epoch.Add(time.Duration(i) * 40 * time.Millisecond))
		src.Samples = append(src.Samples, media.Sample{Track: 1, DTS: int64(i) * 3600, Sync: sync, Data: data})
	}
	return src
}

// read returns the time that a testcam picture shows.
func read(t *testing.T, data []byte) time.Time {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return testcam.ReadBarcode(func(x, y int) byte { return color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y })
}

func TestAStillShowsTheFrameAtOrBeforeTheInstant(t *testing.T) {
	repotest.Need(t, "ffmpeg")
	rig := playtest.Open(t)
	rig.Record(camera(6 * time.Second))
	h, _ := serve(t, rig, Config{})
	for _, d := range []time.Duration{0, 39 * time.Millisecond, 40 * time.Millisecond, time.Second, 1999 * time.Millisecond, 2 * time.Second, 3333 * time.Millisecond, 5990 * time.Millisecond, time.Hour} {
		res, body := playtest.Get(t, h, at(playtest.Epoch.Add(d)))
		if res.StatusCode != 200 {
			t.Fatalf("%v: %s: %s", d, res.Status, body)
		}
		want := playtest.Epoch.Add(min(d, 5999*time.Millisecond).Truncate(40 * time.Millisecond))
		if got := read(t, body); !got.Equal(want) {
			t.Errorf("%v: the picture shows %v, want %v", d, got.Sub(playtest.Epoch), want.Sub(playtest.Epoch))
		}
		said, _ := time.Parse(time.RFC3339Nano, res.Header.Get("X-Penstock-Time"))
		if off := said.Sub(want); off > time.Millisecond || off < -time.Millisecond {
			t.Errorf("%v: the header says %v", d, said)
		}
	}
	if res, _ := playtest.Get(t, h, at(playtest.Epoch.Add(-time.Second))); res.StatusCode != 404 {
		t.Errorf("before everything: %s", res.Status)
	}
}

func TestAStreamOfSoundHasNoPictureAndSaysSo(t *testing.T) {
	rig := playtest.Open(t)
	rig.Record(playtest.Make(t, playtest.Sound, 5*time.Second))
	h, _ := serve(t, rig, Config{})
	for _, target := range []string{"/still.jpg", at(rig.Clock.Now())} {
		if res, body := playtest.Get(t, h, target); res.StatusCode != 404 || !strings.Contains(string(body), "no picture") {
			t.Errorf("%s: %s %s", target, res.Status, body)
		}
	}
}

func TestTheNewestStillComesFromTheOpenFragmentAndIsSharedForASecond(t *testing.T) {
	repotest.Need(t, "ffmpeg")
	rig := playtest.Open(t)
	src := camera(3 * time.Second)
	session := rig.Publish(src.Tracks)
	rig.Play(session, src)
	defer rig.End(session, nil)
	h, s := serve(t, rig, Config{})
	var wait sync.WaitGroup
	bodies := make([][]byte, 5)
	for i := range bodies {
		wait.Go(func() { _, bodies[i] = playtest.Get(t, h, "/still.jpg") })
	}
	wait.Wait()
	if got := read(t, bodies[0]); !got.Equal(playtest.Epoch.Add(2960 * time.Millisecond)) {
		t.Errorf("the newest picture shows %v", got.Sub(playtest.Epoch))
	}
	for _, b := range bodies {
		if !bytes.Equal(b, bodies[0]) {
			t.Error("viewers at the same instant got different pictures")
		}
	}
	_, key := playtest.Get(t, h, "/still.jpg?key=1")
	if got := read(t, key); !got.Equal(playtest.Epoch.Add(2 * time.Second)) {
		t.Errorf("the newest key frame shows %v", got.Sub(playtest.Epoch))
	}
	res, small := playtest.Get(t, h, "/still.jpg?width=160")
	img, err := jpeg.Decode(bytes.NewReader(small))
	if err != nil || img.Bounds().Dx() != 160 || img.Bounds().Dy() != 90 {
		t.Errorf("width=160: %v, %v", img.Bounds(), err)
	}
	if again, _ := playtest.Get(t, h, "/still.jpg?width=160", "If-None-Match", res.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("the same ETag again: %s", again.Status)
	}
	if n, size := s.cache.Size(); size > s.c.CacheBytes || n == 0 {
		t.Errorf("cache holds %d bytes in %d names", size, n)
	}
}

func TestReorderedAndH265FramesAreShownInTheirOrder(t *testing.T) {
	for name, kind := range map[string][]string{"b-frames": playtest.H264B, "h265": playtest.H265} {
		t.Run(name, func(t *testing.T) {
			src := playtest.Make(t, kind, 3*time.Second)
			rig := playtest.Open(t)
			rig.Record(src)
			h, _ := serve(t, rig, Config{})
			seen := map[string]bool{}
			for i := range 6 {
				res, body := playtest.Get(t, h, at(playtest.Epoch.Add(time.Duration(i)*40*time.Millisecond+time.Second)))
				if res.StatusCode != 200 {
					t.Fatalf("%s: %s", res.Status, body)
				}
				seen[res.Header.Get("X-Penstock-Time")] = true
			}
			if len(seen) != 6 {
				t.Errorf("6 instants a frame apart show %d frames: %v", len(seen), seen)
			}
		})
	}
}

func TestWithoutFFmpegAStillSaysWhatToInstall(t *testing.T) {
	rig := playtest.Open(t)
	rig.Record(camera(2 * time.Second))
	h, s := serve(t, rig, Config{FFmpeg: "/nonexistent/ffmpeg"})
	s.c.FFmpeg = ""
	res, body := playtest.Get(t, h, "/still.jpg")
	if res.StatusCode != 503 || !bytes.Contains(body, []byte("ffmpeg is not installed")) || s.Available() {
		t.Errorf("%s: %s", res.Status, body)
	}
}

func TestAnFFmpegThatHangsOrFloodsIsEnded(t *testing.T) {
	rig := playtest.Open(t)
	rig.Record(camera(2 * time.Second))
	script := func(text string) string {
		file := filepath.Join(t.TempDir(), "ffmpeg")
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for text, want := range map[string]string{
		"exec sleep 600":          "took longer",
		"exec cat /dev/zero":      "too large",
		"echo broken >&2; exit 1": "broken",
		"exit 0":                  "made no picture",
	} {
		most := time.Minute
		if want == "took longer" {
			most = time.Second
		}
		h, _ := serve(t, rig, Config{FFmpeg: script(text), Timeout: most})
		if res, body := playtest.Get(t, h, "/still.jpg"); res.StatusCode != 503 || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: %s: %s", text, res.Status, body)
		}
	}
}

func TestMotionJPEGNeedsNoFFmpeg(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 32, 16)), nil); err != nil {
		t.Fatal(err)
	}
	track := media.Track{ID: 1, Timescale: 90000, Codec: &media.MJPEG{}}
	src := playtest.Source{Tracks: []media.Track{track}, Length: 3 * time.Second}
	for i := range 30 {
		src.Samples = append(src.Samples, media.Sample{Track: 1, DTS: int64(i) * 9000, Sync: true, Data: bytes.Clone(b.Bytes())})
	}
	rig := playtest.Open(t)
	rig.Record(src)
	h, s := serve(t, rig, Config{})
	s.c.FFmpeg = ""
	if res, body := playtest.Get(t, h, "/still.jpg"); res.StatusCode != 200 || !bytes.Equal(body, b.Bytes()) {
		t.Errorf("%s, %d bytes", res.Status, len(body))
	}
}

func TestQueriesOutOfBoundsAreRefused(t *testing.T) {
	rig := playtest.Open(t)
	h, _ := serve(t, rig, Config{})
	for query, want := range map[string]int{"width=0": 400, "width=x": 400, "width=15": 400, "width=3841": 400, "width=-1": 400, "width=1e3": 400,
		"width=640%3Brm": 400, "at=x": 400, "key=2": 400, "": 404, "at=now": 404, "width=640": 404} {
		if res, body := playtest.Get(t, h, "/still.jpg?"+query); res.StatusCode != want {
			t.Errorf("%q: status %d, want %d: %s", query, res.StatusCode, want, body)
		}
	}
}

func FuzzStillQuery(f *testing.F) {
	for _, q := range []string{"at=-1m", "width=640", "key=1", "at=2026-03-01T10:00:00Z", "at=1772359200000000", "width=%2c", "at=-99999999h"} {
		f.Add(q)
	}
	rig := playtest.Open(f)
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := parse(&http.Request{URL: &url.URL{RawQuery: v.Encode()}}, rig.Clock.Now())
		if err != nil {
			return
		}
		if q.width != 0 && (q.width < widthMin || q.width > widthMax) || !q.at.IsZero() && (q.at.UnixMicro() < 0) {
			t.Errorf("%q became %+v", query, q)
		}
		for _, a := range arguments("mp4", 1, q.width) {
			if len(a) > 80 || q.width > 0 && a == strconv.Itoa(q.width) {
				t.Errorf("%q became argument %q", query, a)
			}
		}
	})
}
