package playback_test

import (
	"context"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/playback"
	"penstock/playback/internal/playtest"
)

func TestBeforeFindsTheNewestHoweverFarBack(t *testing.T) {
	rig := playtest.Open(t)
	src := playtest.Make(t, playtest.H264, 4*time.Second)
	rig.Record(src)
	rig.Clock.Set(playtest.Epoch.Add(50 * 24 * time.Hour))
	rig.Record(src)
	heads, log := rig.Heads(), rig.Hub.Log(rig.Stream)
	n := len(heads)
	gap := 0
	for heads[gap].Start.Before(playtest.Epoch.Add(time.Hour)) {
		gap++
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, c := range map[string]struct {
		at   time.Time
		want int
	}{
		"its own start":             {heads[1].Start, 1},
		"just before it":            {heads[1].Start.Add(-time.Microsecond), 0},
		"in a gap":                  {heads[gap].Start.Add(-30 * 24 * time.Hour), gap - 1},
		"at a gap's end":            {heads[gap].Start.Add(-time.Microsecond), gap - 1},
		"now":                       {rig.Clock.Now(), n - 1},
		"tomorrow":                  {rig.Clock.Now().Add(24 * time.Hour), n - 1},
		"further than nanoseconds":  {time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC), n - 1},
		"before the end of the day": {heads[n-1].Start.Add(time.Millisecond), n - 1},
	} {
		got, err := playback.Before(ctx, log, c.at)
		if err != nil || got.Number != heads[c.want].Number {
			t.Errorf("%s: %v, %v; want %v", name, got.Number, err, heads[c.want].Number)
		}
	}
	if _, err := playback.Before(ctx, log, heads[0].Start.Add(-time.Microsecond)); !fault.Is(err, fault.NotFound) {
		t.Errorf("before all: %v", err)
	}
}
