package fragments

import (
	"strings"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
)

func TestARefusedFragmentLeavesAGapWithItsReason(t *testing.T) {
	r := newRig(t, crashfs.New(crashfs.Config{}), nil).mustStart()
	defer r.mustStop()
	l := r.s.Log("cam", nil)
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r.store(l, testFragment(begin, 10, 1))
	bad := testFragment(begin.Add(2*time.Second), 10, 2)
	bad.Tracks = nil
	if err := l.Append(bad, nil); !fault.Is(err, fault.Invalid) {
		t.Fatalf("a fragment without tracks: %v", err)
	}
	heads := r.store(l, testFragment(begin.Add(4*time.Second), 10, 3))
	if h := heads[len(heads)-1]; h.Gap != CauseRefused || !strings.Contains(h.GapDetail, "track") {
		t.Errorf("the gap is said to be %v, %q", h.Gap, h.GapDetail)
	}
}
