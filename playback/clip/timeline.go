package clip

import (
	"time"

	"penstock/fragments"
	"penstock/media"
)

// overlapTolerance is how far media of one run may fail to meet before it is laid out
// anew: nothing but a lost fragment does that.
const overlapTolerance = time.Second

// timeline lays fragments one after another on the clip's own time, which begins at 0. It
// is a state machine without I/O.
type timeline struct {
	tracks []media.Track
	hold   bool      // gaps last as long as they did
	zero   time.Time // server time of the clip's start

	begun bool
	shift []int64 // per track: clip time minus media time, ticks
	ends  []int64 // per track: clip time at which its media so far ends
	prev  fragments.Head
}

// place decides where f lies. first holds each track's first DTS in the part of f that is
// used, or none (ok false). It returns whether f follows a gap.
func (t *timeline) place(f *fragments.Fragment, first []int64, has []bool, start time.Time) (gap bool) {
	ref := f.Reference()
	switch {
	case !t.begun:
		t.zero = start
		t.shift, t.ends = make([]int64, len(t.tracks)), make([]int64, len(t.tracks))
		t.anchor(ref, 0, first, has)
	case f.Run == t.prev.Run && f.Gap == fragments.CauseNone && t.meets(ref, first, has):
	default:
		gap = f.Gap != fragments.CauseNone || start.Sub(t.prev.End) > overlapTolerance
		at := t.tracks[ref].Duration(t.ends[ref])
		if t.hold && gap {
			at = max(at, start.Sub(t.zero))
		}
		t.anchor(ref, at, first, has)
	}
	t.begun, t.prev = true, f.Head
	for i := range t.tracks {
		t.ends[i] = max(t.ends[i], f.Ends[i]+t.shift[i])
	}
	return gap
}

// anchor sets the shifts so that the reference track's first sample lies at at, or as much
// later as it takes for no track to begin before its media so far ends.
func (t *timeline) anchor(ref int, at time.Duration, first []int64, has []bool) {
	zero := t.tracks[ref].Duration(first[ref])
	late := time.Duration(0)
	for i, track := range t.tracks {
		if has[i] {
			t.shift[i] = track.Ticks(at - zero)
			late = max(late, track.Duration(t.ends[i]-first[i]-t.shift[i]))
		}
	}
	for i, track := range t.tracks {
		t.shift[i] = track.Ticks(at + late - zero)
		if has[i] { // rounding must not make a track overlap by a tick
			t.shift[i] = max(t.shift[i], t.ends[i]-first[i])
		}
	}
}

// meets reports whether the fragment goes on where the last one ended.
func (t *timeline) meets(ref int, first []int64, has []bool) bool {
	for i, track := range t.tracks {
		if !has[i] {
			continue
		}
		d := track.Duration(first[i] + t.shift[i] - t.ends[i])
		if i == ref && (d < -overlapTolerance || d > overlapTolerance) {
			return false
		}
	}
	return true
}
