package fragments

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/host"
	"penstock/storage/expiry"
)

// leaping is the machine's clock, set ahead.
type leaping struct {
	host.System
	by atomic.Int64
}

func (c *leaping) Now() time.Time { return c.System.Now().Add(time.Duration(c.by.Load())) }

func TestAClockThatLeapsAheadAndBackTakesNoMedia(t *testing.T) {
	const years = 5 * 365 * 24 * time.Hour
	ctx := context.Background()
	clock, passed := &leaping{}, &atomic.Int64{}
	r := newRig(t, crashfs.New(crashfs.Config{}), func(c *Config) {
		c.Clock = clock
		c.passed = func(time.Time) time.Duration { return time.Duration(passed.Load()) }
	})
	day := func() Policy { return Policy{Age: 24 * time.Hour} }
	begin := time.Now().Add(-time.Minute).UTC()
	sees := func(when string, want int) {
		t.Helper()
		l := r.s.Log("cam", day)
		if err := r.s.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if err := r.s.saveExpiry(ctx); err != nil {
			t.Fatal(err)
		}
		if got := len(r.heads(l, Range{})); got != want {
			t.Fatalf("%s there are %d fragments, want %d", when, got, want)
		}
	}
	again := func() {
		t.Helper()
		r.mustStop()
		r.mustStart()
	}
	r.mustStart()
	r.store(r.s.Log("cam", day), testFragment(begin, 50, 1), testFragment(begin.Add(2*time.Second), 50, 2))
	sees("at first", 2)
	clock.by.Store(int64(years))
	sees("after the leap", 2)
	again()
	sees("after a start with the clock ahead", 2)
	clock.by.Store(0)
	sees("after the clock was set right", 2)
	again()
	sees("after a start with the right clock", 2)
	clock.by.Store(int64(years))
	sees("after another leap", 2)
	passed.Add(int64(expiry.LeapHold))
	sees("when the clock has stood by it", 0)
}
