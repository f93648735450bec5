package web

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/fragments"
)

func TestAStalledDiskHoldsNoListUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		var reads atomic.Int64
		stall := make(chan struct{})
		good := func() stored { reads.Add(1); return stored{total: fragments.Totals{Bytes: 7}} }
		stuck := func() stored { reads.Add(1); <-stall; return stored{total: fragments.Totals{Bytes: 9}} }
		if v := s.get(t.Context(), "a", time.Now(), good); v.total.Bytes != 7 {
			t.Errorf("read %+v", v)
		}
		if v := s.get(t.Context(), "a", time.Now(), stuck); v.total.Bytes != 7 || reads.Load() != 1 {
			t.Errorf("asked again at once: %+v after %d reads", v, reads.Load())
		}
		time.Sleep(storedFresh)
		ctx, cancel := context.WithTimeout(t.Context(), storedWait)
		defer cancel()
		began := time.Now()
		for range 100 {
			if v := s.get(ctx, "a", time.Now(), stuck); v.total.Bytes != 7 {
				t.Errorf("while the disk stalls: %+v, want what was known", v)
			}
		}
		if took := time.Since(began); took != storedWait || reads.Load() != 2 {
			t.Errorf("a list of 100 took %v and %d reads", took, reads.Load())
		}
		close(stall)
		synctest.Wait()
		if v := s.get(t.Context(), "a", time.Now(), stuck); v.total.Bytes != 9 {
			t.Errorf("afterwards: %+v", v)
		}
	})
}

func TestStreamsThatNobodyAsksForAreForgotten(t *testing.T) {
	var s shelf
	now := time.Now()
	for i := range 10 * storedSweep {
		now = now.Add(time.Second)
		s.get(t.Context(), strconv.Itoa(i), now, func() stored { return stored{} })
	}
	if n := len(s.books); n > 2*storedSweep {
		t.Errorf("%d streams are remembered", n)
	}
}
