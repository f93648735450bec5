package events_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
	"penstock/storage/meta"
	"penstock/streams/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin is when each test begins.
var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// rig is a journal whose clock and video the test moves.
type rig struct {
	t       testing.TB
	db      *meta.DB
	store   *stall
	clock   *hosttest.Clock
	mu      sync.Mutex
	video   time.Time // the horizon of all streams
	most    int       // events of a stream; 0: as usual
	keeping int       // and those that keep
	*events.Journal
}

// stall is a store that can be made to fail.
type stall struct {
	*meta.DB
	refuse atomic.Bool
}

func (s *stall) Write(ctx context.Context, f func(*sql.Tx) error) error {
	if s.refuse.Load() {
		return fault.New(fault.Unavailable, "write metadata", "", "the disk is full")
	}
	return s.DB.Write(ctx, f)
}

func newRig(t testing.TB) *rig {
	t.Helper()
	db, err := meta.Open(t.Context(), meta.Config{Path: filepath.Join(t.TempDir(), "meta.db"), Schemas: []meta.Schema{events.Schema()}})
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	r := &rig{t: t, db: db, store: &stall{DB: db}, clock: hosttest.NewClock(begin), video: begin.Add(-24 * time.Hour)}
	r.open()
	return r
}

// open is a start of the server.
func (r *rig) open() {
	r.t.Helper()
	j, err := events.Open(r.t.Context(), events.Config{Meta: r.store, Clock: r.clock, Most: r.most, Keeping: r.keeping, Horizon: func(context.Context, string) time.Time {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.video
	}})
	check(r.t, err)
	r.Journal = j
}

// pass moves the clock, and the horizon with it.
func (r *rig) pass(d time.Duration) {
	r.clock.Add(d)
	r.expire(r.clock.Now().Add(-24 * time.Hour))
}

func (r *rig) expire(t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.video = t
}

func (r *rig) add(n events.New) events.Event {
	r.t.Helper()
	e, made, err := r.try(n)
	if err != nil || !made {
		r.t.Fatalf("add %+v: made %v, %v", n, made, err)
	}
	return e
}

func (r *rig) try(n events.New) (events.Event, bool, error) {
	if n.Stream == "" {
		n.Stream = "cam"
	}
	if n.Kind == "" {
		n.Kind = "mark"
	}
	if n.Owner == "" {
		n.By, n.Owner = "boss", "1:boss"
	}
	return r.Add(r.t.Context(), n)
}

func (r *rig) change(id string, p events.Patch) events.Event {
	r.t.Helper()
	e, err := r.Change(r.t.Context(), "cam", id, p)
	check(r.t, err)
	return e
}

// ids are the events of a window, in the order of the list.
func (r *rig) ids(q events.Query) string {
	r.t.Helper()
	if q.Stream == "" {
		q.Stream = "cam"
	}
	page, err := r.List(r.t.Context(), q)
	check(r.t, err)
	var out []string
	for _, e := range page.Events {
		out = append(out, e.ID)
	}
	return strings.Join(out, " ")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: %v, want %s", what, err, kind)
	}
}

func of[T any](v T) *T { return &v }
