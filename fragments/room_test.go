package fragments

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
)

func TestMediaLeavesTheMetadataItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity, minFree = 2 << 20, 256 << 10
		fsys := crashfs.New(crashfs.Config{Capacity: capacity})
		r := newRig(t, fsys, func(c *Config) {
			crashConfig(c)
			c.MinFree = minFree
		})
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		var least atomic.Int64
		least.Store(capacity)
		fsys.Hook(func(op crashfs.Op) error {
			// Media comes in batches; a footer is a few hundred bytes.
			if op.Kind == crashfs.Write && op.Len > 4096 {
				_, free, err := fsys.Space("/")
				least.Store(min(least.Load(), free-op.Len))
				return err
			}
			return nil
		})
		fsys.Fail(crashfs.Remove, 1, -1, syscall.EIO) // nothing can be deleted
		g := newLedger()
		g.late = true
		g.record(t, r, fsys, 100)
		if n := least.Load(); n < minFree/2 || n > minFree {
			t.Errorf("media left %d bytes free, %d are the metadata's", n, minFree/2)
		}
		if g.unheard("cam0") == 0 {
			t.Error("nothing waits for room")
		}
		fsys.Heal()
		time.Sleep(20 * time.Second)
		for id := range g.acked {
			if n := g.unheard(id); n != 0 {
				t.Errorf("%s: %d fragments were not stored", id, n)
			}
		}
		if r.s.Status().FullSince.IsZero() {
			t.Error("the disk was full and the status does not say so")
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheReserveThatIsOwedIsLeftFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := crashfs.New(crashfs.Config{Capacity: 4 << 20})
		r := newRig(t, fsys, crashConfig)
		r.reserve = 1 << 60 // more than any disk has: it is owed for ever
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		g := newLedger()
		g.late = true
		g.record(t, r, fsys, 3)
		if n := g.unheard("cam0"); n != 3 {
			t.Errorf("%d of 3 fragments wait", n)
		}
		if r.s.Status().FullSince.IsZero() {
			t.Error("media waits for room and the status does not say that the disk is full")
		}
		err := r.stop()
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "are lost: the disk is full since") ||
			!strings.Contains(fault.HintOf(err), "free space") {
			t.Errorf("stopped with %v, hint %q", err, fault.HintOf(err))
		}
		if n := g.unheard("cam0"); n != 0 {
			t.Errorf("nobody told the fate of %d fragments", n)
		}
	})
}

func TestAStopOnAFullDiskSaysSoOnTheTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := crashfs.New(crashfs.Config{})
		r := newRig(t, fsys, nil)
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		l := r.s.Log("cam", nil)
		kept := r.store(l, testFragment(time.Now().UTC(), 50, 1))[0]
		fsys.Fail(crashfs.Write|crashfs.Create, 1, -1, syscall.ENOSPC)
		time.Sleep(2 * time.Second)
		lost := make(chan error, 1)
		if err := l.Append(testFragment(time.Now().UTC(), 50, 2), func(_ Head, err error) { lost <- err }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := r.stop(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("stopped with %v", err)
		}
		if err := <-lost; err == nil {
			t.Error("what was not stored was acknowledged")
		}
		fsys.Heal()
		r.fs = fsys.Kill()
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		l = r.s.Log("cam", nil)
		h := r.store(l, testFragment(time.Now().UTC(), 50, 3))[0]
		if h.Gap != CauseDiskFull {
			t.Errorf("the gap is called %q", h.Gap)
		}
		if heads := r.heads(l, Range{}); len(heads) != 2 || heads[0].Number != kept.Number {
			t.Errorf("%d fragments are left", len(heads))
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What is deleted before the index says so is a gap after a crash, and trimming it again
// is no error.
func TestObjectsThatWentFirstAreGapsAfterACrash(t *testing.T) {
	ctx := context.Background()
	fsys := crashfs.New(crashfs.Config{})
	r := newRig(t, fsys, nil).mustStart()
	l := r.s.Log("cam", nil)
	numbers := r.spread(l, time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC(), 10)
	chunks, err := queryChunks(ctx, r.db.Read(), "WHERE stream = 'cam' AND state = 1 ORDER BY first LIMIT 1")
	if err != nil || len(chunks) != 1 {
		t.Fatal(len(chunks), err)
	}
	if err := r.s.deleteFirst(ctx, l, &trimming{keys: []string{chunks[0].key("cam")}}); err != nil {
		t.Fatal(err)
	}
	_ = r.stop() // it is a crash: the horizon was in memory only
	r.fs = fsys.Kill()
	r.mustStart()
	l = r.s.Log("cam", nil)
	if _, err := l.Read(ctx, numbers[0]); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a fragment whose object is gone: %v", err)
	}
	if _, err := l.Read(ctx, numbers[9]); err != nil {
		t.Error(err)
	}
	if n, err := l.Trim(ctx, micro(chunks[0].last)); err != nil || n == 0 {
		t.Errorf("trimmed %d: %v", n, err)
	}
	if heads := r.heads(l, Range{}); len(heads) == 0 || heads[0].Number != numbers[5] {
		t.Errorf("%d fragments are left", len(heads))
	}
	if found, err := l.ReadIndexes(ctx, numbers[:5]); err != nil || found[0] != nil {
		t.Error(found[0], err)
	}
}

func TestAStartOnAFullDiskMakesRoomFirst(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{Capacity: 4 << 20})
	r := newRig(t, fsys, func(c *Config) { c.MinFree, c.Guarantee = 1<<20, -1 }).mustStart()
	l := r.s.Log("cam", nil)
	r.spread(l, time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC(), 20)
	before := len(r.heads(l, Range{}))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	_, free, err := fsys.Space("/")
	if err != nil {
		t.Fatal(err)
	}
	fsys.SetCapacity(4<<20 - free + 100<<10)
	r.mustStart()
	if after := len(r.heads(r.s.Log("cam", nil), Range{})); after >= before {
		t.Errorf("%d of %d fragments are left", after, before)
	}
	if err := r.stop(); err != nil && !errors.Is(err, errNoRoom) {
		t.Error(err)
	}
}

func TestAnEndThatCannotBeWrittenDownInTimeLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, crashfs.New(crashfs.Config{}), nil)
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		kept := r.store(r.s.Log("cam", nil), testFragment(time.Now().UTC(), 50, 1))[0]
		busy := make(chan struct{})
		go func() {
			_ = r.db.Write(context.Background(), func(*sql.Tx) error {
				close(busy)
				time.Sleep(2 * shutdownLimit)
				return nil
			})
		}()
		<-busy
		if err := r.stop(); err != nil {
			t.Errorf("stopped with %v", err)
		}
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		if heads := r.heads(r.s.Log("cam", nil), Range{}); len(heads) != 1 || heads[0].Number != kept.Number {
			t.Errorf("it holds %+v", heads)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}
