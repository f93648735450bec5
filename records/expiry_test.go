package records

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

func TestExpiryFollowsALeapOnlyWhenTheClockStandsByIt(t *testing.T) {
	const year = 365 * 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := &expiry{log: slog.New(slog.DiscardHandler), said: start}
	for _, c := range []struct {
		passed, wall, want time.Duration // since start
	}{
		{0, 0, 0},
		{time.Minute, time.Minute, time.Minute},
		{2 * time.Minute, 50 * time.Minute, 50 * time.Minute}, // a correction
		{3 * time.Minute, 5 * time.Minute, 5 * time.Minute},   // back
		{10 * time.Minute, 5*year + 10*time.Minute, 12 * time.Minute},
		{5 * time.Hour, 5*year + 5*time.Hour, 5*time.Hour + 2*time.Minute},
		{5*time.Hour + time.Minute, 5*time.Hour + time.Minute, 5*time.Hour + time.Minute}, // and back: it was a mistake
		{6 * time.Hour, 6 * time.Hour, 6 * time.Hour},
		{7 * time.Hour, year, 7 * time.Hour}, // the machine slept
		{12 * time.Hour, year + 5*time.Hour, 12 * time.Hour},
		{13 * time.Hour, year + 6*time.Hour, year + 6*time.Hour},
		{14 * time.Hour, year + 7*time.Hour, year + 7*time.Hour},
		{15 * time.Hour, -time.Hour, -time.Hour},
	} {
		if got := e.now(start.Add(c.wall), c.passed).Sub(start); got != c.want {
			t.Errorf("%v after the start the clock says %v: records expire by %v, want %v", c.passed, c.wall, got, c.want)
		}
	}
}

// leaping is a rig whose clock leaps while no time passes, as far as passed knows.
func leaping(t *testing.T) (*rig, *shifted, *atomic.Int64, *atomic.Int64) {
	var passed atomic.Int64
	r, clock, keep := timed(t, func(c *Config) {
		c.passed = func(time.Time) time.Duration { return time.Duration(passed.Load()) }
	})
	return r, clock, keep, &passed
}

func TestAClockThatLeapsAheadAndBackTakesNoRecords(t *testing.T) {
	ctx := context.Background()
	r, clock, keep, passed := leaping(t)
	const years = 5 * 365 * 24 * time.Hour
	l := r.create("s", 1)
	put(t, l, "a", "b")
	must(t, r.store.Seal(ctx))
	put(t, l, "c")
	must(t, r.store.sweep(ctx))
	clock.advance(years)
	for range 2 {
		r.holds(l, 0, "a", "b", "c") // nor is a reader led past them
		must(t, r.store.sweep(ctx))
		must(t, l.Expire(ctx))
		r.restart()
		l = r.log("s")
	}
	keep.Store(int64(48 * time.Hour))
	must(t, l.Expire(ctx)) // a longer retention makes the horizon durable
	r.holds(l, 0, "a", "b", "c")
	put(t, l, "d")
	r.restart()
	l = r.log("s")
	r.holds(l, 0, "a", "b", "c", "d")
	clock.advance(-years)
	passed.Add(int64(leapHold))
	must(t, r.store.sweep(ctx))
	r.holds(l, 0, "a", "b", "c", "d")

	// The machine slept: it is the right time, and some hours later records go by it.
	put(t, l, "e")
	clock.advance(years)
	r.holds(l, 0, "a", "b", "c", "d", "e")
	passed.Add(int64(leapHold))
	clock.advance(leapHold)
	must(t, r.store.sweep(ctx))
	if got, _ := readAll(t, l, 0, Position{}); len(got) != 2 { // d arrived in the future, and nothing behind it arrives before it
		t.Errorf("%q are left", texts(got))
	}
	clock.advance(50 * time.Hour)
	passed.Add(int64(50 * time.Hour))
	r.holds(l, 0)
}
