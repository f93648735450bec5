package fragments

import "penstock/media"

// settle decides about a silence once enough came after it. Samples in a burst were only
// held up. If they go on at the old pace, as late as the silence was long, the camera's
// clock stood still with it: the timeline has a gap, and the open fragment is cut there.
func (f *Fragmenter) settle(a int64) *Fragment {
	w := f.stalled
	if !w.active {
		return nil
	}
	if w.least < float64(w.length)/2e6 {
		f.stalled.active = false
		return nil
	}
	if a-w.over < catchUp.Microseconds() {
		return nil
	}
	f.stalled.active = false
	rest := append([]media.Sample(nil), f.open[w.at:]...)
	ref := f.tracks[f.ref].ID
	if len(rest) == 0 {
		return nil
	}
	now := f.clock
	f.clock = w.before
	states := f.states
	f.states = append([]cutState(nil), states...)
	f.rewind(rest)
	f.open = f.open[:w.at]
	out := f.cut()
	f.states, f.clock = states, now
	f.clock.pts = keepAfter(f.clock.pts, float64(w.over-f.origin)/1e6)
	f.clock.fit()
	f.broken = true
	f.because(w.why)
	f.open, f.bytes = rest, 0
	for i := range rest {
		f.bytes += int64(len(rest[i].Data))
	}
	f.begin = f.mediaTime(f.index(rest[0].Track), rest[0].DTS)
	f.forced = f.video && !(rest[0].Track == ref && rest[0].Sync)
	return out
}

// rewind takes the tracks' states back to before the first of rest.
func (f *Fragmenter) rewind(rest []media.Sample) {
	for k := range f.tracks {
		for i := len(f.open) - len(rest) - 1; i >= 0; i-- {
			if f.open[i].Track == f.tracks[k].ID {
				f.states[k].dts = f.open[i].DTS
				break
			}
		}
	}
}

func keepAfter(pts []point, a float64) []point {
	i := 0
	for i < len(pts) && pts[i].a < a {
		i++
	}
	return pts[:copy(pts, pts[i:])]
}
