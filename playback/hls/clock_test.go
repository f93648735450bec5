package hls

import (
	"net/url"
	"testing"
	"time"

	"penstock/playback/internal/playtest"
)

// TestAPlaylistByTheProducersClock lists what a clock said that was set back between two
// sessions: twice the same times, a discontinuity between.
func TestAPlaylistByTheProducersClock(t *testing.T) {
	h := openTheatre(t, playtest.Open(t), Config{})
	clock := playtest.Epoch.Add(-24 * time.Hour)
	src := playtest.Make(t, playtest.H264, 8*time.Second)
	h.Record(src.Said(clock))
	h.Clock.Set(h.Clock.Now().Add(time.Minute))
	h.Record(src.Said(clock))
	heads := h.Heads()
	from, to := clock.Add(3*time.Second), clock.Add(5*time.Second)
	q := url.Values{"clock": {"producer"}, "start": {from.Format(time.RFC3339Nano)}, "end": {to.Format(time.RFC3339Nano)}}.Encode()
	m := h.list("vod.m3u8?" + q)
	want := 0
	for _, x := range heads {
		if x.Producer.Before(to) && x.ProducerEnd().After(from) {
			want++
		}
	}
	if len(m.Segments) != want || want < 4 {
		t.Fatalf("%d segments, want %d", len(m.Segments), want)
	}
	breaks := 0
	for _, s := range m.Segments {
		if s.Discontinuity {
			breaks++
		}
		if s.DateTime.Before(from.Add(-3*time.Second)) || s.DateTime.After(to) {
			t.Errorf("a segment is dated %v", s.DateTime)
		}
		h.get(s.URI)
	}
	if breaks != 1 {
		t.Errorf("%d discontinuities, want 1", breaks)
	}
	for _, target := range []string{"/iframes.m3u8?", "/master.m3u8?"} {
		if res, body := playtest.Get(t, h.mux, target+q); res.StatusCode != 400 {
			t.Errorf("%s: %s %s", target, res.Status, body)
		}
	}
}
