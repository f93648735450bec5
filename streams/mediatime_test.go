package streams

import (
	"fmt"
	"testing"
	"time"

	"penstock/media"
)

// feed sends one frame per 40 ms of a 90 kHz track and returns what comes out, in ms.
type feed struct {
	t       trackTime
	last    jump
	arrival time.Time
	dts     int64
}

func newFeed() *feed {
	return &feed{t: trackTime{track: media.Track{ID: 1, Timescale: 90000}}, arrival: time.Unix(1767323045, 0), dts: 1000}
}

func (f *feed) frame() (int64, bool) {
	out, jumped := f.t.next(f.dts, f.arrival, &f.last)
	f.dts += 3600
	f.arrival = f.arrival.Add(40 * time.Millisecond)
	return out, jumped
}

// frames returns the DTS steps of n frames in ms and the number of jumps.
func (f *feed) frames(n int) (steps []int64, jumps int) {
	for range n {
		before := f.t.out
		out, jumped := f.frame()
		steps = append(steps, (out-before)/90)
		if jumped {
			jumps++
		}
	}
	return steps, jumps
}

func TestMediaTime(t *testing.T) {
	cases := []struct {
		name  string
		upset func(f *feed)
		steps string // in ms: the first after it, and the one then
		jumps int
	}{
		{"nothing happens", func(*feed) {}, "40 40", 0},
		{"a jump of an hour", func(f *feed) { f.dts += 3600 * 90000 }, "40 40", 1},
		{"a jump back of an hour", func(f *feed) { f.dts -= 3600 * 90000 }, "40 40", 1},
		{"a jump to zero", func(f *feed) { f.dts = 0 }, "40 40", 1},
		{"a jump to the end of all ticks", func(f *feed) { f.dts = 1<<62 - 1 }, "40 40", 1},
		{"five seconds lost on the way", func(f *feed) { f.dts += 5 * 90000; f.arrival = f.arrival.Add(5 * time.Second) }, "5040 40", 0},
		{"a stall of five seconds, nothing lost", func(f *feed) { f.arrival = f.arrival.Add(5 * time.Second) }, "40 40", 0},
		{"a reboot: pause and new time base", func(f *feed) { f.dts = 7; f.arrival = f.arrival.Add(30 * time.Second) }, "30040 40", 1},
		{"a doubled time stamp", func(f *feed) { f.dts -= 3600 }, "0 39", 0}, // a tick apart from the first
		{"three frames back", func(f *feed) { f.dts -= 4 * 3600 }, "0 0", 0},
		{"the server's clock set back", func(f *feed) { f.arrival = f.arrival.Add(-time.Hour) }, "40 40", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFeed()
			f.frames(100)
			c.upset(f)
			steps, jumps := f.frames(50)
			if got := fmt.Sprint(steps[0], " ", steps[1]); got != c.steps || jumps != c.jumps {
				t.Errorf("steps %s with %d jumps, want %s with %d", got, jumps, c.steps, c.jumps)
			}
		})
	}
}

func TestAStallCaughtUpIsNoJump(t *testing.T) {
	f := newFeed()
	f.frames(100)
	f.arrival = f.arrival.Add(10 * time.Second)
	f.frames(1)        // what the socket held
	f.dts += 5 * 90000 // the camera dropped 5 s
	if _, jumped := f.frame(); jumped {
		t.Error("media time that catches up with the arrivals was taken for a jump")
	}
}

func TestADriftingClockIsNoJump(t *testing.T) {
	f := newFeed()
	for i := range 25 * 3600 { // an hour with a camera 2 % fast, a frame lost now and then
		f.arrival = f.arrival.Add(-800 * time.Microsecond)
		if i%1000 == 999 {
			f.dts += 3600
			f.arrival = f.arrival.Add(40 * time.Millisecond)
		}
		if _, jumped := f.frame(); jumped {
			t.Fatalf("frame %d", i)
		}
	}
}

func TestTracksThatJumpTogetherStayInStep(t *testing.T) {
	var last jump
	v := trackTime{track: media.Track{ID: 1, Timescale: 90000}}
	a := trackTime{track: media.Track{ID: 2, Timescale: 48000}}
	at := time.Unix(1767323045, 0)
	ms := func(i int) time.Time { return at.Add(time.Duration(i) * time.Millisecond) }
	for i := 0; i < 2000; i += 20 {
		a.next(int64(i)*48, ms(i), &last)
		if i%40 == 0 {
			v.next(int64(i)*90, ms(i), &last)
		}
	}
	// Both jump by an hour; the sound arrives 130 ms late, as buffered sound does.
	const hour = 3600_000
	vo, vj := v.next((2000+hour)*90, ms(2000), &last)
	ao, aj := a.next((2000+hour)*48, ms(2130), &last)
	if !vj || !aj {
		t.Fatalf("jumps seen: video %v, sound %v", vj, aj)
	}
	if d := vo*1000/90 - ao*1000/48; d < -1000 || d > 1000 { // µs
		t.Errorf("they are %d µs apart", d)
	}
}

func FuzzMediaTime(f *testing.F) {
	f.Add(int64(0), int64(3600), int64(1<<40), int64(-5), uint16(40))
	f.Add(int64(-1<<63), int64(1<<63-1), int64(0), int64(1), uint16(0))
	f.Fuzz(func(t *testing.T, a, b, c, d int64, step uint16) {
		tt := trackTime{track: media.Track{ID: 1, Timescale: 90000}}
		var last jump
		at := time.Unix(1767323045, 0)
		before := int64(0)
		for i, dts := range []int64{a, b, c, d, a} {
			if dts > 1<<61 || dts < -1<<61 {
				return // an unwrapped 32-bit time stamp takes 10^5 years to get there
			}
			out, _ := tt.next(dts, at, &last)
			if i > 0 && out <= before {
				t.Fatalf("%d after %d", out, before)
			}
			before = out
			at = at.Add(time.Duration(step) * time.Millisecond)
		}
	})
}
