package clip

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"penstock/playback/internal/playtest"
)

// TestAClipByTheProducersClock cuts by a clock that is a day behind, and was set back a
// minute between two sessions: both say the same minute, and both are in the clip.
func TestAClipByTheProducersClock(t *testing.T) {
	rig := playtest.Open(t)
	clock := playtest.Epoch.Add(-24 * time.Hour)
	src := playtest.Make(t, playtest.H264, 6*time.Second)
	rig.Record(src.Said(clock))
	rig.Clock.Set(rig.Clock.Now().Add(time.Minute))
	rig.Record(src.Said(clock.Add(-time.Second)))
	h := serve(t, rig, Config{})
	ask := func(from, to time.Duration) string {
		return "/clip.mp4?" + url.Values{"clock": {"producer"}, "start": {clock.Add(from).Format(time.RFC3339Nano)}, "end": {clock.Add(to).Format(time.RFC3339Nano)}}.Encode()
	}
	res, body := playtest.Get(t, h, ask(2500*time.Millisecond, 4*time.Second)) // the key frame before is at 2 s
	if res.StatusCode != 200 {
		t.Fatalf("%s: %s", res.Status, body)
	}
	n := 0
	for _, p := range packets(t, body) {
		if p.stream == 0 {
			n++
		}
	}
	if n < 99 || n > 101 { // two of two seconds
		t.Errorf("%d frames, want 100", n)
	}
	if gaps := res.Header.Get("X-Penstock-Gaps"); gaps != "1" || res.Header.Get("X-Penstock-Clock") != "producer" {
		t.Errorf("%s gaps, clock %s", gaps, res.Header.Get("X-Penstock-Clock"))
	}
	said, err := time.Parse(time.RFC3339Nano, res.Header.Get("X-Penstock-Producer-Start"))
	if off := said.Sub(clock.Add(2 * time.Second)); err != nil || off < -50*time.Millisecond || off > 50*time.Millisecond {
		t.Errorf("it begins when the producer's clock said %v, want %v", said, clock.Add(2*time.Second))
	}
	if res, _ := playtest.Get(t, h, ask(-time.Hour, -time.Minute)); res.StatusCode != 404 {
		t.Errorf("before everything: %s", res.Status)
	}
	if res, body := playtest.Get(t, h, strings.Replace(ask(0, 1), "producer", "sun", 1)); res.StatusCode != 400 {
		t.Errorf("another clock: %s %s", res.Status, body)
	}
	// The same window by the server's clock is another clip.
	if res, _ := playtest.Get(t, h, strings.Replace(ask(2*time.Second, 4*time.Second), "clock=producer", "clock=server", 1)); res.StatusCode != 404 {
		t.Errorf("a day before everything: %s", res.Status)
	}
}
