package datastream

import (
	"context"
	"sync"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
)

// hasty is a clock on which nothing takes time.
type hasty struct{ *hosttest.Clock }

func (hasty) NewTimer(time.Duration) *time.Timer { return time.NewTimer(0) }

// TestAChangeBeforeRunIsToldAndDoneByRun: nobody hangs who makes a stream too early, and
// the stream is there in the end.
func TestAChangeBeforeRunIsToldAndDoneByRun(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock, ScaleEvery: -1})
	r.create(New{Name: "old", Shards: 1})
	r.idle, r.config.Clock = true, hasty{clock}
	r.restart()
	ctx, old := context.Background(), r.get("old")
	s, err := r.data.Create(ctx, New{Account: account, Region: region, Name: "s", Shards: 2})
	if !fault.Is(err, fault.Unavailable) || s == nil || s.Info().Status != Creating {
		t.Fatalf("%v, %v", s, err)
	}
	for name, err := range map[string]error{
		"settled":  s.Settled(ctx),
		"a change": old.SetMaxRecord(ctx, MaxRecordDefault),
		"ensure":   func() error { _, err := r.data.Ensure(ctx, account, region, "t"); return err }(),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := old.Register(ctx, "c", nil); err != nil {
		t.Error(err)
	}
	r.run()
	<-r.data.began
	for _, name := range []string{"old", "s", "t"} {
		s := r.get(name)
		r.must(s.Settled(ctx))
		if s.Info().Status != Active || s.OpenShards() == 0 {
			t.Errorf("%s is %v with %d shards", name, s.Info().Status, s.OpenShards())
		}
	}
}

// TestWhoLeavesDoesNotKeepAStreamFromBeingMade asks with a context that has ended.
func TestWhoLeavesDoesNotKeepAStreamFromBeingMade(t *testing.T) {
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		r := newRig(t, Config{StateDelay: delay})
		left, leave := context.WithCancel(context.Background())
		leave()
		var all sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d"} {
			all.Go(func() { _, _ = r.data.Create(left, New{Account: account, Region: region, Name: name, Shards: 1}) })
		}
		all.Wait()
		for _, name := range []string{"a", "b", "c", "d"} {
			s := r.get(name)
			r.must(s.Settled(context.Background()))
			if s.Info().Status != Active || s.OpenShards() != 1 {
				t.Errorf("%s is %v", name, s.Info().Status)
			}
		}
	}
}
