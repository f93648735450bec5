package streams

import (
	"time"

	"penstock/media"
)

// How far a track's media time may be off before it counts as a jump.
const (
	// jumpAhead is how much further than the arrival a step may lead.
	jumpAhead = 2 * time.Second
	// jumpBack is how far back a step may go and still be a reordered or doubled time
	// stamp, which is clamped.
	jumpBack = 500 * time.Millisecond
	// sameJump is how alike two tracks' jumps are when they have one cause, and
	// sameJumpWithin how long after each other they come.
	sameJump       = time.Second
	sameJumpWithin = 10 * time.Second
	// stepMax bounds the step that replaces a jump after a pause.
	stepMax = 24 * time.Hour
	// stepFar is a jump too large to be told in nanoseconds: tracks do not share it.
	stepFar = 1 << 61
)

// trackTime keeps one track's decode times rising and continuous across jumps of the
// producer's time stamps. It does no I/O and knows no clock.
type trackTime struct {
	track   media.Track
	started bool
	offset  int64     // added to the producer's DTS, ticks
	in, out int64     // last DTS as it came and as it went on
	at      time.Time // its arrival
	first   time.Time // the first sample's arrival
	begin   int64     // the first sample's DTS going out
	// lead is the most that media time, counted from begin, was ahead of the arrivals,
	// counted from first; it sinks slowly, so that a drifting clock is no jump.
	lead time.Duration
}

// jump is a change of the producer's time base.
type jump struct {
	by time.Duration // subtracted from what comes
	at time.Time
}

// next returns the DTS to go on with. jumped reports a new time base, whose size last
// then holds; last is shared by the tracks of a session, so that tracks that jump
// together stay in step.
func (t *trackTime) next(dts int64, arrival time.Time, last *jump) (out int64, jumped bool) {
	if !t.started {
		t.started = true
		if last.by != 0 && arrival.Sub(last.at) < sameJumpWithin {
			t.offset = -t.track.Ticks(last.by)
		}
		t.in, t.out, t.at, t.first, t.begin = dts, dts+t.offset, arrival, arrival, dts+t.offset
		return t.out, false
	}
	passed := max(arrival.Sub(t.at), 0)
	step := t.duration(dts - t.in)
	lead := t.duration(dts+t.offset-t.begin) - arrival.Sub(t.first)
	if step < -jumpBack || (step > passed+jumpAhead && lead > t.lead+jumpAhead) {
		jumped = true
		t.rebase(dts, step, passed, arrival, last)
		lead = t.duration(dts+t.offset-t.begin) - arrival.Sub(t.first)
	}
	out = max(dts+t.offset, t.out+1)
	if lead >= t.lead || jumped {
		t.lead = lead
	} else {
		// A minute halves the distance.
		t.lead -= time.Duration(float64(t.lead-lead) * min(1, passed.Seconds()/87))
	}
	t.in, t.out, t.at = dts, out, arrival
	return out, jumped
}

// rebase makes dts follow the last sample by the time that passed on our own clock, or
// by what another track's jump says, when it is the same.
func (t *trackTime) rebase(dts int64, step, passed time.Duration, arrival time.Time, last *jump) {
	if d := arrival.Sub(last.at); last.by != 0 && d >= 0 && d < sameJumpWithin {
		if rest := step - last.by; rest > -sameJump && rest < passed+sameJump {
			t.offset -= t.track.Ticks(last.by)
			return
		}
	}
	passed = min(passed, stepMax)
	*last = jump{}
	if step > -stepFar && step < stepFar {
		*last = jump{by: step - passed, at: arrival}
	}
	t.offset = t.out + t.track.Ticks(passed) - dts
}

// duration is Track.Duration for differences that may come from hostile time stamps.
func (t *trackTime) duration(ticks int64) time.Duration {
	const far = 1 << 50 // ticks; beyond it nanoseconds overflow for slow timescales
	if ticks > far || ticks < -far {
		if ticks > 0 {
			return 1 << 62
		}
		return -1 << 62
	}
	if whole := ticks / int64(t.track.Timescale); whole > 9e9 || whole < -9e9 {
		if whole > 0 {
			return 1 << 62
		}
		return -1 << 62
	}
	return t.track.Duration(ticks)
}
