package records

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"penstock/storage/expiry"
)

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
	passed.Add(int64(expiry.LeapHold))
	must(t, r.store.sweep(ctx))
	r.holds(l, 0, "a", "b", "c", "d")

	// The machine slept: it is the right time, and some hours later records go by it.
	put(t, l, "e")
	clock.advance(years)
	r.holds(l, 0, "a", "b", "c", "d", "e")
	passed.Add(int64(expiry.LeapHold))
	clock.advance(expiry.LeapHold)
	must(t, r.store.sweep(ctx))
	if got, _ := readAll(t, l, 0, Position{}); len(got) != 2 { // d arrived in the future, and nothing behind it arrives before it
		t.Errorf("%q are left", texts(got))
	}
	clock.advance(50 * time.Hour)
	passed.Add(int64(50 * time.Hour))
	r.holds(l, 0)
}
