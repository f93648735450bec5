package auth

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/host/hosttest"
	"penstock/storage/meta"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type events struct {
	mu   sync.Mutex
	list []AuditEvent
}

func (e *events) Record(_ context.Context, ev AuditEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

type rig struct {
	t     *testing.T
	path  string
	db    *meta.DB
	clock *hosttest.Clock
	audit *events
	a     *Authority
}

func testMasterKey(t testing.TB) MasterKey {
	k, err := NewMasterKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "meta.db"), clock: hosttest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), audit: &events{}}
	r.open(change...)
	return r
}

// open opens the store, again after close.
func (r *rig) open(change ...func(*Config)) {
	r.t.Helper()
	db, err := meta.Open(r.t.Context(), meta.Config{Path: r.path, Schemas: []meta.Schema{Schema()}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { db.Close() })
	r.db = db
	r.a = r.authority(change...)
}

// authority opens another Authority on the same store, as another process would.
func (r *rig) authority(change ...func(*Config)) *Authority {
	r.t.Helper()
	c := Config{Meta: r.db, MasterKey: testMasterKey(r.t), Clock: r.clock, Audit: r.audit, Poll: 5 * time.Millisecond}
	for _, f := range change {
		f(&c)
	}
	a, err := Open(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// run runs the Authority until the test ends.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.a.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) key(n NewKey) (Issued, Principal) {
	r.t.Helper()
	k, err := r.a.CreateKey(r.t.Context(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := r.a.Bearer(r.t.Context(), k.Token.Reveal(), "192.0.2.1:9")
	if err != nil {
		r.t.Fatal(err)
	}
	return k, p
}

const (
	frontDoor = "arn:aws:kinesisvideo:us-east-1:000000000000:stream/front-door/1767323045000"
	backDoor  = "arn:aws:kinesisvideo:us-east-1:000000000000:stream/back-door/1767323045000"
)
