package playtest

import (
	"slices"
	"time"

	"penstock/media"
)

// Said is s from a producer whose clock said zero at the first sample.
func (s Source) Said(zero time.Time) Source {
	s.Samples = slices.Clone(s.Samples)
	first := time.Duration(0)
	for i := range s.Samples {
		t, _ := media.FindTrack(s.Tracks, s.Samples[i].Track)
		at := t.Duration(s.Samples[i].DTS)
		if i == 0 {
			first = at
		}
		s.Samples[i].Wall = zero.Add(at - first)
	}
	return s
}
