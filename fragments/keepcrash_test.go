package fragments

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage/mem"
)

// keepSome is a policy that keeps 5 s of each 30 s, and 20 s of the rest.
func keepSome(begin time.Time) func() Policy {
	p := Policy{Age: 20 * time.Second}
	for i := range 200 {
		at := begin.Add(time.Duration(i) * 30 * time.Second)
		p.Keeps = append(p.Keeps, Keep{Start: at, End: at.Add(5 * time.Second)})
	}
	return func() Policy { return p }
}

// checkKept reads everything: what is kept is there and right, and nothing else is that
// is too old.
func (g *ledger) checkKept(t *testing.T, r *rig, policy func() Policy) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	crashed := func() bool {
		disk, ok := r.fs.(*crashfs.FS)
		return ok && disk.Crashed()
	}
	for id, want := range g.acked {
		l := r.s.Log(id, policy)
		found := map[Number]bool{}
		for h, err := range l.Select(context.Background(), Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			f, err := l.Read(context.Background(), h.Number)
			if crashed() {
				return
			}
			if err != nil {
				t.Fatalf("%s: listed and not readable: %v", id, err)
			}
			if sum, ok := want[h.Number]; ok && sumOf(f) != sum {
				t.Fatalf("%s: fragment %d is not what was stored", id, h.Number)
			}
			found[h.Number] = true
		}
		old := time.Now().Add(-20 * time.Second)
		for n := range want {
			start, end := n.Time(), n.Time().Add(2*time.Second)
			kept := false
			for _, k := range policy().Keeps {
				kept = kept || end.After(k.Start) && start.Before(k.End)
			}
			if show := kept || end.After(old); show != found[n] {
				t.Fatalf("%s: the fragment at %v: shown %v, kept %v", id, start, found[n], kept)
			}
		}
	}
}

// recordAndSweep is record with housekeeping every 10 s.
func (g *ledger) recordAndSweep(t *testing.T, r *rig, fsys *crashfs.FS, rounds int, policy func() Policy) {
	for i := range rounds {
		for k := range 3 {
			r.s.Log(fmt.Sprintf("cam%d", k), policy)
		}
		g.record(t, r, fsys, 5)
		if err := r.s.Sweep(context.Background()); err != nil && !fsys.Crashed() {
			t.Fatal(err)
		}
		if !fsys.Crashed() && i%2 == 0 {
			g.checkKept(t, r, policy)
		}
	}
}

func TestAPowerCutTakesNothingThatIsKept(t *testing.T) {
	points := crashPoints(10)
	rng := rand.New(rand.NewPCG(8, uint64(points)))
	for i := range points {
		seed := rng.Uint64()
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { cutAndCheckKept(t, seed) })
		})
	}
}

func cutAndCheckKept(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	fsys := crashfs.New(crashfs.Config{})
	g := newLedger()
	r := newRig(t, fsys, crashConfig)
	policy := keepSome(time.Now())
	for life := range 4 {
		r.fs = fsys
		fsys.CrashAt(fsys.Ops() + 1 + rng.Int64N(500))
		if life == 3 {
			fsys.CrashAt(0)
		}
		err := r.start()
		if err != nil && !fsys.Crashed() {
			t.Fatalf("recovery failed with the disk in order: %v", err)
		}
		if err == nil {
			g.checkKept(t, r, policy)
			g.recordAndSweep(t, r, fsys, 1+rng.IntN(6), policy)
			if err := r.stop(); err != nil && !fsys.Crashed() {
				t.Fatal(err)
			}
		}
		if fsys.Crashed() {
			fsys = fsys.Crash(rng)
		} else {
			fsys = fsys.Kill()
		}
		g.mu.Lock()
		clear(g.open)
		g.mu.Unlock()
	}
	r.fs = fsys
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	g.checkKept(t, r, policy)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskTakesNothingThatIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fsys := crashfs.New(crashfs.Config{Capacity: 3 << 20})
		r := newRig(t, fsys, func(c *Config) {
			crashConfig(c)
			c.MinFree, c.Guarantee = 256<<10, -1
		})
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		policy := Policy{}
		for i := range 100 { // a third of all
			at := begin.Add(time.Duration(i) * 60 * time.Second)
			policy.Keeps = append(policy.Keeps, Keep{Start: at, End: at.Add(20 * time.Second)})
		}
		var now atomic.Pointer[Policy]
		now.Store(&policy)
		ask := func() Policy { return *now.Load() }
		for k := range 3 {
			r.s.Log(fmt.Sprintf("cam%d", k), ask)
		}
		g := newLedger()
		g.late = true
		kept := func() (n, read int) {
			for id, all := range g.acked {
				l := r.s.Log(id, nil)
				for number := range all {
					start := number.Time()
					for _, k := range ask().Keeps {
						if start.Add(2*time.Second).After(k.Start) && start.Before(k.End) {
							n++
							if _, err := l.Read(context.Background(), number); err == nil {
								read++
							}
						}
					}
				}
			}
			return n, read
		}
		fill := func() {
			for i := 0; r.s.Status().FullKept == 0; i++ {
				if i == 60 {
					t.Fatalf("the disk is not full of what is kept: %+v", r.s.Status())
				}
				g.record(t, r, fsys, 10)
				if n, read := kept(); n != read {
					t.Fatalf("%d of %d kept fragments can be read", read, n)
				}
			}
		}
		fill()
		st := r.s.Status()
		if st.FullSince.IsZero() || st.FullKept < 1<<20 {
			t.Errorf("%+v", st)
		}
		// A start that has to make room, before anybody says what is kept.
		if err := r.stop(); err != nil && !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		g.mu.Lock()
		clear(g.open)
		g.mu.Unlock()
		_, free, err := fsys.Space("/")
		if err != nil {
			t.Fatal(err)
		}
		fsys.SetCapacity(3<<20 - free + 20<<10)
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n, read := kept(); n != read {
			t.Fatalf("after the start %d of %d kept fragments can be read", read, n)
		}
		fsys.SetCapacity(3 << 20)
		for k := range 3 {
			r.s.Log(fmt.Sprintf("cam%d", k), ask)
		}
		fill()
		// An operator lets go.
		now.Store(&Policy{})
		time.Sleep(sweepEvery + 2*lookEvery)
		g.record(t, r, fsys, 20)
		time.Sleep(30 * time.Second)
		for id := range g.acked {
			if n := g.unheard(id); n != 0 {
				t.Errorf("%s: %d fragments were not stored though there is room", id, n)
			}
		}
		if st := r.s.Status(); st.FullKept != 0 || st.Kept != 0 {
			t.Errorf("%+v", st)
		}
		time.Sleep(fullHold + time.Minute)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Readers see all that is kept at every moment of sweeps that move it, and nothing that
// was let go.
func TestReadersNeverMissWhatIsKept(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	fsys := crashfs.New(crashfs.Config{})
	r := newRig(t, fsys, func(c *Config) {
		c.Bucket = mem.New(mem.Config{})
		c.CacheSize = 1 // all is read
	}).mustStart()
	begin := time.Now().Add(-30 * time.Hour).Truncate(time.Hour).UTC()
	var horizon atomic.Int64 // age
	horizon.Store(int64(100 * time.Hour))
	var keeps []Keep
	for i := range 20 {
		at := begin.Add(time.Duration(i)*2*time.Minute + time.Minute)
		keeps = append(keeps, Keep{Start: at, End: at.Add(10 * time.Second)})
	}
	l := r.s.Log("cam", func() Policy { return Policy{Age: time.Duration(horizon.Load()), Keeps: keeps} })
	kept := map[Number]bool{}
	for i := range 80 { // 40 minutes
		f := testFragment(begin.Add(time.Duration(i)*30*time.Second), 1, uint64(i))
		f.End = f.Start.Add(30 * time.Second)
		h := r.store(l, f)[0]
		for _, k := range keeps {
			kept[h.Number] = kept[h.Number] || h.End.After(k.Start) && h.Start.Before(k.End)
		}
		if i%6 == 5 {
			r.sealAll()
		}
	}
	r.sealAll()
	stop, round := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case round <- struct{}{}:
				}
				before := time.Now().Add(-time.Duration(horizon.Load()))
				seen := map[Number]bool{}
				for h, err := range l.Select(ctx, Range{}) {
					if err != nil {
						t.Error(err)
						return
					}
					seen[h.Number] = true
					if !kept[h.Number] && !h.End.After(before) {
						t.Errorf("what ends at %v is shown", h.End)
						return
					}
					if _, err := l.Read(ctx, h.Number); err != nil && kept[h.Number] {
						t.Error(err)
						return
					}
				}
				for n, k := range kept {
					if k && !seen[n] {
						t.Errorf("kept fragment %d is not listed", n)
						return
					}
				}
				if _, err := l.Coverage(ctx, begin, time.Now(), 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for i := range 40 {
		horizon.Store(int64(time.Since(begin.Add(time.Duration(i) * time.Minute))))
		if err := r.s.Sweep(ctx); err != nil {
			t.Error(err)
		}
		select {
		case <-round: // a reader begins while the next sweep does
		case <-ended:
			return
		}
	}
	close(stop)
	<-ended
	n := 0
	for _, k := range kept {
		if k {
			n++
		}
	}
	if got := r.heads(l, Range{}); len(got) > n+10 {
		t.Errorf("%d fragments are left, %d are kept", len(got), n)
	}
}
