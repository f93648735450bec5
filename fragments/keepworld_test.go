package fragments

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/host/hosttest"
	"penstock/storage"
	"penstock/storage/mem"
	"penstock/storage/meta"
)

// keepWorld is a store without goroutines beside a model of it that knows single
// fragments and nothing of indexes: what was once hidden never comes back.
type keepWorld struct {
	t      *testing.T
	rng    *rand.Rand
	clock  *hosttest.Clock
	bucket storage.Bucket
	cfg    Config
	s      *Store
	l      *Log
	policy Policy

	frags   []*modelFragment
	chunks  map[string]*modelChunk // by key
	horizon int64
	longer  bool      // the age grew since the last sweep: the horizon is in memory only
	end     time.Time // of the newest fragment
	seed    uint64
}

type modelFragment struct {
	number     Number
	start, end int64
	sum        uint32
	gone       bool
}

type modelChunk struct {
	key   string
	size  int64
	last  int64
	frags []*modelFragment
}

func newKeepWorld(t *testing.T, seed uint64) *keepWorld {
	start := time.Date(2026, 1, 30, 20, 30, 0, 0, time.UTC) // a month ends soon
	w := &keepWorld{
		t: t, rng: rand.New(rand.NewPCG(seed, 9)), clock: hosttest.NewClock(start), bucket: mem.New(mem.Config{}),
		chunks: map[string]*modelChunk{}, end: start,
	}
	db, err := meta.Open(context.Background(), meta.Config{Path: filepath.Join(t.TempDir(), "meta.db"), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.cfg = Config{
		Dir: "open", FS: crashfs.New(crashfs.Config{}), Bucket: w.bucket, Meta: db, Clock: w.clock, ChunkSpan: 4 * time.Minute,
		HourAfter: time.Minute, DayAfter: 30 * time.Minute, MonthAfter: time.Hour, CacheSize: 1 << 16,
	}
	w.open()
	return w
}

func (w *keepWorld) open() {
	w.t.Helper()
	s, err := Open(context.Background(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = s
	if w.rng.IntN(2) == 0 { // housekeeping before anybody says what is kept
		if err := s.Sweep(context.Background()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.l = s.Log("cam", func() Policy { return w.policy })
	w.pump()
}

// pump does the work of the store's goroutines.
func (w *keepWorld) pump() {
	w.t.Helper()
	ctx := context.Background()
	s := w.s
	s.closeIdle()
	for again := true; again; {
		again = false
		s.mu.Lock()
		ready, dirty, seals, moves := s.ready, s.dirty, s.seals, s.moves
		s.ready, s.dirty, s.seals, s.moves = nil, nil, nil, nil
		s.mu.Unlock()
		for _, l := range ready {
			s.turn(l, &scratch{})
			again = true
		}
		for _, c := range dirty {
			s.sync(c)
			again = true
		}
		if len(seals) > 0 {
			if err := s.seal(ctx, seals); err != nil {
				w.t.Fatal(err)
			}
			again = true
		}
		for _, r := range moves {
			if err := s.move(ctx, r); err != nil {
				w.t.Fatal(err)
			}
			again = true
		}
	}
	w.learn()
}

// learn takes new chunks into the model, from their footers.
func (w *keepWorld) learn() {
	w.t.Helper()
	ctx := context.Background()
	for o, err := range w.bucket.List(ctx, "v/", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		if w.chunks[o.Key] != nil {
			continue
		}
		_, entries, err := readFooter(&object{ctx, w.s, o.Key}, o.Size)
		if err != nil {
			w.t.Fatal(err)
		}
		c := &modelChunk{key: o.Key, size: o.Size, last: entries[len(entries)-1].End.UnixMicro()}
		for _, e := range entries {
			c.frags = append(c.frags, w.frags[w.index(e.Number)])
		}
		w.chunks[o.Key] = c
	}
}

func (w *keepWorld) append(n int) {
	w.t.Helper()
	for range n {
		at := w.end
		if now := w.clock.Now(); now.Sub(at) > 20*time.Second {
			at = now // media is never late for an hour's index
		}
		if w.rng.IntN(40) == 0 {
			at = at.Add(time.Duration(w.rng.IntN(1200)) * time.Second)
		}
		w.seed++
		f := testFragment(at, 1+w.rng.IntN(3), w.seed)
		f.End = at.Add(time.Duration(2000+w.rng.IntN(30_000)) * time.Millisecond)
		if f.End.After(w.clock.Now()) {
			w.clock.Set(f.End)
		}
		if err := w.l.Append(f, nil); err != nil {
			w.t.Fatal(err)
		}
		w.frags = append(w.frags, &modelFragment{number: f.Number, start: f.Start.UnixMicro(), end: f.End.UnixMicro(), sum: sumOf(f)})
		w.end = f.End
		if w.rng.IntN(3) == 0 {
			w.pump()
		}
	}
	w.pump()
}

func (w *keepWorld) kept(f *modelFragment, p Policy) bool {
	for _, k := range p.Keeps {
		if !k.Until.IsZero() && !k.Until.After(w.clock.Now()) {
			continue
		}
		if f.end > k.Start.UnixMicro() && (k.End.IsZero() || f.start < k.End.UnixMicro()) {
			return true
		}
	}
	return false
}

// look has the model see what the log sees whenever it is asked.
func (w *keepWorld) look() {
	if w.policy.Age > 0 {
		w.horizon = max(w.horizon, w.clock.Now().Add(-w.policy.Age).UnixMicro())
	}
	w.hide(w.horizon, w.policy, func(f *modelFragment) { f.gone = true })
	w.l.look(0)
}

// hide calls fn for what a policy does not show at a horizon.
func (w *keepWorld) hide(horizon int64, p Policy, fn func(*modelFragment)) {
	for _, f := range w.frags {
		if !f.gone && f.end <= horizon && !w.kept(f, p) {
			fn(f)
		}
	}
}

// bySize is the horizon of a limit of bytes.
func (w *keepWorld) bySize(horizon, limit int64) int64 {
	if limit == 0 {
		return horizon
	}
	sum := int64(0)
	for _, c := range w.l.chunks {
		sum += c.size
	}
	var list []*modelChunk
	for _, c := range w.chunks {
		if c.last > horizon {
			list = append(list, c)
			sum += c.size
		}
	}
	slices.SortFunc(list, func(a, b *modelChunk) int { return int(a.last - b.last) })
	to := horizon
	for _, c := range list {
		if sum <= limit {
			break
		}
		to, sum = c.last, sum-c.size
	}
	return max(horizon, min(to, w.frags[len(w.frags)-1].start))
}

func (w *keepWorld) sweep() {
	w.t.Helper()
	w.look()
	w.horizon = w.bySize(w.horizon, w.policy.Bytes)
	if err := w.s.Sweep(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.look()
	w.longer = false
	w.objects()
}

// change returns another policy.
func (w *keepWorld) change(clip bool) Policy {
	p := w.policy
	p.Keeps = slices.Clone(p.Keeps)
	now := w.clock.Now()
	switch w.rng.IntN(7) {
	case 0:
		p.Age = time.Duration(w.rng.IntN(40)) * time.Hour
	case 1:
		p.Bytes = w.rng.Int64N(60) * 4000
	case 2:
		if n := len(p.Keeps); n > 0 {
			i := w.rng.IntN(n)
			p.Keeps = slices.Delete(p.Keeps, i, i+1)
		}
	default:
		k := Keep{Start: now.Add(-time.Duration(w.rng.Int64N(int64(now.Sub(micro(w.frags[0].start))) + 1)))}
		if k.End = k.Start.Add(time.Duration(w.rng.IntN(600)) * time.Second); w.rng.IntN(15) == 0 {
			k.End = time.Time{}
		}
		if w.rng.IntN(2) == 0 {
			k.Until = now.Add(time.Duration(w.rng.IntN(60)) * time.Hour)
		}
		if h := w.l.Horizon(); clip && k.Start.Before(h) {
			k.Start = h
		}
		p.Keeps = append(p.Keeps, k)
		slices.SortFunc(p.Keeps, func(a, b Keep) int { return a.Start.Compare(b.Start) })
	}
	return p
}

func (w *keepWorld) restart() {
	w.t.Helper()
	if w.longer {
		w.sweep()
	}
	w.s.closeFiles()
	w.open()
}

func (w *keepWorld) offline() {
	w.t.Helper()
	w.sweep() // what a crash left of the trash is none of a verify's business
	w.s.closeFiles()
	report := func(f Finding) { w.t.Errorf("verify: %+v", f) }
	if _, err := Verify(context.Background(), w.cfg, false, report); err != nil || w.t.Failed() {
		w.t.Fatal(err)
	}
	if _, err := Reindex(context.Background(), w.cfg, report); err != nil || w.t.Failed() {
		w.t.Fatal(err)
	}
	w.open()
}

func keepWorlds(def int) int {
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_KEEP_WORLDS")); err == nil {
		return n
	}
	return def
}

func TestWhatIsKeptOutlivesRetentionAndNothingComesBack(t *testing.T) {
	for seed := range keepWorlds(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newKeepWorld(t, uint64(seed))
			w.append(30)
			for step := range 70 {
				w.step()
				if t.Failed() {
					t.Fatalf("step %d", step)
				}
			}
			w.offline()
			w.check()
			w.sweep()
			w.check()
		})
	}
}

// Keeps that are laid over what has gone, as no caller should, bring none of it back, and
// an older one goes on to hold what it held.
func TestAKeepBringsNothingBack(t *testing.T) {
	for seed := range keepWorlds(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newKeepWorld(t, uint64(seed))
			w.append(30)
			for range 60 {
				switch n := w.rng.IntN(10); {
				case n < 3:
					w.append(10 + w.rng.IntN(40))
				case n < 4:
					w.clock.Add(time.Duration(w.rng.IntN(300)) * time.Minute)
					w.pump()
				case n < 7:
					w.look()
					p := w.change(false)
					w.longer = w.longer || w.policy.Age > 0 && (p.Age == 0 || p.Age > w.policy.Age)
					w.policy = p
				case n < 9:
					w.sweep()
				default:
					w.sweep() // what was hidden since the last one is in memory only
					w.restart()
				}
				w.within()
			}
		})
	}
}

func (w *keepWorld) step() {
	w.t.Helper()
	switch n := w.rng.IntN(20); {
	case n < 5:
		w.append(10 + w.rng.IntN(60))
	case n < 8:
		w.clock.Add(time.Duration(w.rng.IntN(600)) * time.Minute)
		w.pump()
	case n < 14:
		w.look()
		p := w.change(true)
		w.preview(p)
		w.longer = w.longer || w.policy.Age > 0 && (p.Age == 0 || p.Age > w.policy.Age)
		w.policy = p
	case n < 17:
		w.sweep()
	case n == 17:
		w.restart()
	case n == 18:
		w.offline()
	default:
		w.preview(w.change(true))
	}
	w.check()
}
