package events_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/streams/events"
)

// fill puts rows into the table as a stream's long life would.
func (r *rig) fill(n int, keep int64) {
	r.t.Helper()
	check(r.t, r.db.Write(r.t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO event (stream, id, kind, label, began, ended, lasting, pre, post, keep, kept_from, kept_until, author, owner, data)
			SELECT 'cam', 'f' || i, 'motion', '', ? + i, ? + i, 0, 0, 0, ?, CASE ? WHEN 0 THEN 0 ELSE ? + i END, 0, 'x', '1:x', '{}' FROM n`,
			n, begin.UnixMicro(), begin.UnixMicro(), keep, keep, begin.UnixMicro())
		return err
	}))
	r.open()
}

func TestAStreamHasNoMoreEventsThanItMay(t *testing.T) {
	r := newRig(t)
	r.most = 300
	r.fill(r.most-1, 0)
	e := r.add(events.New{})
	_, _, err := r.try(events.New{})
	is(t, "one too many", err, fault.Throttled)
	check(t, r.Delete(t.Context(), "cam", e.ID))
	r.add(events.New{})
	r.add(events.New{Stream: "other"})
}

func TestAStreamKeepsNoMoreThanItMay(t *testing.T) {
	r := newRig(t)
	r.keeping = 300
	r.fill(r.keeping-1, -1)
	r.add(events.New{ID: "a", Keep: events.Forever})
	r.add(events.New{ID: "b"})
	_, _, err := r.try(events.New{Keep: events.Forever})
	is(t, "one too many", err, fault.Throttled)
	_, err = r.Change(t.Context(), "cam", "b", events.Patch{Keep: of(events.Forever)})
	is(t, "one that comes to keep", err, fault.Throttled)
	r.change("a", events.Patch{Keep: of(events.Term(time.Hour))}) // keeps as many
	r.change("a", events.Patch{Keep: of(events.Term(0))})
	r.change("b", events.Patch{Keep: of(events.Forever)})
	if n := len(r.Keeps("cam")); n != r.keeping {
		t.Errorf("%d keep", n)
	}
}

func TestWhatIsNotStoredIsNotKept(t *testing.T) {
	r := newRig(t)
	old := r.add(events.New{ID: "old", Keep: events.Forever})
	r.add(events.New{ID: "plain"})
	r.store.refuse.Store(true)
	_, _, err := r.try(events.New{Keep: events.Forever})
	is(t, "add", err, fault.Unavailable)
	_, err = r.Change(t.Context(), "cam", "old", events.Patch{Keep: of(events.Term(0))})
	is(t, "change", err, fault.Unavailable)
	_, err = r.Change(t.Context(), "cam", "plain", events.Patch{Keep: of(events.Forever)})
	is(t, "keep", err, fault.Unavailable)
	is(t, "delete", r.Delete(t.Context(), "cam", "old"), fault.Unavailable)
	if k := r.Keeps("cam"); len(k) != 1 || !k[0].Start.Equal(old.KeptFrom) {
		t.Errorf("it keeps %+v", k)
	}
	r.store.refuse.Store(false)
	check(t, r.Delete(t.Context(), "cam", "old"))
	if len(r.Keeps("cam")) != 0 {
		t.Error("it keeps on")
	}
}

func TestWhatMayHaveBeenStoredIsKeptUntilTheStoreHasSaid(t *testing.T) {
	r := newRig(t)
	w := &waiting{DB: r.db, release: make(chan struct{})}
	j, err := events.Open(t.Context(), events.Config{Meta: w, Clock: r.clock, WriteMost: time.Millisecond,
		Horizon: func(context.Context, string) time.Time { return begin.Add(-time.Hour) }})
	check(t, err)
	w.stalled = true
	if _, _, err := j.Add(t.Context(), events.New{Stream: "cam", Kind: "mark", Keep: events.Forever, Owner: "1:x"}); err == nil {
		t.Fatal("a stalled disk took it")
	}
	if len(j.Keeps("cam")) != 1 {
		t.Error("its video was let go before anybody knows")
	}
	w.stalled = false
	close(w.release)
	w.wait.Wait()
	j.Sweep(t.Context())
	page, err := j.List(t.Context(), events.Query{Stream: "cam"})
	if err != nil || len(page.Events) != 1 || len(j.Keeps("cam")) != 1 {
		t.Errorf("the store has %d, memory keeps %d, %v", len(page.Events), len(j.Keeps("cam")), err)
	}
	r.open()
	check(t, r.Delete(t.Context(), "cam", page.Events[0].ID))
	if len(r.Keeps("cam")) != 0 {
		t.Error("it keeps on")
	}
}

// waiting does writes later than their callers wait.
type waiting struct {
	events.DB
	stalled bool
	release chan struct{}
	wait    sync.WaitGroup
}

func (w *waiting) Write(ctx context.Context, f func(*sql.Tx) error) error {
	if !w.stalled {
		return w.DB.Write(ctx, f)
	}
	w.wait.Go(func() {
		<-w.release
		if err := w.DB.Write(context.WithoutCancel(ctx), f); err != nil {
			panic(err)
		}
	})
	<-ctx.Done()
	return fmt.Errorf("write metadata: %w", ctx.Err())
}

func TestManyAtOnce(t *testing.T) {
	r := newRig(t)
	w := r.Watch()
	defer w.Close()
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 20 {
				id := ""
				if n%2 == 0 {
					id = fmt.Sprintf("e-%d", i) // four want the same
				}
				e, _, err := r.try(events.New{ID: id, Keep: events.Forever})
				if err != nil {
					t.Error(err)
					return
				}
				if id == "" && i%2 == 0 {
					if err := r.Delete(t.Context(), "cam", e.ID); err != nil {
						t.Error(err)
					}
				}
				r.Keeps("cam")
			}
			r.Sweep(t.Context())
		})
	}
	all.Wait()
	page, err := r.List(t.Context(), events.Query{Stream: "cam"})
	if want := 20 + 4*10; err != nil || len(page.Events) != want || len(r.Keeps("cam")) != want {
		t.Errorf("%d events, %d keeps, %v", len(page.Events), len(r.Keeps("cam")), err)
	}
	seen := map[string]bool{}
	for len(seen) < 60 {
		ch, err := w.Next(t.Context())
		check(t, err)
		if ch.Gone {
			delete(seen, ch.Event.ID)
		} else {
			seen[ch.Event.ID] = true
		}
	}
}

func TestAReaderWhoIsTooFarBehindIsTold(t *testing.T) {
	r := newRig(t)
	w := r.Watch()
	r.fill(5000, 0)
	// The watch is of the journal before; it hears of what that one deletes.
	w.Close()
	w = r.Watch()
	defer w.Close()
	r.pass(25 * time.Hour)
	r.Sweep(t.Context())
	_, err := w.Next(t.Context())
	is(t, "5000 changes unread", err, fault.Expired)
	other := r.Watch()
	other.Close()
	other.Close()
	_, err = other.Next(t.Context())
	is(t, "a closed watch", err, fault.Expired)
}

func TestRunSweepsUntilItEnds(t *testing.T) {
	r := newRig(t)
	r.add(events.New{ID: "plain"})
	w := r.Watch()
	defer w.Close()
	r.pass(25 * time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	ch, err := w.Next(t.Context())
	if err != nil || !ch.Gone || ch.Event.ID != "plain" {
		t.Errorf("%+v %v", ch, err)
	}
	stop()
	check(t, <-done)
}

// BenchmarkListOfAFullStream asks a stream that has all the events it may for a page.
func BenchmarkListOfAFullStream(b *testing.B) {
	r := newRig(b)
	r.fill(events.StreamMax, 0)
	for name, q := range map[string]events.Query{
		"newest": {Start: begin.Add(199 * time.Millisecond)}, "oldest": {}, "newest first": {Newest: true}, "newest first before": {Newest: true, End: begin.Add(100 * time.Millisecond)}, "none": {Start: begin.Add(time.Hour)}, "a kind that is rare": {Kind: "person"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				q.Stream = "cam"
				if _, err := r.List(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKeepsAfterAChange makes the sorted list of a stream that keeps all it may anew.
func BenchmarkKeepsAfterAChange(b *testing.B) {
	r := newRig(b)
	r.fill(events.KeepingMax-1, -1)
	e := r.add(events.New{Keep: events.Forever})
	for b.Loop() {
		r.change(e.ID, events.Patch{Keep: of(events.Forever)})
		r.Keeps("cam")
	}
}
