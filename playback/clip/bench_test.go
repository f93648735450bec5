package clip

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/media"
	"penstock/playback/internal/playtest"
	"penstock/streams"
)

// BenchmarkFirstByte is the time to a 60 s clip's first byte, from anywhere among the
// fragments stored, its header made anew each time. Ten million take minutes to store,
// and 3 GB.
func BenchmarkFirstByte(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 10_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchFirstByte(b, n) })
	}
}

// afield is how many fragments may be on their way to the disk while history is made.
const afield = 4000

// benchFirstByte asks a log of n fragments of 2 s. The clips are cut from four stretches
// of some 600 fragments that have as many samples as a camera's; the rest have one.
func benchFirstByte(b *testing.B, n int) {
	rig := playtest.OpenLong(b)
	rig.Stream.Retention = 10 * 365 * 24 * time.Hour
	codec := playtest.Make(b, playtest.H264, time.Second).Tracks[0].Codec
	var stored, lost atomic.Int64
	session, err := rig.Hub.Publish(context.Background(), rig.Stream, streams.Producer{Protocol: "test"},
		[]media.Track{{ID: 1, Timescale: 90000, Codec: codec}}, func(_ fragments.Head, err error) {
			if err != nil {
				lost.Add(1)
			}
			stored.Add(1)
		})
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte{0, 0, 0, 4, 0x41, 1, 2, 3}, 4)
	stretch := min(n/4, 600)
	var whole []time.Duration // where fragments are whole, from Epoch on
	for i := range n {
		at := time.Duration(i) * 2 * time.Second
		samples := 1
		if i%(n/4) < stretch {
			if samples = 50; i%(n/4) < stretch-60 {
				whole = append(whole, at)
			}
		}
		for k := range samples {
			rig.Clock.Set(playtest.Epoch.Add(at + time.Duration(k)*40*time.Millisecond))
			if err := session.Write(media.Sample{Track: 1, DTS: int64(i)*180_000 + int64(k)*3600, Sync: k == 0, Data: data}); err != nil {
				b.Fatal(err)
			}
		}
		for int64(i)-stored.Load() > afield {
			time.Sleep(time.Millisecond) // the disk is real
		}
	}
	rig.End(session, nil)
	for stored.Load() < int64(n) {
		time.Sleep(time.Millisecond)
	}
	if lost.Load() > 0 {
		b.Fatalf("%d fragments were lost", lost.Load())
	}
	s, err := New(Config{Hub: rig.Hub, Clock: rig.Clock, CacheBytes: 1})
	if err != nil {
		b.Fatal(err)
	}
	h := playtest.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.ServeClip(w, r, rig.Stream) })
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		from := playtest.Epoch.Add(whole[rng.IntN(len(whole))])
		r := httptest.NewRequest("GET", window(from, from.Add(time.Minute)), nil)
		r.Header.Set("Range", "bytes=0-0")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusPartialContent {
			b.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
}
