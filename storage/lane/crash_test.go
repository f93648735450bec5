package lane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage"
)

// ledger is what whoever appends was told, across lives of the lane.
type ledger struct {
	acked   map[storage.LSN][]byte
	doubt   map[storage.LSN][]byte // appended, and the answer was no answer
	next    storage.LSN            // behind the last acked one
	trimmed storage.LSN            // what may be gone
	epoch   uint64
	fenced  uint64 // the last one that Fence said is durable
}

func newLedger() *ledger {
	return &ledger{acked: map[storage.LSN][]byte{}, doubt: map[storage.LSN][]byte{}, next: 1, trimmed: 1}
}

// check compares the lane with the ledger: all that was acknowledged is there, and at
// most the batch in doubt besides, which counts as stored from then on.
func (g *ledger) check(f *Files) error {
	if r := f.Recovery(); len(r.Damage) > 0 {
		return fmt.Errorf("a crash looks like damage: %w", r.Damage[0])
	}
	first, next := f.Bounds()
	if first > g.trimmed || next < g.next || next > g.next+1 {
		return fmt.Errorf("bounds %d, %d; %d may be trimmed and %d is the last acknowledged", first, next, g.trimmed, g.next-1)
	}
	at := first
	for b, err := range f.Replay(context.Background(), 1) {
		if err != nil {
			return err
		}
		want, ok := g.acked[b.LSN]
		if !ok {
			if want, ok = g.doubt[b.LSN]; ok {
				g.acked[b.LSN] = bytes.Clone(b.Body)
			}
		}
		if !ok || b.LSN != at || !bytes.Equal(b.Body, want) {
			return fmt.Errorf("batch %d (known: %v, due: %d) has the wrong %d bytes", b.LSN, ok, at, len(b.Body))
		}
		if err := readBack(f, b); err != nil {
			return err
		}
		at++
	}
	if at != next {
		return fmt.Errorf("the replay ended at %d of %d", at, next)
	}
	g.next = next
	clear(g.doubt)
	return nil
}

func readBack(f *Files, b storage.Batch) error {
	p := make([]byte, len(b.Body))
	if err := f.ReadAt(context.Background(), b.LSN, 0, p); err != nil {
		return err
	}
	if !bytes.Equal(p, b.Body) {
		return fmt.Errorf("batch %d: ReadAt and Replay differ", b.LSN)
	}
	return nil
}

// live opens the lane, checks it and appends until something fails or steps are done.
func (g *ledger) live(fsys *crashfs.FS, rng *rand.Rand, steps int) error {
	cfg := small(fsys, "wal/0")
	cfg.FileSize = int64(2+rng.IntN(8)) * pageSize
	f, err := Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // a broken lane, or a disk without power, says so
	if err := g.check(f); err != nil {
		if fsys.Crashed() {
			return crashfs.ErrCrashed
		}
		panic(err)
	}
	g.epoch++
	if g.fenced > 1 {
		if err := f.Fence(context.Background(), g.fenced-1); !fault.Is(err, fault.Denied) {
			panic(fmt.Sprintf("epoch %d was fenced, and is forgotten: %v", g.fenced, err))
		}
	}
	if err := f.Fence(context.Background(), g.epoch); err != nil {
		return err
	}
	g.fenced = g.epoch
	for range steps {
		if rng.IntN(6) == 0 {
			before := g.next - min(g.next-1, storage.LSN(rng.IntN(8)))
			g.trimmed = max(g.trimmed, before)
			if err := f.Trim(context.Background(), before); err != nil {
				return err
			}
			continue
		}
		if err := g.append(f, rng); err != nil {
			return err
		}
	}
	return nil
}

func (g *ledger) append(f *Files, rng *rand.Rand) error {
	body := make([]byte, 1+rng.IntN(1<<(1+rng.IntN(15))))
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	lsn, err := f.Append(context.Background(), g.epoch, time.UnixMilli(1), 1, [][]byte{body[:len(body)/2], body[len(body)/2:]})
	if err == nil {
		if lsn != g.next {
			panic(fmt.Sprintf("batch %d got number %d", g.next, lsn))
		}
		g.acked[lsn] = body
		g.next++
		return nil
	}
	if !fault.Is(err, fault.Unavailable) {
		g.doubt[g.next] = body
		if _, again := f.Append(context.Background(), g.epoch, time.UnixMilli(1), 1, [][]byte{body}); again == nil {
			panic("an append after a failed one worked")
		}
	}
	return err
}

// TestAPowerCutLosesNothingAcknowledged cuts the power, or kills the process, at many
// operations, boots with what the disk may hold then, checks, goes on and cuts again.
// PENSTOCK_CRASH_POINTS says how often; a failure names the seed.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	total := int64(points(t, "PENSTOCK_CRASH_POINTS", 2000))
	var (
		wg         sync.WaitGroup
		seed, cuts atomic.Int64
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for cuts.Load() < total && !t.Failed() {
				cuts.Add(tenLives(t, uint64(seed.Add(1))))
			}
		})
	}
	wg.Wait()
	t.Logf("%d cuts in the middle of an operation, on %d disks", cuts.Load(), seed.Load())
}

// tenLives is the story of one disk. It returns how many lives ended during an operation.
func tenLives(t *testing.T, seed uint64) (cuts int64) {
	rng := rand.New(rand.NewPCG(seed, 4))
	fsys, g := crashfs.New(crashfs.Config{}), newLedger()
	defer func() {
		if e := recover(); e != nil {
			t.Errorf("seed %d: %v", seed, e)
		}
	}()
	for range 10 {
		fsys.CrashAt(fsys.Ops() + 1 + rng.Int64N(80))
		err := g.live(fsys, rng, rng.IntN(30))
		if err != nil && !fsys.Crashed() {
			panic(err)
		}
		if fsys.Crashed() {
			cuts++
		}
		if rng.IntN(4) == 0 {
			fsys = fsys.Kill()
		} else {
			fsys = fsys.Crash(rng)
		}
	}
	fsys.CrashAt(0)
	if err := g.live(fsys, rng, 30); err != nil {
		panic(err)
	}
	return cuts
}

// TestEachOperationMayFail makes the nth operation of each kind fail, for each n: the
// lane stops or refuses, and what was acknowledged is there when the process starts again,
// also after a power cut then.
func TestEachOperationMayFail(t *testing.T) {
	kinds := []crashfs.Kind{
		crashfs.Create, crashfs.Write, crashfs.Truncate, crashfs.Allocate, crashfs.Sync,
		crashfs.Rename, crashfs.Remove, crashfs.Mkdir, crashfs.SyncDir, crashfs.Any,
	}
	for _, kind := range kinds {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			for nth := 1; nth <= 60; nth += 1 + nth/8 {
				for _, count := range []int{1, -1} {
					failing(t, kind, nth, count, cause)
				}
			}
		}
	}
}

func failing(t *testing.T, kind crashfs.Kind, nth, count int, cause error) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(nth), uint64(kind)))
	fsys, g := crashfs.New(crashfs.Config{}), newLedger()
	defer func() {
		if e := recover(); e != nil {
			t.Errorf("%s %d (%d times %v): %v", kind, nth, count, cause, e)
		}
	}()
	if err := g.live(fsys, rng, 5); err != nil {
		panic(err)
	}
	fsys.Fail(kind, nth, count, cause)
	err := g.live(fsys, rng, 40)
	if err != nil && !errors.Is(err, cause) && fault.KindOf(err) != fault.Internal {
		panic(fmt.Errorf("an unexpected failure: %w", err))
	}
	fsys.Heal()
	fsys = fsys.Kill() // the pages that a failed sync left are seen, and not stored
	if err := g.live(fsys, rng, 0); err != nil {
		panic(err)
	}
	fsys = fsys.Crash(rng)
	if err := g.live(fsys, rng, 20); err != nil {
		panic(err)
	}
}
