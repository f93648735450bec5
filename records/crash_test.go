package records

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/disk"
	"penstock/storage/meta"
)

// crashRig is a Store on a disk that can lose its power, again and again.
type crashRig struct {
	t    *testing.T
	rng  *rand.Rand
	fs   *crashfs.FS
	meta *meta.DB

	store  *Store
	cancel context.CancelFunc
	done   chan error
	bucket *mortalBucket

	clock *shifted

	mu    sync.Mutex
	acked map[string]map[Seq]string // by stream
	ended map[string]bool           // deleted
	wrote map[string]int            // counters, by stream and key
	fresh int
}

// mortalBucket dies with the machine right behind the nth object it stored.
type mortalBucket struct {
	storage.FileBucket
	fs    *crashfs.FS
	mu    sync.Mutex
	after int
}

func (b *mortalBucket) die(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.after--; err == nil && b.after == 0 {
		b.fs.Kill()
		return crashfs.ErrCrashed
	}
	return err
}

func (b *mortalBucket) Adopt(ctx context.Context, key, path string) error {
	return b.die(b.FileBucket.Adopt(ctx, key, path))
}

func newCrashRig(t *testing.T, seed uint64) *crashRig {
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "penstock-records-"); err == nil { // its syncs cost nothing
		t.Cleanup(func() { os.RemoveAll(shm) })
		dir = shm
	}
	db, err := meta.Open(context.Background(), meta.Config{Path: filepath.Join(dir, "meta.db"), Reserve: -1})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return &crashRig{
		t: t, rng: rand.New(rand.NewPCG(seed, 5)), fs: crashfs.New(crashfs.Config{}), meta: db,
		acked: map[string]map[Seq]string{}, wrote: map[string]int{}, ended: map[string]bool{}, clock: &shifted{},
	}
}

// boot opens the Store; opening may meet the next power cut.
func (r *crashRig) boot() bool {
	inner, err := disk.Open(context.Background(), disk.Config{Dir: "data/bucket", FS: r.fs})
	if r.lost(err) {
		return false
	}
	r.bucket = &mortalBucket{FileBucket: inner, fs: r.fs}
	s, err := Open(context.Background(), Config{
		FS: r.fs, Dir: "data", Bucket: r.bucket, Meta: r.meta, LaneFileSize: 64 << 10, TailBytes: 32 << 10,
		SealAfter: 1000 * time.Hour, CompactSegments: 3, Plain: true, Clock: r.clock,
	})
	if r.lost(err) {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.store, r.cancel, r.done = s, cancel, make(chan error, 1)
	go func() { r.done <- s.Run(ctx) }()
	return true
}

// lost reports whether err is the power cut; anything else ends the test.
func (r *crashRig) lost(err error) bool {
	r.t.Helper()
	if err != nil && !r.fs.Crashed() {
		r.t.Fatalf("while the power is on: %v", err)
	}
	return err != nil
}

func (r *crashRig) halt() {
	if r.store != nil {
		r.cancel()
		<-r.done
		_ = r.store.Close()
		r.store = nil
	}
}

// live puts, splits, merges, seals until the power goes or rounds are over.
func (r *crashRig) live(rounds int) {
	ctx := context.Background()
	for id := range r.acked {
		if r.rng.IntN(12) > 0 {
			continue
		}
		delete(r.acked, id)
		if err := r.store.Delete(ctx, id); r.lost(err) {
			return // it may be there still
		}
		r.ended[id] = true
	}
	for len(r.acked) < 2 {
		r.fresh++
		id := fmt.Sprintf("s%d", r.fresh)
		if _, err := r.store.Create(ctx, id, r.clock.Now(), 2); err != nil {
			if r.fs.Crashed() {
				return
			}
			r.t.Fatal(err)
		}
		r.acked[id] = map[Seq]string{}
	}
	var all sync.WaitGroup
	for _, l := range r.store.all() {
		if r.acked[l.id] == nil {
			continue // its deletion was cut short
		}
		for w := range 2 {
			seed := r.seed()
			all.Go(func() { r.write(l, w, rand.New(rand.NewPCG(seed, 1)), rounds) })
		}
		seed := r.seed()
		all.Go(func() { r.alter(l, rand.New(rand.NewPCG(seed, 2)), rounds/4) })
	}
	all.Wait()
}

func (r *crashRig) seed() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.Uint64()
}

func (r *crashRig) write(l *Log, w int, rng *rand.Rand, rounds int) {
	for range rounds {
		if r.fs.Crashed() {
			return
		}
		in := make([]Input, 1+rng.IntN(5))
		r.mu.Lock()
		for i := range in {
			key := fmt.Sprintf("w%d-%d", w, rng.IntN(4))
			r.wrote[l.id+key]++
			in[i] = Input{Key: key, Hash: HashOf(key), Data: fmt.Appendf(nil, "%08d%s", r.wrote[l.id+key], strings.Repeat("x", rng.IntN(800)))}
		}
		r.mu.Unlock()
		out := make([]Placed, len(in))
		if err := l.Put(context.Background(), in, out, nil); err != nil {
			if !r.fs.Crashed() && !fault.Is(err, fault.Unavailable) {
				r.t.Error("put while the power is on:", err)
			}
			continue
		}
		r.mu.Lock()
		for i, p := range out {
			if _, twice := r.acked[l.id][p.Seq]; twice {
				r.t.Errorf("%v was given twice", p.Seq)
			}
			r.acked[l.id][p.Seq] = string(in[i].Data)
		}
		r.mu.Unlock()
	}
}

// alter changes shards and moves records about.
func (r *crashRig) alter(l *Log, rng *rand.Rand, rounds int) {
	ctx := context.Background()
	for range rounds {
		if r.fs.Crashed() {
			return
		}
		var err error
		switch k := rng.IntN(10); {
		case k < 2:
			open := *l.route.Load()
			sh := open[rng.IntN(len(open))]
			if len(open) < 8 {
				err = l.Split(ctx, sh.id, Middle(sh.from, sh.to))
			}
		case k < 4:
			if open := *l.route.Load(); len(open) > 1 {
				err = l.Merge(ctx, open[0].id, open[1].id)
			}
		case k < 8:
			err = r.store.Seal(ctx)
		case k < 9:
			err = r.store.compact(ctx)
		default:
			err = r.store.sweep(ctx)
		}
		if err != nil && !r.fs.Crashed() && !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.InUse) {
			r.t.Error("while the power is on:", err)
		}
	}
}

// check reads everything: what was acknowledged is there, once, in the order of its key.
func (r *crashRig) check() {
	r.t.Helper()
	ctx := context.Background()
	for id := range r.ended {
		if _, ok := r.store.Log(id); ok {
			r.t.Fatalf("stream %s was deleted and is there", id)
		}
	}
	for id, want := range r.acked {
		l, ok := r.store.Log(id)
		if !ok {
			r.t.Fatalf("stream %s is gone", id)
		}
		var all []Record
		for _, s := range l.Shards() {
			var page Page
			index := uint64(0)
			for p := (Position{}); ; p = page.Next {
				err := l.Read(ctx, s.ID, p, 0, 0, &page)
				if r.fs.Crashed() {
					return
				}
				must(r.t, err)
				if len(page.Records) == 0 {
					break
				}
				for i := range page.Records {
					n := page.Records[i].Seq.Index()
					if index > 0 && n != index+1 {
						r.t.Fatalf("%s/%v: record %d follows %d", id, s.ID, n, index)
					}
					index = n
				}
				all = append(all, page.Records...)
			}
		}
		slices.SortFunc(all, func(a, b Record) int { return a.Seq.Compare(b.Seq) })
		found, last := 0, map[string]string{}
		for i := range all {
			rec := &all[i]
			if data, ok := want[rec.Seq]; ok {
				found++
				if data != string(rec.Data) {
					r.t.Fatalf("%s: %v is not what was stored", id, rec.Seq)
				}
			}
			if n := string(rec.Data[:8]); n <= last[rec.Key] {
				r.t.Fatalf("%s: %s of key %s follows %s", id, n, rec.Key, last[rec.Key])
			} else {
				last[rec.Key] = n
			}
		}
		if found != len(want) {
			for seq := range want {
				if !slices.ContainsFunc(all, func(rec Record) bool { return rec.Seq == seq }) {
					r.t.Errorf("%v in %v is gone", seq, seq.Shard())
				}
			}
			r.t.Fatalf("%s: %d of %d acknowledged records are there", id, found, len(want))
		}
	}
}

func crashPoints(def int) int {
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_CRASH_POINTS")); err == nil {
		return n
	}
	return def
}

// TestAPowerCutLosesNothingAcknowledged cuts the power at many operations, boots with what
// the disk may hold then, checks, goes on, and cuts again.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	const lives = 20 // of one disk
	points := crashPoints(2000)
	if testing.Short() {
		points = 100
	}
	acked, opening, sealed := 0, 0, 0
	defer func() {
		t.Logf("%d records acknowledged over %d power cuts, %d of them while opening; %d segments", acked, points, opening, sealed)
	}()
	for first := 0; first < points; first += lives {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			r := newCrashRig(t, uint64(first))
			for range min(lives, points-first) {
				r.fs.CrashAt(r.fs.Ops() + 1 + r.rng.Int64N(int64(1)<<(2+r.rng.IntN(9))))
				if r.boot() {
					if r.rng.IntN(3) == 0 {
						r.bucket.mu.Lock()
						r.bucket.after = 1 + r.rng.IntN(3)
						r.bucket.mu.Unlock()
					}
					r.check()
					r.live(12)
				} else {
					opening++
				}
				r.halt()
				if t.Failed() {
					return
				}
				r.fs = r.fs.Crash(r.rng)
				if r.rng.IntN(10) == 0 { // all expires
					r.clock.advance(25 * time.Hour)
					for id := range r.acked {
						r.acked[id] = map[Seq]string{}
					}
				}
			}
			if !r.boot() {
				t.Fatal("the power is on")
			}
			r.check()
			r.live(3)
			r.check()
			logs := r.store.all()
			r.halt()
			for _, l := range logs {
				acked, sealed = acked+len(r.acked[l.id]), sealed+len(l.segs)
			}
		})
	}
}

// TestAFailingDiskGivesNoFalseAnswer makes the nth write or sync fail. The lane may break,
// which ends the process; what was acknowledged is there when it comes back.
func TestAFailingDiskGivesNoFalseAnswer(t *testing.T) {
	for n := range 60 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newCrashRig(t, uint64(1000+n))
			if !r.boot() {
				t.Fatal("the power is on")
			}
			r.live(3)
			kind := []crashfs.Kind{crashfs.Write, crashfs.Sync, crashfs.Rename | crashfs.SyncDir}[n%3]
			r.fs.Fail(kind, 1+n/3, 1, syscall.EIO)
			r.liveUntilBroken(10)
			r.halt()
			if t.Failed() {
				return
			}
			r.fs = r.fs.Crash(r.rng)
			if !r.boot() {
				t.Fatal("the power is on")
			}
			r.check()
			r.live(2)
			r.check()
			r.halt()
		})
	}
}

// liveUntilBroken is live where errors are to be expected.
func (r *crashRig) liveUntilBroken(rounds int) {
	l := r.store.all()[0]
	rng := rand.New(rand.NewPCG(r.seed(), 3))
	for i := range rounds {
		key := fmt.Sprintf("w0-%d", rng.IntN(4))
		r.wrote[l.id+key]++
		in := []Input{{Key: key, Hash: HashOf(key), Data: fmt.Appendf(nil, "%08d", r.wrote[l.id+key])}}
		out := make([]Placed, 1)
		if err := l.Put(context.Background(), in, out, nil); err == nil {
			r.acked[l.id][out[0].Seq] = string(in[0].Data)
		} else if errors.Is(err, context.Canceled) {
			r.t.Error(err)
		}
		if i%3 == 2 {
			_ = r.store.Seal(context.Background())
		}
	}
}

// TestAFullDiskComesBackByItself fills the disk: puts are refused with a clear error,
// nothing that was acknowledged is lost, and they go on when there is room again.
func TestAFullDiskComesBackByItself(t *testing.T) {
	r := newCrashRig(t, 77)
	if !r.boot() {
		t.Fatal("the power is on")
	}
	r.live(5)
	for round := range 4 {
		r.fs.SetCapacity(400 << 10)
		refused := 0
		l := r.store.all()[0]
		for i := range 2000 {
			r.put(l, fmt.Sprintf("full-%d", round), 900, &refused)
			if refused > 3 {
				break
			}
			if i%100 == 99 {
				time.Sleep(time.Millisecond)
			}
		}
		if refused == 0 {
			t.Fatal("nothing was refused")
		}
		_ = r.store.Seal(context.Background())
		r.check()
		r.fs.SetCapacity(1 << 40)
		r.store.look()
		refused = 0
		r.put(l, fmt.Sprintf("again-%d", round), 10, &refused)
		if refused > 0 {
			t.Fatal("a put was refused while there was room")
		}
		must(t, r.store.Seal(context.Background()))
		must(t, l.Split(context.Background(), (*l.route.Load())[0].id, Middle((*l.route.Load())[0].from, (*l.route.Load())[0].to)))
		r.check()
	}
	r.halt()
}

// put stores one record, and counts when that is refused for lack of room.
func (r *crashRig) put(l *Log, key string, size int, refused *int) {
	r.t.Helper()
	r.wrote[l.id+key]++
	in := []Input{{Key: key, Hash: HashOf(key), Data: fmt.Appendf(nil, "%08d%s", r.wrote[l.id+key], strings.Repeat("x", size))}}
	out := make([]Placed, 1)
	switch err := l.Put(context.Background(), in, out, nil); {
	case err == nil:
		r.acked[l.id][out[0].Seq] = string(in[0].Data)
	case fault.Is(err, fault.Unavailable) && fault.HintOf(err) != "":
		*refused++
	default:
		r.t.Fatal(err)
	}
}
