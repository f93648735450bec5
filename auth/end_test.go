package auth

import (
	"context"
	"database/sql"
	"testing"
	"time"
)

// TestASlowDiskDoesNotKeepAnEndFromBeingOrderly stops an Authority that has a last use to
// write down while the store writes something else.
func TestASlowDiskDoesNotKeepAnEndFromBeingOrderly(t *testing.T) {
	r := newRig(t)
	r.key(NewKey{Role: RoleViewer})
	begun, release, wrote := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		wrote <- r.db.Write(context.Background(), func(*sql.Tx) error {
			close(begun)
			<-release
			return nil
		})
	}()
	<-begun
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.a.Run(ctx) }()
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the disk")
	}
	close(release)
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
