package clip

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"penstock/media"
	"penstock/playback/internal/playtest"
)

// BenchmarkFirstByte is the time to a 60 s clip's first byte, from the middle of 10,000
// fragments, its header made anew each time.
func BenchmarkFirstByte(b *testing.B) { benchFirstByte(b, time.Minute) }

// BenchmarkFirstByteOfAnHour is the same for a clip of an hour: 1,800 sample tables.
func BenchmarkFirstByteOfAnHour(b *testing.B) { benchFirstByte(b, time.Hour) }

func benchFirstByte(b *testing.B, length time.Duration) {
	rig := playtest.Open(b)
	codec := playtest.Make(b, playtest.H264, time.Second).Tracks[0].Codec
	track := media.Track{ID: 1, Timescale: 90000, Codec: codec}
	session := rig.Publish([]media.Track{track})
	data := bytes.Repeat([]byte{0, 0, 0, 4, 0x41, 1, 2, 3}, 4)
	const fragments = 10_000
	for i := range fragments * 50 {
		if i%25_000 == 0 {
			time.Sleep(100 * time.Millisecond) // the disk keeps up
		}
		rig.Clock.Set(playtest.Epoch.Add(time.Duration(i) * 40 * time.Millisecond))
		if err := session.Write(media.Sample{Track: 1, DTS: int64(i) * 3600, Sync: i%50 == 0, Data: data}); err != nil {
			b.Fatal(err)
		}
	}
	rig.End(session, nil)
	s, err := New(Config{Hub: rig.Hub, Clock: rig.Clock, CacheBytes: 1})
	if err != nil {
		b.Fatal(err)
	}
	h := playtest.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.ServeClip(w, r, rig.Stream) })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		from := playtest.Epoch.Add(time.Hour + time.Duration(i%3000)*time.Second)
		r := httptest.NewRequest("GET", window(from, from.Add(length)), nil)
		r.Header.Set("Range", "bytes=0-0")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusPartialContent {
			b.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
}
