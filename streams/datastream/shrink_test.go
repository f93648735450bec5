package datastream

import (
	"context"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
	"penstock/records"
)

// even is n shards of equal width under the same load.
func even(n int, bytes, count float64) []load {
	list := make([]load, n)
	for i := range list {
		w := ^uint64(0) / uint64(n)
		list[i] = load{shard: records.Shard{ID: records.ShardID(i), From: records.HashKey{Hi: w * uint64(i)}, To: records.HashKey{Hi: w * uint64(i+1)}.Prev()}, bytes: bytes, records: count}
	}
	return list
}

// TestRoom is how many shards a look asks for.
func TestRoom(t *testing.T) {
	hot := even(16, 10e3, 1)
	hot[3].bytes = 480e3
	pair := even(16, 10e3, 1)
	pair[2].bytes, pair[3].bytes = 300e3, 300e3 // together in one of eight
	for name, c := range map[string]struct {
		open []load
		want int
	}{
		"idle":                   {even(16, 0, 0), 4},
		"idle, no power of two":  {even(9, 0, 0), 4},
		"idle at the least":      {even(4, 0, 0), 4},
		"fewer than it began as": {even(2, 0, 0), 2},
		"a quarter of the room":  {even(16, 240e3, 1), 8},
		"half of the room":       {even(16, 500e3, 1), 16},
		"many small records":     {even(16, 1, 240), 8},
		"one shard nearly hot":   {hot, 8}, // among four it would be hot
		"two that would be hot":  {pair, 16},
	} {
		if got := room(c.open); got != c.want {
			t.Errorf("%s: %d shards, want %d", name, got, c.want)
		}
	}
}

// TestPeaks counts days by looks: a leap of the clock forgets nothing, nor does a step back.
func TestPeaks(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	p, fresh := peaks(nil).with(now, 32)
	if !fresh || p.most() != 32 {
		t.Fatal(p)
	}
	if p, fresh = p.with(now.Add(time.Minute), 8); fresh || p.most() != 32 {
		t.Fatal("less on the same day:", p)
	}
	if p, _ = p.with(now.AddDate(5, 0, 0), 4); p.most() != 32 || len(p) != 2 {
		t.Fatal("after a leap of years:", p)
	}
	if p, _ = p.with(now.AddDate(5, 0, -1), 5); p.most() != 32 || len(p) != 2 || p[1].Shards != 5 {
		t.Fatal("corrected over midnight:", p)
	}
	if p, _ = p.with(now, 4); p.most() != 32 || len(p) != 3 {
		t.Fatal("set back:", p)
	}
	for range peakDays - 2 {
		now = now.AddDate(10, 0, 0)
		if p, _ = p.with(now, 4); p.most() != 32 {
			t.Fatalf("forgotten after %d days", len(p))
		}
	}
	if p, _ = p.with(now.AddDate(10, 0, 0), 4); p.most() != 5 || len(p) != peakDays+1 {
		t.Fatal(p)
	}
}

// TestAChangeMadeWhileTheClockWasAheadCountsNoLonger makes the changes of a day in a year to
// come, and goes on when the clock is right again.
func TestAChangeMadeWhileTheClockWasAheadCountsNoLonger(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock, ScaleEvery: -1})
	s := r.create(New{Name: "s", Shards: 1})
	const year = 365 * 24 * time.Hour
	clock.Add(year)
	for range dayKeys {
		r.must(s.Encrypt(context.Background(), "alias/k"))
	}
	clock.Add(-year)
	r.must(s.Encrypt(context.Background(), "alias/k"))
}

// look looks once at s, as scaleLoop does; it saw bytes and records a second in each shard.
func (r *rig) look(clock *hosttest.Clock, s *Stream, bytes, count float64) int {
	r.t.Helper()
	var list []load
	for _, p := range open(s.Shards()) {
		list = append(list, load{shard: p, bytes: bytes, records: count})
	}
	g := grow(list)
	if g == (growth{}) {
		g = s.shrink(context.Background(), clock.Now(), list)
	}
	s.scale(context.Background(), g)
	return s.OpenShards()
}

// TestAnOnDemandStreamShrinksAfterThirtyQuietDays lets it grow, stops on the way, and has
// traffic on one day that keeps half of the room.
func TestAnOnDemandStreamShrinksAfterThirtyQuietDays(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock, ScaleEvery: -1})
	r.create(New{Name: "s", Mode: OnDemand})
	for _, want := range []int{8, 16, 32} {
		if n := r.look(clock, r.get("s"), 600e3, 1); n != want {
			t.Fatalf("%d shards under load, want %d", n, want)
		}
	}
	for day := range 30 {
		bytes := 0.0
		if day == 20 {
			bytes = 200e3 // 6.4 MB a second: room for 13 shards' worth
		}
		for range 3 {
			clock.Add(8 * time.Hour)
			if n := r.look(clock, r.get("s"), bytes, 1); n != 32 {
				t.Fatalf("%d shards on day %d", n, day)
			}
		}
		if day%10 == 3 {
			r.restart()
		}
	}
	clock.Add(24 * time.Hour)
	if n := r.look(clock, r.get("s"), 0, 0); n != 16 {
		t.Fatalf("%d shards after 30 days with one of 16", n)
	}
	for range 29 {
		clock.Add(24 * time.Hour)
		if n := r.look(clock, r.get("s"), 0, 0); n != 16 {
			t.Fatalf("%d shards in the next 30 days", n)
		}
	}
	clock.Add(48 * time.Hour)
	r.look(clock, r.get("s"), 0, 0)
	clock.Add(24 * time.Hour)
	if n := r.look(clock, r.get("s"), 0, 0); n != 4 {
		t.Fatalf("%d shards after 30 days without any", n)
	}
	if n := r.look(clock, r.get("s"), 600e3, 1); n != 8 {
		t.Fatalf("%d shards when the traffic is back", n)
	}
}

// TestAStreamThatComesToOnDemandKeepsItsShardsForThirtyDays also holds for warm throughput,
// whose shards are kept for as long as it is asked for.
func TestAStreamThatComesToOnDemandKeepsItsShardsForThirtyDays(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock, ScaleEvery: -1})
	ctx := context.Background()
	s := r.create(New{Name: "s", Shards: 40})
	r.must(s.SetMode(ctx, OnDemand, 10))
	for day := range 31 {
		if n := r.look(clock, s, 0, 0); n != 40 {
			t.Fatalf("%d shards on day %d", n, day)
		}
		clock.Add(24 * time.Hour)
	}
	if n := r.look(clock, s, 0, 0); n != 10 {
		t.Fatalf("%d shards at last, 10 MiB/s are kept warm", n)
	}
	r.must(s.SetWarm(ctx, 20))
	if n := s.OpenShards(); n != 20 {
		t.Fatalf("%d shards for 20 MiB/s", n)
	}
	r.look(clock, s, 100e3, 1) // 2 MB/s
	r.must(s.SetWarm(ctx, 6))
	if n := s.OpenShards(); n != 6 {
		t.Fatalf("%d shards when 6 MiB/s are enough", n)
	}
	r.must(s.SetWarm(ctx, 0))
	if n := s.OpenShards(); n != 5 {
		t.Fatalf("%d shards when none is kept warm and the last look had need of 5", n)
	}
}

// TestTheDaysChangesAreCounted changes a stream as often as a day allows.
func TestTheDaysChangesAreCounted(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		most int
		f    func(s *Stream, n int) error
	}{
		"encryption begun": {dayKeys, func(s *Stream, n int) error { return s.Encrypt(ctx, "alias/k") }},
		"encryption ended": {dayKeys, func(s *Stream, n int) error { return s.Encrypt(ctx, "") }},
		"mode": {dayModes, func(s *Stream, n int) error {
			return s.SetMode(ctx, []Mode{OnDemand, Provisioned}[n%2], 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			r := newRig(t, Config{Clock: clock, ScaleEvery: -1})
			r.create(New{Name: "s", Shards: 1})
			for n := range c.most {
				r.must(c.f(r.get("s"), n))
				clock.Add(time.Minute)
			}
			r.restart()
			before := *r.get("s").Info()
			if err := c.f(r.get("s"), c.most); !fault.Is(err, fault.Throttled) {
				t.Fatalf("once more: %v", err)
			}
			if now := r.get("s").Info(); now.Mode != before.Mode || now.KeyID != before.KeyID || now.Status != Active {
				t.Fatalf("it was refused and done: %+v", now)
			}
			clock.Add(24*time.Hour - time.Duration(c.most)*time.Minute)
			r.must(c.f(r.get("s"), c.most))

			r.config.NoLimits = true
			r.restart()
			for n := range 30 {
				r.must(c.f(r.get("s"), c.most+1+n))
			}
		})
	}
}
