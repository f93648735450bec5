package clip

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/repotest"
	"penstock/media"
	"penstock/playback/internal/playtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t testing.TB, rig *playtest.Rig, c Config) http.Handler {
	t.Helper()
	c.Hub, c.Clock = rig.Hub, rig.Clock
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return playtest.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.ServeClip(w, r, rig.Stream) })
}

func window(start, end time.Time, more ...string) string {
	q := url.Values{"start": {start.Format(time.RFC3339Nano)}, "end": {end.Format(time.RFC3339Nano)}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "/clip.mp4?" + q.Encode()
}

// packet is what ffprobe says of a sample.
type packet struct {
	stream    int
	pts, size string
	key       bool
}

// packets lists the samples of a file by ffprobe, which also honours edit lists.
func packets(t *testing.T, data []byte) (out []packet) {
	t.Helper()
	ffprobe := repotest.Need(t, "ffprobe")
	file := filepath.Join(t.TempDir(), "clip.mp4")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := repotest.Command(t, ffprobe, "-v", "error", "-show_entries", "packet=stream_index,pts_time,size,flags", "-of", "csv=p=0", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v: %s", err, text)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) < 4 {
			t.Fatalf("ffprobe says %q", line)
		}
		n, _ := strconv.Atoi(f[0])
		out = append(out, packet{n, f[1], f[2], strings.HasPrefix(f[3], "K")})
	}
	return out
}

func of(all []packet, stream int) (out []packet) {
	for _, p := range all {
		if p.stream == stream {
			out = append(out, p)
		}
	}
	return out
}

func TestAClipOfAllIsTheSource(t *testing.T) {
	for name, kind := range map[string][]string{"h264": playtest.H264, "b-frames": playtest.H264B, "h265": playtest.H265, "sound": playtest.Sound} {
		t.Run(name, func(t *testing.T) {
			src := playtest.Make(t, kind, 7*time.Second)
			rig := playtest.Open(t)
			rig.Record(src.Shifted(1000 * time.Hour)) // a run's media time does not begin at 0
			res, data := playtest.Get(t, serve(t, rig, Config{}), window(playtest.Epoch.Add(-time.Minute), playtest.Epoch.Add(time.Minute)))
			if res.StatusCode != 200 {
				t.Fatalf("%s: %s", res.Status, data)
			}
			playtest.Frames(t, data, ".mp4")
			got := packets(t, data)
			for i, track := range src.Tracks {
				want, have := src.Of(track.ID), of(got, i)
				if len(want) != len(have) {
					t.Errorf("track %d: %d samples, want %d", i, len(have), len(want))
					continue
				}
				at := 0
				var zero float64
				for k, p := range have {
					s := want[k]
					pts, _ := strconv.ParseFloat(p.pts, 64)
					expect := track.Duration(s.DTS + int64(s.CTO)).Seconds()
					if k == 0 {
						zero = pts - expect
					}
					if d := pts - expect - zero; d > 0.001 || d < -0.001 || p.size != strconv.Itoa(len(s.Data)) || p.key != s.Sync {
						t.Errorf("track %d sample %d: %+v, want %.4f s, %d bytes, key %v", i, k, p, expect+zero, len(s.Data), s.Sync)
						break
					}
					n := bytes.Index(data[at:], s.Data)
					if n < 0 {
						t.Errorf("track %d sample %d: its bytes are not in the file, in order", i, k)
						break
					}
					at += n
				}
			}
			if res.Header.Get("X-Penstock-Gaps") != "0" || res.Header.Get("X-Penstock-Next") != "" {
				t.Errorf("headers %v", res.Header)
			}
		})
	}
}

func TestAClipBeginsWithTheKeyFrameBeforeItsStart(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 10*time.Second) // a key frame a second
	rig := playtest.Open(t)
	rig.Record(src)
	h := serve(t, rig, Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 6 {
		from := time.Duration(rng.Int64N(int64(8 * time.Second)))
		to := from + time.Duration(rng.Int64N(int64(9*time.Second-from))) + 50*time.Millisecond
		res, data := playtest.Get(t, h, window(playtest.Epoch.Add(from), playtest.Epoch.Add(to)))
		if res.StatusCode != 200 {
			t.Fatalf("%v to %v: %s: %s", from, to, res.Status, data)
		}
		start, err := time.Parse(time.RFC3339Nano, res.Header.Get("X-Penstock-Start"))
		if err != nil {
			t.Fatal(err)
		}
		early := playtest.Epoch.Add(from).Sub(start)
		if early < -40*time.Millisecond || early > 1100*time.Millisecond {
			t.Errorf("%v: the clip begins %v before", from, early)
		}
		video := of(packets(t, data), 0)
		want := int((to - from + early + 39*time.Millisecond) / (40 * time.Millisecond))
		if !video[0].key || len(video) < want-1 || len(video) > want+1 {
			t.Errorf("%v to %v: %d pictures from %v before, want %d; the first a key frame: %v", from, to, len(video), early, want, video[0].key)
		}
	}
}

func TestAClipSpansGaps(t *testing.T) {
	src := playtest.Make(t, playtest.H264B, 5*time.Second)
	rig := playtest.Open(t)
	rig.Record(src)
	rig.Clock.Set(rig.Clock.Now().Add(30 * time.Second))
	rig.Record(src)
	h := serve(t, rig, Config{})
	for policy, want := range map[string]float64{"squeeze": 10, "hold": 40} {
		res, data := playtest.Get(t, h, window(playtest.Epoch, rig.Clock.Now(), "gaps", policy))
		if res.StatusCode != 200 {
			t.Fatalf("%s: %s: %s", policy, res.Status, data)
		}
		if n := res.Header.Get("X-Penstock-Gaps"); n != "1" {
			t.Errorf("%s: %s gaps", policy, n)
		}
		if spans := strings.Split(res.Header.Get("X-Penstock-Coverage"), ","); len(spans) != 2 {
			t.Errorf("%s: coverage %q", policy, spans)
		}
		video, _ := playtest.Frames(t, data, ".mp4")
		if len(video) != 2*len(src.Of(src.Tracks[0].ID)) {
			t.Errorf("%s: %d pictures, want %d", policy, len(video), 2*len(src.Of(src.Tracks[0].ID)))
		}
		all := of(packets(t, data), 0)
		last, _ := strconv.ParseFloat(all[len(all)-1].pts, 64)
		if last < want-0.5 || last > want+0.5 {
			t.Errorf("%s: the last picture is shown at %.2f s, want about %v", policy, last, want)
		}
	}
}

func TestAClipEndsWhereTheConfigurationChangesAndSaysWhereToGoOn(t *testing.T) {
	a, b := playtest.Make(t, playtest.H264, 3*time.Second), playtest.Make(t, playtest.Larger, 3*time.Second)
	rig := playtest.Open(t)
	rig.Record(a)
	rig.Record(b)
	h := serve(t, rig, Config{})
	res, data := playtest.Get(t, h, window(playtest.Epoch, rig.Clock.Now()))
	next := res.Header.Get("X-Penstock-Next")
	at, err := time.Parse(time.RFC3339Nano, next)
	if err != nil {
		t.Fatalf("X-Penstock-Next %q", next)
	}
	first, _ := playtest.Frames(t, data, ".mp4")
	res, data = playtest.Get(t, h, window(at, rig.Clock.Now()))
	second, _ := playtest.Frames(t, data, ".mp4")
	if res.Header.Get("X-Penstock-Next") != "" || len(first) != 75 || len(second) != 75 {
		t.Errorf("%d and %d pictures, then next %q", len(first), len(second), res.Header.Get("X-Penstock-Next"))
	}
}

func TestRangesEqualTheWholeFile(t *testing.T) {
	src := playtest.Make(t, playtest.H264B, 8*time.Second)
	rig := playtest.Open(t)
	rig.Record(src)
	h := serve(t, rig, Config{})
	target := window(playtest.Epoch.Add(1500*time.Millisecond), playtest.Epoch.Add(6300*time.Millisecond))
	whole, data := playtest.Get(t, h, target)
	if n := whole.Header.Get("Content-Length"); n != strconv.Itoa(len(data)) {
		t.Fatalf("Content-Length %s, %d bytes came", n, len(data))
	}
	etag := whole.Header.Get("ETag")
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		from := rng.IntN(len(data))
		to := from + rng.IntN(min(len(data)-from, 1<<rng.IntN(19)))
		res, got := playtest.Get(t, h, target, "Range", fmt.Sprintf("bytes=%d-%d", from, to), "If-Range", etag)
		if res.StatusCode != 206 || !bytes.Equal(got, data[from:to+1]) {
			t.Fatalf("bytes %d-%d: %s, %d bytes that are not those of the whole", from, to, res.Status, len(got))
		}
	}
	for head, want := range map[string]int{"bytes=0-": 206, "bytes=-100": 206, "bytes=99999999-": 416, "bytes=5-2": 416, "bytes=0-0,5-9": 206, "lines=1-2": 416} {
		if res, _ := playtest.Get(t, h, target, "Range", head); res.StatusCode != want {
			t.Errorf("Range %s: %s, want %d", head, res.Status, want)
		}
	}
	if res, _ := playtest.Get(t, h, target, "If-None-Match", etag); res.StatusCode != 304 {
		t.Errorf("the same ETag again: %s", res.Status)
	}
}

func TestWhatCannotBeClippedSaysWhy(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 2*time.Second)
	rig := playtest.Open(t)
	rig.Record(src)
	h := serve(t, rig, Config{Window: time.Hour, Concurrent: 1})
	for query, want := range map[string]int{
		"start=-3m": 200, "start=2001-01-01T00:00:00Z&end=2001-01-01T00:01:00Z": 404, "start=x": 400, "end=x": 400, "start=-2h": 400, "start=-1m&end=-2m": 400,
		"start=-3m&gaps=x": 400, "start=now": 400, "start=99999999999999999999": 400, "start=" + strconv.FormatInt(playtest.Epoch.UnixMicro(), 10): 200,
		"start=-3m&download=1": 200, "start=-": 400, "start=-9999999d": 400,
	} {
		if res, body := playtest.Get(t, h, "/clip.mp4?"+query); res.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %.100s", query, res.StatusCode, want, body)
		}
	}
	// One clip at a time: a client that does not read holds the only place.
	server := httptest.NewServer(h)
	defer server.Close()
	pr, pw := io.Pipe()
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		r := httptest.NewRequest("GET", "/clip.mp4?start=-3m", nil)
		h.ServeHTTP(&pipeWriter{pw, http.Header{}}, r)
		pw.Close()
	}()
	var one [1]byte
	if _, err := io.ReadFull(pr, one[:]); err != nil {
		t.Fatal(err)
	}
	if res, _ := playtest.Get(t, h, "/clip.mp4?start=-3m"); res.StatusCode != 429 {
		t.Errorf("a second clip at once: %s", res.Status)
	}
	_, _ = io.Copy(io.Discard, pr)
	<-busy
}

// pipeWriter is a ResponseWriter whose client takes as much as the test reads.
type pipeWriter struct {
	*io.PipeWriter
	h http.Header
}

func (p *pipeWriter) Header() http.Header { return p.h }
func (p *pipeWriter) WriteHeader(int)     {}

// FuzzClipQuery asks with any query and range: the answer is a status, never a panic, and
// a range never more than it asked for.
func FuzzClipQuery(f *testing.F) {
	for _, q := range []string{"start=-1m", "start=2026-03-01T10:00:00Z&end=2026-03-01T10:00:01Z", "start=-0s", "end=-1h&start=-2h", "gaps=hold&start=-5m", "start=%00"} {
		f.Add(q, "bytes=0-10")
	}
	f.Add("start=1772359200000000", "bytes=-1")
	rig := playtest.Open(f)
	track := media.Track{ID: 1, Timescale: 8000, Codec: &media.G711{SampleRate: 8000, Channels: 1}}
	src := playtest.Source{Tracks: []media.Track{track}, Length: 4 * time.Second}
	for i := range 200 {
		src.Samples = append(src.Samples, media.Sample{Track: 1, DTS: int64(i) * 160, Sync: true, Data: bytes.Repeat([]byte{byte(i)}, 160)})
	}
	rig.Record(src)
	h := serve(f, rig, Config{})
	f.Fuzz(func(t *testing.T, query, ranges string) {
		r := httptest.NewRequest("GET", "/clip.mp4", nil)
		r.URL.RawQuery = query
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
