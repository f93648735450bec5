package acceptance

import (
	"context"
	"testing"
	"time"

	"penstock/internal/camsim"
)

// looped is two seconds of the synthetic camera, to be sent again and again: to draw and
// encode each frame for each of eight cameras would cost more than the server that is
// tested.
func looped() camsim.Material { return camsim.Record(camsim.NewDemo(), 2*time.Second) }

// push sends a camera's picture to address until ctx ends, and connects again whenever the
// server is gone.
func push(ctx context.Context, address string, picture camsim.Material) {
	for ctx.Err() == nil {
		_ = camsim.Push(ctx, camsim.PushConfig{URL: address, Material: picture}) // the server was killed: that is the test
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// producers starts a pushed camera for each name; they stop with the test.
func producers(t *testing.T, s *server, names []string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{}, len(names))
	picture := looped()
	for _, name := range names {
		go func() {
			push(ctx, s.pushURL(name), picture)
			done <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		stop()
		for range names {
			<-done
		}
	})
}
