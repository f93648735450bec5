package streams_test

import (
	"context"
	"testing"

	"penstock/internal/fault"
	"penstock/streams"
)

func TestPrepareReturnsWithItsContextAndForDeletedStreams(t *testing.T) {
	r := newRig(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.hub.Prepare(ended, r.st)
	r.hub.Prepare(t.Context(), r.st)
	if err := r.hub.Erase(t.Context(), r.st); err != nil {
		t.Fatal(err)
	}
	r.hub.Prepare(t.Context(), r.st)
}

// TestNobodyIsLetInBehindTheHubsBack has a producer come while the Hub stops: it is
// refused, or ended with the rest. Else its open fragment would be lost.
func TestNobodyIsLetInBehindTheHubsBack(t *testing.T) {
	for range 5 {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- r.hub.Run(ctx) }()
		go cancel()
		s, err := r.hub.Publish(t.Context(), r.st, streams.Producer{Protocol: "rtsp"}, tracks(), nil)
		if stop := <-stopped; stop != nil {
			t.Fatal(stop)
		}
		if err == nil && s.Err() == nil {
			t.Fatal("a session outlived the Hub")
		}
		if err != nil && !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
	}
}
