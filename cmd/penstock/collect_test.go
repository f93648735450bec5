package main

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/host"
)

func TestHowMuchTheHeapMayGrow(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name            string
		live, perSecond uint64
		took            time.Duration
		want            int
	}{
		{"at rest", 10 * mib, 0, time.Second, 20},
		{"nothing is known yet", 0, 100 * mib, time.Second, 20},
		{"100 cameras", 60 * mib, 40 * mib, time.Second, 20},
		{"1000 cameras", 600 * mib, 400 * mib, time.Second, 20},
		{"small requests", 80 * mib, 130 * mib, time.Second, 100},
		{"small requests, seen late", 80 * mib, 130 * mib, 3 * time.Second, 100},
		{"as little as that, seen late", 80 * mib, 40 * mib, 3 * time.Second, 20},
		{"small requests beside cameras", 640 * mib, 800 * mib, time.Second, 30},
		{"a heap that holds nothing", 4 * mib, 100 * mib, time.Second, 400},
		{"a clock that does not move", 80 * mib, 0, 0, 20},
	} {
		at := time.Unix(1, 0)
		from := heap{at: at, allocated: 7}
		to := heap{at.Add(c.took), 7 + uint64(float64(c.perSecond)*c.took.Seconds()), c.live}
		if got := percent(from, to); got != c.want {
			t.Errorf("%s: %d%%, not %d", c.name, got, c.want)
		}
	}
}

func TestThePaceFollowsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// What is allocated in each second, of a heap of 64 MiB and then a little more.
		load := []uint64{0, 0, 200, 200, 0, 200, 200, 200, 200, 200, 200, 0, 0, 200, 0}
		live := []uint64{64, 64, 64, 64, 64, 64, 64, 64, 66, 40, 40, 40, 40, 40, 40}
		ctx, stop := context.WithCancel(t.Context())
		var sum uint64
		second := -1
		var set []int
		p := &pace{
			clock: host.System{},
			read: func() heap {
				second++
				if second == len(load) {
					stop()
					second--
				}
				sum += load[second] << 20
				return heap{time.Now(), sum, live[second] << 20}
			},
			set: func(percent int) { set = append(set, percent) },
		}
		begin := time.Now()
		p.run(ctx)
		if want := []int{20, 120, 180, 20}; !slices.Equal(set, want) {
			t.Errorf("%v, not %v", set, want)
		}
		if took := time.Since(begin); took < 14*time.Second || took > 16*time.Second {
			t.Errorf("looked %d times in %v", second+1, took)
		}
	})
}

func TestTheHeapIsKnown(t *testing.T) {
	read := paceOf(host.System{}).read
	before := read()
	b := make([]byte, 1<<20)
	after := read()
	if after.allocated < before.allocated+uint64(len(b)) {
		t.Errorf("%d bytes allocated, then %d", before.allocated, after.allocated)
	}
}
