package acceptance

import (
	"context"
	"fmt"
	"sync"
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

// recording starts n pushed cameras, which stop with the test, and returns their names when
// each has been recorded.
func recording(t *testing.T, s *server, n int) []string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var pushers sync.WaitGroup
	t.Cleanup(func() {
		stop()
		pushers.Wait()
	})
	names, picture := make([]string, n), looped()
	for i := range names {
		names[i] = fmt.Sprintf("cam%d", i)
		pushers.Go(func() { push(ctx, s.pushURL(names[i]), picture) })
	}
	for _, name := range names {
		recorded(s, name, 1)
	}
	return names
}
