package clip

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"penstock/playback/internal/playtest"
)

// g711 records src at a media time far from 0 and returns the clip of all.
func g711(t testing.TB, src playtest.Source) (http.Handler, *http.Response, []byte) {
	t.Helper()
	rig := playtest.Open(t)
	rig.Record(src.Shifted(1000 * time.Hour))
	h := serve(t, rig, Config{})
	res, data := playtest.Get(t, h, window(playtest.Epoch.Add(-time.Minute), playtest.Epoch.Add(time.Minute)))
	if res.StatusCode != 200 {
		t.Fatalf("%s: %s", res.Status, data)
	}
	return h, res, data
}

func TestAClipHasG711AsFLACOfKnownLength(t *testing.T) {
	for _, name := range []string{"A-law", "mu-law", "with packets lost"} {
		t.Run(name, func(t *testing.T) {
			src := playtest.Make(t, playtest.Silent, 7*time.Second).WithG711(name == "mu-law")
			lost := 0
			if name == "with packets lost" {
				src = src.Losing(time.Second, 1100*time.Millisecond, 2500*time.Millisecond, 3500*time.Millisecond)
				lost = 5 + 50
			}
			h, res, data := g711(t, src)
			if got := playtest.PCM(t, data, ".mp4"); !bytes.Equal(got, src.PCM()) {
				t.Errorf("%d bytes of PCM are not the %d of the source", len(got), len(src.PCM()))
			}
			playtest.Frames(t, data, ".mp4")
			frames, pictures := of(packets(t, data), 1), of(packets(t, data), 0)
			if silent := min(lost, 3); len(frames) != len(src.Of(2))+silent || len(pictures) != len(src.Of(1)) {
				t.Fatalf("%d frames and %d pictures of %d and %d", len(frames), len(pictures), len(src.Of(2)), len(src.Of(1)))
			}
			for i, p := range frames[:50] {
				if pts, _ := strconv.ParseFloat(p.pts, 64); pts < float64(i)*0.02-0.001 || pts > float64(i)*0.02+0.001 {
					t.Fatalf("frame %d is heard at %s", i, p.pts)
				}
			}
			for i, s := range src.Of(1) {
				if pictures[i].size != strconv.Itoa(len(s.Data)) || !bytes.Contains(data, s.Data) {
					t.Fatalf("picture %d is not in the file as it was", i)
				}
			}
			if want := strconv.Itoa(len(data)); res.Header.Get("Content-Length") != want {
				t.Errorf("announced %s bytes, sent %s", res.Header.Get("Content-Length"), want)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			for range 200 {
				from := rng.IntN(len(data))
				to := from + rng.IntN(min(len(data)-from, 200_000))
				r := httptest.NewRequest("GET", window(playtest.Epoch.Add(-time.Minute), playtest.Epoch.Add(time.Minute)), nil)
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusPartialContent || !bytes.Equal(w.Body.Bytes(), data[from:to+1]) {
					t.Fatalf("bytes %d to %d: status %d, %d bytes that are not those of the whole", from, to, w.Code, w.Body.Len())
				}
			}
		})
	}
}

func TestAClipCutsG711WithItsPictures(t *testing.T) {
	src := playtest.Make(t, playtest.Silent, 8*time.Second).WithG711(false)
	rig := playtest.Open(t)
	rig.Record(src)
	rig.Clock.Set(rig.Clock.Now().Add(30 * time.Second))
	rig.Record(src)
	h := serve(t, rig, Config{})
	res, data := playtest.Get(t, h, window(playtest.Epoch.Add(2500*time.Millisecond), playtest.Epoch.Add(42*time.Second)))
	if res.StatusCode != 200 || res.Header.Get("X-Penstock-Gaps") != "1" {
		t.Fatalf("%s, %s gaps", res.Status, res.Header.Get("X-Penstock-Gaps"))
	}
	playtest.Frames(t, data, ".mp4")
	pcm, all := playtest.PCM(t, data, ".mp4"), src.PCM()
	// From the key frame at 2 s to the end, then 4 s: 16,000 bytes a second, to a packet.
	first := all[2*16_000:]
	if !bytes.HasPrefix(pcm, first) {
		t.Fatalf("%d bytes of PCM do not begin with those from 2 s to 8 s", len(pcm))
	}
	if rest := pcm[len(first):]; len(rest) < 16_000*39/10 || len(rest) > 16_000*41/10 || !bytes.HasPrefix(all, rest) {
		t.Errorf("%d bytes of PCM behind the gap are not the first 4 s", len(pcm)-len(first))
	}
}

// BenchmarkClip sends a clip of 10 s with G.711 per op.
func BenchmarkClip(b *testing.B) {
	src := playtest.Make(b, playtest.Silent, 10*time.Second).WithG711(false)
	h, _, data := g711(b, src)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, again := playtest.Get(b, h, window(playtest.Epoch.Add(-time.Minute), playtest.Epoch.Add(time.Minute))); len(again) != len(data) {
			b.Fatal("cut short")
		}
	}
}
