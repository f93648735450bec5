package datastream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"penstock/records"
)

// TestWhoLeavesDoesNotKeepAChangeFromBeingDone changes streams for callers who are gone by
// the time that it is written down.
func TestWhoLeavesDoesNotKeepAChangeFromBeingDone(t *testing.T) {
	r := newRig(t, Config{})
	gone, leave := context.WithCancel(context.Background())
	leave()
	for i := range 12 {
		s := r.create(New{Name: fmt.Sprint("s", i), Shards: 1})
		_ = s.Split(gone, 0, records.HashKey{Lo: 100})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := s.Settled(ctx); err != nil {
			t.Fatalf("the stream is %s: %v", s.Info().Status, err)
		}
		cancel()
		if n := s.OpenShards(); n != 2 {
			t.Fatalf("%d shards", n)
		}
	}
}
