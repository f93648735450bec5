package records

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
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

// TestRecordsThatArriveInTheFutureAreReadAndSealed puts while the clock is ahead and after
// it was set right: readers learn how far they are, marks do not go back, the lane is sealed
// by time, and the log says once what is going on.
func TestRecordsThatArriveInTheFutureAreReadAndSealed(t *testing.T) {
	const year = 365 * 24 * time.Hour
	ctx := context.Background()
	var out bytes.Buffer
	r, clock, _ := timed(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	l := r.create("s1", 1)
	clock.advance(year)
	ahead := clock.Now()
	first := put(t, l, "a", "b")
	before, err := l.Mark(0, Position{index: 3})
	must(t, err)
	clock.advance(-year)
	last := put(t, l, "c")
	var page Page
	must(t, l.Read(ctx, 0, Position{}, 1, 0, &page))
	if page.Behind <= 0 || page.Behind > time.Hour {
		t.Errorf("one of three was read: %v behind", page.Behind)
	}
	must(t, l.Read(ctx, 0, page.Next, 0, 0, &page))
	if page.Behind != 0 || len(page.Records) != 2 {
		t.Errorf("at the tip: %d records, %v behind", len(page.Records), page.Behind)
	}
	if after, err := l.Mark(0, page.Next); err != nil || after.Compare(before) <= 0 || after.Compare(last[0].Seq) <= 0 {
		t.Errorf("the mark went from %v to %v (%v)", before, after, err)
	}
	for _, p := range append(first, last...) {
		if !l.Given(p.Seq) {
			t.Errorf("%v was given", p.Seq)
		}
	}
	end := last[0].Seq
	if l.Given(newSeq(end.created(), 0, end.Index()+1, end.second())) || l.Given(newSeq(end.created()+1, 0, 1, end.second())) || l.Given(newSeq(end.created(), 1, 1, end.second())) {
		t.Error("a number that nobody got is taken for one")
	}
	if !l.Reached(0, ahead) || l.Reached(0, ahead.Add(time.Minute)) || l.Reached(1, ahead) {
		t.Error("the shard is not where its newest record is")
	}
	o := r.store.lanes[0]
	if o.toSeal(clock.Now()) != 0 {
		t.Error("it is sealed at once")
	}
	clock.advance(r.store.cfg.SealAfter)
	if o.toSeal(clock.Now()) == 0 {
		t.Error("it is not sealed when it is time")
	}
	must(t, r.store.sweep(ctx))
	must(t, r.store.sweep(ctx))
	if n := strings.Count(out.String(), "put while the clock was ahead"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}
