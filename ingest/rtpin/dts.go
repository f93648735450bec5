package rtpin

import "slices"

// reorderMax is the deepest reordering that H.264 and H.265 allow.
const reorderMax = 16

// dtsOrder derives decoding times from presentation times, given by how many pictures
// decoding runs ahead: the DTS of a picture is the PTS that is shown while it is
// decoded, which is the smallest one that was not used yet. Nothing is held back.
type dtsOrder struct {
	depth   int
	step    int64             // ticks between pictures, for the first ones
	pending [reorderMax]int64 // presentation times not used yet, ascending
	count   int
	last    int64
	begun   bool
}

// next takes the pts of the next picture in decoding order. The first depth pictures
// are decoded before anything is shown: their times lie before the first pts.
func (o *dtsOrder) next(pts int64) int64 {
	if o.depth == 0 {
		return o.took(pts)
	}
	depth := min(o.depth, reorderMax)
	if !o.begun || pts-o.last > o.step*250 || pts-o.last < -o.step*250 {
		o.begun, o.count = true, 0
		for i := range depth {
			o.pending[i] = pts - o.step*int64(depth-i)
		}
		o.count = depth
	}
	dts := pts
	if o.pending[0] < pts {
		dts = o.pending[0]
		copy(o.pending[:], o.pending[1:o.count])
		at, _ := slices.BinarySearch(o.pending[:o.count-1], pts)
		copy(o.pending[at+1:o.count], o.pending[at:o.count-1])
		o.pending[at] = pts
	}
	o.last = dts
	return dts
}

// took notes a time that an extractor found.
func (o *dtsOrder) took(dts int64) int64 {
	o.last, o.begun = dts, true
	return dts
}

// clamp is for a picture whose order cannot be found: it is decoded when it is shown,
// but not before the picture before it.
func (o *dtsOrder) clamp(pts int64) int64 {
	if o.begun && pts <= o.last && o.last-pts < o.step*reorderMax {
		return o.took(o.last + 1)
	}
	return o.took(pts)
}

// frameTicks is the time between pictures at fps, or at 25 when fps is nonsense.
func frameTicks(fps float64, clock uint32) int64 {
	if fps < 1 || fps > 240 {
		fps = 25
	}
	return max(int64(float64(clock)/fps), 1)
}
