package still

import (
	"strings"
	"testing"
	"time"

	"penstock/internal/repotest"
	"penstock/playback/internal/playtest"
)

// TestAStillByTheProducersClockIsExact asks frame by frame, of a producer that is an hour
// behind, and that restarts with a clock of 1970.
func TestAStillByTheProducersClockIsExact(t *testing.T) {
	repotest.Need(t, "ffmpeg")
	rig := playtest.Open(t)
	behind, booted := playtest.Epoch.Add(-time.Hour), time.Unix(5000, 0).UTC()
	src := camera(4 * time.Second)
	rig.Record(src.Said(behind))
	rig.Clock.Set(rig.Clock.Now().Add(time.Minute))
	rig.Record(src.Said(booted))
	h, _ := serve(t, rig, Config{})
	for _, clock := range []time.Time{behind, booted} {
		for i := 0; i < 100; i += 9 {
			d := time.Duration(i) * 40 * time.Millisecond
			for _, into := range []time.Duration{time.Millisecond, 38 * time.Millisecond} {
				res, body := playtest.Get(t, h, at(clock.Add(d+into))+"&clock=producer")
				if res.StatusCode != 200 || res.Header.Get("X-Penstock-Clock") != "producer" {
					t.Fatalf("%v: %s: %s", d, res.Status, body)
				}
				if got := read(t, body); !got.Equal(playtest.Epoch.Add(d)) {
					t.Errorf("%v at %v: the picture shows %v, want %v", clock, d+into, got.Sub(playtest.Epoch), d)
				}
				said, _ := time.Parse(time.RFC3339Nano, res.Header.Get("X-Penstock-Producer-Time"))
				if off := said.Sub(clock.Add(d)); off > time.Millisecond || off < -time.Millisecond {
					t.Errorf("%v at %v: the header says %v", clock, d, said)
				}
			}
		}
	}
	for query, want := range map[string]int{
		at(playtest.Epoch) + "&clock=producer":             404, // no clock said that
		at(behind.Add(10*time.Second)) + "&clock=producer": 200, // the last frame before
		at(behind.Add(time.Minute)) + "&clock=producer":    404,
		at(playtest.Epoch) + "&clock=server":               200,
		at(playtest.Epoch) + "&clock=camera":               400,
		"/still.jpg?clock=producer":                        200, // the newest
	} {
		if res, body := playtest.Get(t, h, query); res.StatusCode != want {
			t.Errorf("%s: %s %s", query, res.Status, body)
		}
	}
}

func TestAnUnknownClockIsSaidToBe(t *testing.T) {
	rig := playtest.Open(t)
	rig.Record(camera(3 * time.Second))
	h, _ := serve(t, rig, Config{})
	if res, body := playtest.Get(t, h, at(playtest.Epoch)+"&clock=producer"); res.StatusCode != 404 || !strings.Contains(string(body), "the producer told the time of nothing") {
		t.Errorf("%s %s", res.Status, body)
	}
}
