package hls

import (
	"testing"
	"time"
)

// TestTheTargetFollowsTheFragments has no history yet: the playlist's target duration,
// which never changes, must hold the fragments to come.
func TestTheTargetFollowsTheFragments(t *testing.T) {
	for _, c := range []struct{ fragment, key, want time.Duration }{
		{2 * time.Second, time.Second, 2 * time.Second},
		{2 * time.Second, 0, 4 * time.Second},
		{5 * time.Second, time.Second, 5 * time.Second},
		{5 * time.Second, 2 * time.Second, 6 * time.Second},
		{8 * time.Second, 0, 8 * time.Second},
	} {
		var j joined
		j.choose(nil, c.fragment, c.key)
		if j.target != c.want {
			t.Errorf("fragments of %v, key frames every %v: target %v, want %v", c.fragment, c.key, j.target, c.want)
		}
	}
}
