package fragments

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
)

// ledger is what producers were told, across crashes.
type ledger struct {
	mu    sync.Mutex
	acked map[string]map[Number]uint32
	open  map[string]int // appended and not heard of
	late  bool           // the disk is in trouble: syncs may take their time
}

func newLedger() *ledger {
	return &ledger{acked: map[string]map[Number]uint32{}, open: map[string]int{}}
}

// append stores f and notes its fate when it comes.
func (g *ledger) append(l *Log, f *Fragment) error {
	g.mu.Lock()
	g.open[l.id]++
	g.mu.Unlock()
	err := l.Append(f, func(h Head, err error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open[l.id]--
		if err == nil {
			if g.acked[l.id] == nil {
				g.acked[l.id] = map[Number]uint32{}
			}
			g.acked[l.id][h.Number] = sumOf(f)
		}
	})
	if err != nil {
		g.mu.Lock()
		g.open[l.id]--
		g.mu.Unlock()
	}
	return err
}

func (g *ledger) unheard(id string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[id]
}

// check reads everything: what was acknowledged is there and right, and what is listed
// can be read.
func (g *ledger) check(t *testing.T, r *rig) {
	t.Helper()
	ctx := context.Background()
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, want := range g.acked {
		l := r.s.Log(id, nil)
		found := map[Number]bool{}
		var last Head
		for h, err := range l.Select(ctx, Range{}) {
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			if h.Number <= last.Number || h.Start.Before(last.End) {
				t.Fatalf("%s: %d comes after %d", id, h.Number, last.Number)
			}
			last = h
			f, err := l.Read(ctx, h.Number)
			if disk, ok := r.fs.(*crashfs.FS); ok && disk.Crashed() {
				return // the next life will be asked
			}
			if err != nil {
				t.Fatalf("%s: listed and not readable: %v", id, err)
			}
			if sum, ok := want[h.Number]; ok && sumOf(f) != sum {
				t.Fatalf("%s: fragment %d is not what was stored", id, h.Number)
			}
			found[h.Number] = true
		}
		for n := range want {
			if !found[n] {
				t.Fatalf("%s: fragment %d was acknowledged and is gone; %d of %d are there", id, n, len(found), len(want))
			}
		}
	}
}

// settled finds nothing that a crash could still lose: what a recovery found is durable a
// moment after it, whatever the crash left undone.
func (g *ledger) settled(t *testing.T, r *rig) {
	t.Helper()
	time.Sleep(2 * time.Second)
	synctest.Wait()
	for id := range g.acked {
		for h, err := range r.s.Log(id, nil).Select(context.Background(), Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			if !h.Persisted {
				t.Errorf("%s: fragment %d was recovered and is not called persisted 2 s later", id, h.Number)
			}
		}
	}
}

// record appends rounds of fragments to three streams, one each 2 s, until the power goes.
func (g *ledger) record(t *testing.T, r *rig, fsys *crashfs.FS, rounds int) {
	for i := range rounds {
		time.Sleep(2 * time.Second)
		for k := range 3 {
			if fsys.Crashed() {
				return
			}
			id := fmt.Sprintf("cam%d", k)
			if n := g.unheard(id); n > 1 && !g.late && !fsys.Crashed() {
				t.Errorf("%s: %d fragments wait for their sync, 2 s after the first of them came", id, n)
			}
			f := testFragment(time.Now().Add(-2*time.Second).UTC(), 50, uint64(i))
			if err := g.append(r.s.Log(id, nil), f); err != nil && !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(2 * time.Second)
}

// crashConfig makes a store that seals, moves and packs within a short test.
func crashConfig(c *Config) {
	c.ChunkSpan = 7 * time.Second
	c.HourAfter, c.DayAfter = time.Second, time.Minute
}

func crashPoints(def int) int {
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_CRASH_POINTS")); err == nil {
		return n
	}
	return def
}

// TestAPowerCutLosesNothingAcknowledged cuts the power at many operations, boots with
// what the disk may hold then, checks, goes on recording, and cuts again.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	points := crashPoints(40)
	rng := rand.New(rand.NewPCG(7, uint64(points)))
	for i := range points {
		seed := rng.Uint64()
		t.Run(fmt.Sprintf("%d", i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { cutAndCheck(t, seed) })
		})
	}
}

func cutAndCheck(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	fsys := crashfs.New(crashfs.Config{})
	g := newLedger()
	r := newRig(t, fsys, crashConfig)
	for life := range 4 {
		r.fs = fsys
		fsys.CrashAt(fsys.Ops() + 1 + rng.Int64N(220))
		if life == 3 {
			fsys.CrashAt(0)
		}
		err := r.start()
		if err == nil {
			g.check(t, r)
			g.record(t, r, fsys, 4+rng.IntN(12))
			if fsys.Crashed() {
				_ = r.stop() // the disk is gone
			} else if err := r.stop(); err != nil && !fsys.Crashed() {
				t.Fatal(err)
			}
		} else if !fsys.Crashed() {
			t.Fatalf("recovery failed with the disk in order: %v", err)
		}
		switch {
		case !fsys.Crashed() && life < 3:
			fsys = fsys.Kill()
		case fsys.Crashed():
			fsys = fsys.Crash(rng)
		}
		g.mu.Lock()
		clear(g.open)
		g.mu.Unlock()
	}
	r.fs = fsys.Kill()
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	g.check(t, r)
	g.settled(t, r)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestAfterAKillTheGapSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := crashfs.New(crashfs.Config{})
		r := newRig(t, fsys, nil)
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		start := time.Now().UTC()
		time.Sleep(5 * time.Second)
		r.store(r.s.Log("cam", nil), testFragment(start, 50, 1))
		dead := fsys.Kill()
		if err := r.db.Close(); err != nil { // a killed process notes nothing
			t.Fatal(err)
		}
		_ = r.stop()
		r.fs = dead
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		f := testFragment(start.Add(4*time.Second), 25, 2)
		f.Gap = CauseUnreachable
		h := r.store(r.s.Log("cam", nil), f)[0]
		if h.Gap != CauseServerCrashed || h.GapDetail != "then the camera could not be reached" {
			t.Errorf("gap %q, %q", h.Gap, h.GapDetail)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAfterAKillTheTimelineStillSaysWhoLeftBefore(t *testing.T) {
	for _, left := range []Cause{CauseNone, CauseProducerEnded} {
		synctest.Test(t, func(t *testing.T) {
			fsys := crashfs.New(crashfs.Config{})
			r := newRig(t, fsys, nil)
			if err := r.start(); err != nil {
				t.Fatal(err)
			}
			start := time.Now().UTC()
			time.Sleep(5 * time.Second)
			l := r.s.Log("cam", nil)
			r.store(l, testFragment(start, 50, 1))
			if left != CauseNone {
				l.Absent(left, "")
			}
			time.Sleep(2 * lookEvery)
			synctest.Wait()
			dead := fsys.Kill()
			if err := r.db.Close(); err != nil { // a killed process notes nothing
				t.Fatal(err)
			}
			_ = r.stop()
			r.fs = dead
			if err := r.start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			tl, err := r.s.Log("cam", nil).Coverage(context.Background(), start, time.Now(), 0)
			want := left
			if left == CauseNone {
				want = CauseServerCrashed
			}
			if err != nil || len(tl.Gaps) != 1 || tl.Gaps[0].Cause != want {
				t.Errorf("%+v, %v; want %q", tl, err, want)
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAStalledDiskLosesNothingWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := crashfs.New(crashfs.Config{})
		r := newRig(t, fsys, func(c *Config) { c.Budget = 1 << 20 })
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		g := newLedger()
		l := r.s.Log("cam", nil)
		start := time.Now().UTC()
		time.Sleep(time.Hour)
		var refused, appended int
		give := func(n int) {
			for range n {
				f := testFragment(start.Add(time.Duration(appended+refused)*2*time.Second), 50, uint64(appended))
				switch err := g.append(l, f); {
				case err == nil:
					appended++
				case fault.Is(err, fault.Throttled):
					refused++
				default:
					t.Fatal(err)
				}
			}
		}
		give(3)
		time.Sleep(time.Second)
		release := fsys.Stall(crashfs.Write | crashfs.Sync)
		give(100)
		if refused == 0 || r.s.Status().Backlog > 1<<20 {
			t.Errorf("%d refused, backlog %d", refused, r.s.Status().Backlog)
		}
		if h, ok := l.Last(context.Background()); !ok || h.Persisted {
			t.Error("what waits for the disk should be listed and not persisted")
		}
		if _, err := l.Read(context.Background(), l.last.Number); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		release()
		time.Sleep(time.Second)
		before := appended
		give(1)
		time.Sleep(time.Second)
		if n := g.unheard("cam"); n != 0 || len(g.acked["cam"]) != appended {
			t.Errorf("%d of %d acknowledged after the stall, %d unheard", len(g.acked["cam"]), appended, n)
		}
		heads := r.heads(l, Range{})
		if len(heads) != appended || heads[before].Gap != CauseStorageBehind {
			t.Errorf("%d heads; the one after the loss has gap %q", len(heads), heads[before].Gap)
		}
		g.check(t, r)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAFailedSyncIsWrittenAgainElsewhere(t *testing.T) {
	for name, kind := range map[string]crashfs.Kind{"sync": crashfs.Sync, "write": crashfs.Write, "create": crashfs.Create, "syncdir": crashfs.SyncDir} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fsys := crashfs.New(crashfs.Config{})
				r := newRig(t, fsys, crashConfig)
				if err := r.start(); err != nil {
					t.Fatal(err)
				}
				g := newLedger()
				g.record(t, r, fsys, 3)
				fsys.Fail(kind, 1, 3, errors.New("the disk says no"))
				g.record(t, r, fsys, 6)
				time.Sleep(30 * time.Second)
				for id := range g.acked {
					if n := g.unheard(id); n != 0 || len(g.acked[id]) != 9 {
						t.Errorf("%s: %d acknowledged, %d unheard", id, len(g.acked[id]), n)
					}
				}
				g.check(t, r)
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
				// What a failed sync left in doubt must not be what was acknowledged.
				r.fs = fsys.Crash(rand.New(rand.NewPCG(1, uint64(kind))))
				if err := r.start(); err != nil {
					t.Fatal(err)
				}
				g.check(t, r)
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestAFullDiskDropsTheOldest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fsys := crashfs.New(crashfs.Config{Capacity: 3 << 20})
		r := newRig(t, fsys, func(c *Config) {
			crashConfig(c)
			c.MinFree, c.Guarantee = 64<<10, time.Minute
		})
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		g := newLedger()
		full := false
		for range 12 {
			g.record(t, r, fsys, 30)
			full = full || !r.s.Status().FullSince.IsZero()
		}
		time.Sleep(30 * time.Second)
		if !full {
			t.Error("the disk was full and the status did not say so")
		}
		for id := range g.acked {
			if n := g.unheard(id); n != 0 {
				t.Errorf("%s: %d fragments were not stored", id, n)
			}
			l := r.s.Log(id, nil)
			heads := r.heads(l, Range{})
			if len(heads) < 20 || len(heads) >= 360 {
				t.Errorf("%s: %d fragments are left", id, len(heads))
			}
			for _, h := range heads {
				if _, err := l.Read(context.Background(), h.Number); err != nil {
					t.Fatal(err)
				}
			}
			if age := time.Since(heads[0].Start); age < time.Minute {
				t.Errorf("%s: only %v are left of the guaranteed minute", id, age)
			}
		}
		// Full for good, with nothing that may be deleted: the media waits.
		fsys.Fail(crashfs.Write|crashfs.Create, 1, -1, syscall.ENOSPC)
		g.late = true
		g.record(t, r, fsys, 5)
		if r.s.Status().FullSince.IsZero() {
			t.Error("10 s after the first failed write the status does not say that the disk is full")
		}
		fsys.Heal()
		time.Sleep(30 * time.Second)
		for id := range g.acked {
			if n := g.unheard(id); n != 0 {
				t.Errorf("%s: %d fragments were not stored after the disk had room again", id, n)
			}
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
