package fragments

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
)

// TestTheProducersClockFindsWhatItSaid stores a log whose producer drifts, reboots into
// 1970, is set back an hour, and goes silent about the time; then it compares 500
// windows with a look at every head.
func TestTheProducersClockFindsWhatItSaid(t *testing.T) {
	r := newRig(t, crashfs.New(crashfs.Config{}), nil).mustStart()
	defer r.mustStop()
	l := r.s.Log("cam", nil)
	rng := rand.New(rand.NewPCG(7, 9))
	at := time.Unix(1_700_000_000, 0).UTC()
	clock := at.Add(-3 * time.Hour)
	known := true
	var heads []Head
	var batch []*Fragment
	for i := range 600 {
		switch {
		case i == 100:
			clock = time.Unix(1000, 0) // booted without a clock
		case i == 180:
			clock = at.Add(time.Second)
		case i == 300:
			clock = clock.Add(-time.Hour)
		case i == 400:
			known = false
		case i == 450:
			known, clock = true, at.Add(-5*time.Minute) // again over what it said before
		case i%50 == 49:
			at, clock = at.Add(time.Minute), clock.Add(time.Minute) // a gap
		}
		f := testFragment(at, 4, uint64(i))
		f.Producer = time.Time{}
		if known {
			f.Producer = clock.Truncate(time.Microsecond).UTC()
		}
		batch = append(batch, f)
		d := f.Duration()
		at, clock = f.End, clock.Add(d+time.Duration(rng.IntN(40)-20)*time.Millisecond)
		if i%100 == 50 {
			heads, batch = append(heads, r.store(l, batch...)...), nil
		}
		if i == 250 { // it goes on from where it was asked before
			if got := r.headsBy(l, Range{Limit: 3}); len(got) != 3 {
				t.Fatalf("%d heads of 3", len(got))
			}
		}
	}
	heads = append(heads, r.store(l, batch...)...)
	points := []time.Time{time.Unix(0, 0), time.Unix(2000, 0), at}
	for _, h := range heads {
		if !h.Producer.IsZero() {
			points = append(points, h.Producer, h.ProducerEnd(), h.Producer.Add(h.Duration()/2))
		}
	}
	for range 500 {
		from := points[rng.IntN(len(points))]
		to := from.Add(time.Duration(rng.Int64N(int64(10*time.Minute))) + 1)
		if rng.IntN(4) == 0 {
			to = from.Add(time.Microsecond)
		}
		var want []Number
		for _, h := range heads {
			if !h.Producer.IsZero() && h.Producer.Before(to) && h.ProducerEnd().After(from) {
				want = append(want, h.Number)
			}
		}
		var got []Number
		for _, h := range r.headsBy(l, Range{Start: from, End: to}) {
			got = append(got, h.Number)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v to %v: %d fragments, want %d", from, to, len(got), len(want))
		}
	}
	all := 0
	for range l.SelectBy(t.Context(), ProducerClock, Range{}) {
		all++
	}
	if all != 550 {
		t.Errorf("%d fragments have a producer's time, want 550", all)
	}
}

// headsBy selects by the producer's clock.
func (r *rig) headsBy(l *Log, rg Range) []Head {
	r.t.Helper()
	var out []Head
	for h, err := range l.SelectBy(context.Background(), ProducerClock, rg) {
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

func TestALogWithoutAProducersClockSaysSo(t *testing.T) {
	r := newRig(t, crashfs.New(crashfs.Config{}), nil).mustStart()
	defer r.mustStop()
	l := r.s.Log("cam", nil)
	f := testFragment(time.Unix(1_700_000_000, 0), 4, 1)
	f.Producer = time.Time{}
	r.store(l, f)
	for _, err := range l.SelectBy(t.Context(), ProducerClock, Range{}) {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("err = %v", err)
		}
		return
	}
	t.Error("it says nothing")
}

// TestAClockThatAlwaysJumpsTakesNoMemory has more bands than are kept.
func TestAClockThatAlwaysJumpsTakesNoMemory(t *testing.T) {
	var m producerMap
	start := time.Unix(1_700_000_000, 0)
	var heads []Head
	for i := range 3 * bandsMost {
		at := start.Add(time.Duration(i) * time.Second)
		h := Head{Number: numberOf(at), Start: at, End: at.Add(time.Second), Producer: at.Add(time.Duration(i%7) * time.Hour)}
		heads = append(heads, h)
		m.add(&h)
	}
	if len(m.bands) > bandsMost {
		t.Errorf("%d bands", len(m.bands))
	}
	for _, i := range []int{0, 1, 5000, len(heads) - 1} { // what is joined still finds what it held
		at, found := heads[i].Producer.UnixMicro(), false
		for _, w := range m.windows(at, at+1) {
			s := heads[i].Start.UnixMicro()
			found = found || w.start <= s && s < w.end
		}
		if !found {
			t.Errorf("fragment %d is in no window", i)
		}
	}
}
