package media

import (
	"math"
	"testing"
)

func TestG711IsNear(t *testing.T) {
	for name, law := range map[string]struct {
		to   func(int16) byte
		from func(byte) int16
	}{"A-law": {ToALaw, ALaw}, "mu-law": {ToMuLaw, MuLaw}} {
		for b := range 256 {
			// +0 and -0 of mu-law are one value.
			if got := law.to(law.from(byte(b))); got != byte(b) && law.from(got) != law.from(byte(b)) {
				t.Errorf("%s: %#x became %#x", name, b, got)
			}
		}
		others := 0
		for v := math.MinInt16; v <= math.MaxInt16; v++ {
			got, best := off(law.from(law.to(int16(v))), v), math.MaxInt
			for b := range 256 {
				best = min(best, off(law.from(byte(b)), v))
			}
			// At the borders of its segments G.711 takes the coarser value, half a step off.
			if got > best {
				others++
			}
			if got > 2*best+8 {
				t.Fatalf("%s: %d became %d, and one is only %d off", name, v, law.from(law.to(int16(v))), best)
			}
		}
		if others > 1<<16/20 {
			t.Errorf("%s: %d values have a nearer one", name, others)
		}
	}
}

func off(got int16, want int) int {
	d := int(got) - want
	return max(d, -d)
}
