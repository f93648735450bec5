package rtpin

import (
	"math"
	"slices"
	"time"
)

// Bounds of what sender reports may do to the order of tracks.
const (
	// alignMax is the largest correction that a sender report can ask for; beyond it
	// the two reports do not speak of the same clock.
	alignMax = 10 * time.Second
	// alignMin is left alone: nobody hears 20 ms between picture and sound.
	alignMin = 20 * time.Millisecond
	// alignStart is how long after a track's first sample a correction may jump;
	// later it is spread over samples, 1/slewShare of the time that passes.
	alignStart = time.Second
	slewShare  = 200
	// reportsKept is how many of a track's reports are looked at: a minute of them. Cameras
	// put the clock of now beside the timestamp of a picture that is a while old, more
	// or less each time, and busy ones do it late: the earliest is nearest to the truth.
	reportsKept = 12
	// reportsAgree is how many reports of both tracks must say that they are apart before
	// a slow correction begins: all of them, but half of the latest beyond that many.
	reportsAgree = 4
	// jump is how many seconds between two samples are a jump of the timestamps.
	jump = 10
	// mediaStart is the media time of a session's first packet. Pictures that are decoded
	// before the first is shown, and tracks that a report moves back, stay above zero,
	// which is as low as the time fields of MP4 go.
	mediaStart = 30 * time.Second
	// ntpEpoch is 1900 in Unix seconds.
	ntpEpoch = -2208988800
)

// timeline maps the RTP timestamps of one track to media time, which all tracks of a
// session share, and to the producer's clock (RFC 3550 §6.4.1).
type timeline struct {
	clock int64
	begun bool
	first time.Time // arrival of the first sample
	last  uint32    // newest RTP timestamp
	ext   int64     // last, unwrapped
	base  int64     // media time = ext + base
	slew  int64     // ticks that base still has to move

	reported  bool
	reportTS  uint32
	reportExt int64 // valid once begun
	reportAt  time.Time
	zeros     [reportsKept]time.Time // where the newest reports put ext 0, in a ring
	kept      int                    // reports that went into zeros
}

// at takes the timestamp of the next sample, in the order of decoding.
func (l *timeline) at(ts uint32, arrival time.Time, r *Receiver) (pts int64, wall time.Time) {
	if !l.begun {
		l.begin(ts, arrival, r)
	} else {
		d := int64(int32(ts - l.last))
		l.ext += d
		l.last = ts
		if d > jump*l.clock || d < -jump*l.clock {
			// The reports speak of the time before the jump.
			l.reported, l.kept, l.slew = false, 0, 0
		}
		if l.slew != 0 && d > 0 && d < l.clock {
			l.turn(d)
		}
	}
	return l.ext + l.base, l.wall(l.ext)
}

func (l *timeline) begin(ts uint32, arrival time.Time, r *Receiver) {
	l.begun, l.first, l.last, l.ext = true, arrival, ts, int64(ts)
	if l.reported {
		l.keep()
	}
	l.base = l.ticks(mediaStart+arrival.Sub(r.start)) - l.ext
	if off, _, ok := l.misaligned(r); ok {
		l.base += off
	}
}

// turn moves base a little towards where it should be.
func (l *timeline) turn(passed int64) {
	step := max(passed/slewShare, 1)
	if l.slew < 0 {
		step = -min(step, -l.slew)
	} else {
		step = min(step, l.slew)
	}
	l.base += step
	l.slew -= step
}

// wall is the producer's clock at the unwrapped timestamp, zero when it sent none.
func (l *timeline) wall(ext int64) time.Time {
	if !l.reported {
		return time.Time{}
	}
	return l.reportAt.Add(l.duration(ext - l.reportExt))
}

// misaligned says how many ticks base is off from the session's first track with a
// report, by the producer's clock, and whether enough reports say so.
func (l *timeline) misaligned(r *Receiver) (off int64, agreed, ok bool) {
	for _, t := range r.tracks {
		ref := &t.time
		if ref == l {
			return 0, false, false // it leads
		}
		if !ref.begun || !ref.reported || !l.reported || !l.begun {
			continue
		}
		bases := ref.duration(ref.base) - l.duration(l.base)
		early, late := l.zero()
		refEarly, refLate := ref.zero()
		d := early.Sub(refEarly) + bases
		if d > alignMax || d < -alignMax {
			return 0, false, false
		}
		apart := early.Sub(refLate)+bases > 0 || late.Sub(refEarly)+bases < 0
		return l.ticks(d), apart && min(l.kept, ref.kept) >= reportsAgree, true
	}
	return 0, false, false
}

// report takes a sender report: at is the producer's time of the timestamp ts.
func (l *timeline) report(at time.Time, ts uint32) {
	l.reported, l.reportTS, l.reportAt = true, ts, at
	if l.begun {
		l.keep()
	}
}

// keep puts the newest report beside those before it, once there is an ext.
func (l *timeline) keep() {
	l.reportExt = l.ext + int64(int32(l.reportTS-l.last))
	l.zeros[l.kept%reportsKept] = l.reportAt.Add(-l.duration(l.reportExt))
	l.kept++
}

// zero is the producer's clock at ext 0 by the reports that are kept, of which there is one
// at least: the earliest, and the latest but those that may have been made too late.
func (l *timeline) zero() (early, late time.Time) {
	all := l.zeros
	n := min(l.kept, reportsKept)
	slices.SortFunc(all[:n], time.Time.Compare)
	return all[0], all[n-1-max(0, n-reportsAgree)/2]
}

// align takes what the newest reports say about base. A correction that was begun goes on
// until it is done; in the scatter of the reports none begins.
func (l *timeline) align(r *Receiver, arrival time.Time) {
	if !l.begun {
		return
	}
	off, agreed, ok := l.misaligned(r)
	switch d := l.duration(off); {
	case !ok || (d < alignMin && d > -alignMin):
		l.slew = 0
	case d > 0 && arrival.Sub(l.first) < alignStart:
		l.base += off
		l.slew = 0
	case agreed || l.slew != 0:
		l.slew = off
	}
}

func (l *timeline) ticks(d time.Duration) int64 {
	return int64(math.Round(d.Seconds() * float64(l.clock)))
}

func (l *timeline) duration(ticks int64) time.Duration {
	return time.Duration(ticks/l.clock)*time.Second + time.Duration(ticks%l.clock)*time.Second/time.Duration(l.clock)
}

// ntp converts an NTP timestamp (RFC 5905 §6); zero for zero, which says "none". Its seconds
// begin anew each 136 years, next in February 2036: the one nearest to what is given is meant.
func ntp(v uint64, near time.Time) time.Time {
	if v == 0 {
		return time.Time{}
	}
	const era, half = 1 << 32, 1 << 31
	sec := int64(v>>32) + ntpEpoch
	sec += era * ((near.Unix() - sec + half) / era)
	frac := (v & math.MaxUint32) * uint64(time.Second) >> 32
	return time.Unix(sec, int64(frac)).UTC()
}
