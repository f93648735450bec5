package pull

import (
	"context"
	"errors"
	"testing"
	"time"

	"penstock/ingest/camera"
)

// TestAMachineThatStoodStillCallsNoCameraSilent lets a minute pass between two looks. What
// the camera sent in it waits to be read: the look after the next one is the first to judge.
func TestAMachineThatStoodStillCallsNoCameraSilent(t *testing.T) {
	s, err := newSupervisor(Config{}, newHub())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	c, p := &call{cancel: cancel}, &puller{}
	p.call.Store(c)
	s.pulled["a"] = p
	now := time.Now()
	c.began.Store(now.UnixNano())
	s.looked = now
	s.look(now.Add(checkEvery))
	s.look(now.Add(time.Minute))
	if ctx.Err() != nil {
		t.Fatalf("the machine stood still, and the camera is blamed: %v", context.Cause(ctx))
	}
	s.look(now.Add(time.Minute + checkEvery))
	var tr *camera.Trouble
	if !errors.As(context.Cause(ctx), &tr) || tr.Cause != camera.NoPackets {
		t.Errorf("a camera that goes on sending nothing: %v", context.Cause(ctx))
	}
}
