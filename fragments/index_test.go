package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/disk"
	"penstock/storage/mem"
	"penstock/storage/meta"
)

// handClock is set by hand.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *handClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// still is a store that does not run, for what the index alone can answer.
func still(t testing.TB, clock *handClock, bucket storage.Bucket) *Store {
	t.Helper()
	dir := t.TempDir()
	db, err := meta.Open(context.Background(), meta.Config{Path: filepath.Join(dir, "meta.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := Open(context.Background(), Config{Dir: filepath.Join(dir, "open"), Bucket: bucket, Meta: db, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// synthesise makes the chunk rows of a stream: fragments of every length of step, in
// chunks of per, with a gap after each gapEvery fragments.
func synthesise(rng *rand.Rand, from time.Time, n, per int, step time.Duration, gapEvery int) []chunkRow {
	var rows []chunkRow
	at := from.UnixMicro()
	for done := 0; done < n; {
		var entries []entry
		off := int64(48)
		for range min(per, n-done) {
			e := entry{off: off, metaLen: uint32(700 + rng.IntN(40))}
			e.Start = micro(at)
			at += step.Microseconds() + int64(rng.IntN(600)) - 300
			e.End = micro(at)
			e.Number, e.Samples, e.Run, e.Persisted = NumberOf(e.Start), 136, 1, true
			e.Size = 750_000 + int64(rng.IntN(80_000))
			e.Producer = e.Start.Add(-time.Duration(rng.IntN(500)) * time.Microsecond)
			if gapEvery > 0 && done > 0 && done%gapEvery == 0 {
				e.Gap = CauseConnectionLost
			}
			entries = append(entries, e)
			off += e.recordSize()
			done++
			if gapEvery > 0 && done%gapEvery == 0 {
				at += time.Minute.Microseconds()
			}
		}
		id := chunkID{int64(entries[0].Number) / 1000, rng.Uint32()}
		rows = append(rows, row(id, off+300, entries))
	}
	return rows
}

func insertRows(t testing.TB, s *Store, stream string, rows []chunkRow) {
	t.Helper()
	for len(rows) > 0 {
		n := min(len(rows), 2000)
		err := s.cfg.Meta.Write(context.Background(), func(tx *sql.Tx) error {
			for _, r := range rows[:n] {
				if err := insertChunk(tx, stream, r, stateStored); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		rows = rows[n:]
	}
}

func collect(t testing.TB, l *Log, r Range) []Head {
	t.Helper()
	var out []Head
	for h, err := range l.Select(context.Background(), r) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

func TestPackingChangesNoAnswer(t *testing.T) {
	ctx := context.Background()
	bucket := mem.New(mem.Config{})
	start := time.Date(2026, 1, 20, 10, 30, 0, 0, time.UTC)
	clock := &handClock{now: start.Add(time.Minute)}
	s := still(t, clock, bucket)
	rng := rand.New(rand.NewPCG(1, 1))
	// 50 s fragments, a gap each 97: 40 days.
	rows := synthesise(rng, start, 40*86400/50, 12, 50*time.Second, 97)
	insertRows(t, s, "cam", rows)
	l := s.Log("cam", nil)
	end := start.Add(45 * 24 * time.Hour)
	clock.set(end)
	heads := collect(t, l, Range{})
	cover, err := l.Coverage(ctx, start.Add(-time.Hour), end, 0)
	if err != nil || len(heads) != 40*86400/50 {
		t.Fatal(len(heads), err)
	}
	var ranges []Range
	for range 200 {
		from := start.Add(time.Duration(rng.Int64N(int64(41 * 24 * time.Hour))))
		ranges = append(ranges, Range{Start: from, End: from.Add(time.Duration(rng.Int64N(int64(3 * time.Hour)))), Limit: rng.IntN(50)})
	}
	want := make([][]Head, len(ranges))
	for i, r := range ranges {
		want[i] = collect(t, l, r)
	}
	levels := map[int]int{}
	for _, at := range []time.Duration{time.Hour, 26 * time.Hour, 12 * 24 * time.Hour, 44 * 24 * time.Hour} {
		clock.set(start.Add(at))
		if err := s.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		clock.set(end)
		if got := collect(t, l, Range{}); !reflect.DeepEqual(got, heads) {
			t.Fatalf("after packing at %v there are %d heads, not %d", at, len(got), len(heads))
		}
		for i, r := range ranges {
			if got := collect(t, l, r); !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("after packing at %v: %v", at, r)
			}
		}
		got, err := l.Coverage(ctx, start.Add(-time.Hour), end, 0)
		if err != nil || !reflect.DeepEqual(got, cover) {
			t.Fatalf("after packing at %v the timeline differs: %d spans, %d gaps; %d and %d before", at, len(got.Spans), len(got.Gaps), len(cover.Spans), len(cover.Gaps))
		}
	}
	ix, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), "WHERE stream = 'cam'")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ix {
		levels[r.level]++
	}
	if levels[levelMonth] != 2 || levels[levelDay] == 0 {
		t.Errorf("rows by level: %v", levels)
	}
	tot, err := l.Totals(ctx)
	if err != nil || tot.Fragments != int64(len(heads)) {
		t.Error(tot, err)
	}
	for o, err := range bucket.List(ctx, "ix/", "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := readAll(ctx, bucket, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		if stream, parts, err := unpackIndex(b); err != nil || stream != "cam" || len(parts) == 0 {
			t.Errorf("%s: %q, %d parts, %v", o.Key, stream, len(parts), err)
		}
	}
	if last, ok := l.Last(); !ok || last.Number != heads[len(heads)-1].Number {
		t.Error(last, ok)
	}
}

func readAll(ctx context.Context, b storage.Bucket, key string) ([]byte, error) {
	r, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	b2, err := io.ReadAll(r)
	return b2, errors.Join(err, r.Close())
}

func TestRetentionHidesAtOnceAndNeverGivesBack(t *testing.T) {
	ctx := context.Background()
	bucket := mem.New(mem.Config{})
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(10 * 24 * time.Hour)
	clock := &handClock{now: end}
	s := still(t, clock, bucket)
	rows := synthesise(rand.New(rand.NewPCG(1, 2)), start, 10*8640, 6, 10*time.Second, 0)
	for _, r := range rows { // objects to be deleted
		if err := bucket.Put(ctx, r.key("cam"), readerAt("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	insertRows(t, s, "cam", rows)
	keep := 30 * 24 * time.Hour
	l := s.Log("cam", func() time.Duration { return keep })
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	oldest := func() time.Duration {
		t.Helper()
		h, ok := l.First()
		if !ok {
			return 0
		}
		return end.Sub(h.Start).Round(time.Minute)
	}
	objects := func() (n int) {
		for _, err := range bucket.List(ctx, "v/", "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if got := oldest(); got != 10*24*time.Hour {
		t.Fatal(got)
	}
	keep = 5*24*time.Hour + 90*time.Minute
	if got := oldest(); got != keep {
		t.Errorf("a shorter retention shows %v", got)
	}
	if _, err := l.Read(ctx, rows[0].first); !fault.Is(err, fault.Expired) {
		t.Errorf("expired, and read says %v", err)
	}
	keep = 10 * 365 * 24 * time.Hour
	if got := oldest(); got != 5*24*time.Hour+90*time.Minute {
		t.Errorf("a longer retention brought back %v", got)
	}
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if got := objects(); got > 7400 || got < 7200 {
		t.Errorf("%d chunks are left of %d", got, len(rows))
	}
	// Another process, with the long retention from the start.
	s2, err := Open(ctx, Config{Dir: s.cfg.Dir, Bucket: bucket, Meta: s.cfg.Meta, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	l = s2.Log("cam", func() time.Duration { return keep })
	if got := oldest(); got != 5*24*time.Hour+90*time.Minute {
		t.Errorf("a restart brought back %v", got)
	}
	if err := l.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if n := objects(); n != 0 || oldest() != 0 {
		t.Errorf("%d chunks are left of a deleted stream", n)
	}
}

type readerAt string

func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return copy(b, r[off:]), nil }

func TestDamageHidesOnlyItself(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	bucket, err := disk.Open(ctx, disk.Config{Dir: filepath.Join(dir, "bucket")})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil, func(c *Config) { c.Dir, c.Bucket = filepath.Join(dir, "open"), bucket }).mustStart()
	l := r.s.Log("cam", nil)
	start := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
	var heads []Head
	for i := range 9 {
		heads = append(heads, r.store(l, testFragment(start.Add(time.Duration(i)*2*time.Second), 50, uint64(i)))...)
		if i%3 == 2 {
			r.sealAll()
		}
	}
	var keys []string
	for o, err := range bucket.List(ctx, "v/", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, bucket.Path(o.Key))
	}
	if len(keys) != 3 {
		t.Fatal(keys)
	}
	// One byte of the second fragment's media; all of the third chunk.
	b, err := os.ReadFile(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	b[r.offsetOf(l, heads[1].Number)+5000] ^= 1
	if err := errors.Join(os.WriteFile(keys[0], b, 0o600), os.WriteFile(keys[2], nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var found []Finding
	cfg := r.s.cfg
	r.mustStop()
	r.mustStart()
	cfg.Meta = r.db
	sum, err := Verify(ctx, cfg, false, func(f Finding) { found = append(found, f) })
	if err != nil || len(found) != 4 || sum.Damaged != 2 || sum.Fragments != 5 {
		t.Errorf("verify: %+v, %v, %v", sum, found, err)
	}
	l = r.s.Log("cam", nil)
	bad := map[Number]bool{}
	for i, h := range heads {
		f, err := l.Read(ctx, h.Number)
		if want := i == 1 || i > 5; (err != nil) != want || want && !fault.Is(err, fault.Unavailable) {
			t.Errorf("fragment %d: %v", i, err)
		}
		if err == nil && sumOf(f) == 0 {
			t.Error("nothing in it")
		}
		bad[h.Number] = err != nil
	}
	if err := r.s.writeDamage(ctx); err != nil {
		t.Fatal(err)
	}
	got := r.heads(l, Range{})
	if len(got) != 5 || got[1].Gap != CauseDamaged {
		t.Errorf("%d heads, %v", len(got), got[1])
	}
	tl, err := l.Coverage(ctx, start, start.Add(18*time.Second), 0)
	if err != nil || len(tl.Spans) != 2 || len(tl.Gaps) != 2 || tl.Gaps[0].Cause != CauseDamaged {
		t.Errorf("%+v %v", tl, err)
	}
}

// sealAll closes every open chunk and waits until it is in the bucket.
func (r *rig) sealAll() {
	r.t.Helper()
	for _, l := range r.s.allLogs() {
		l.mu.Lock()
		for _, c := range l.chunks {
			if !c.full {
				r.s.retire(c)
			}
		}
		l.mu.Unlock()
	}
	for range 1000 {
		rows, err := queryChunks(context.Background(), r.db.Read(), "WHERE state = 0")
		if err != nil {
			r.t.Fatal(err)
		}
		busy := len(rows)
		for _, l := range r.s.allLogs() {
			busy += len(l.live())
		}
		if busy == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatal("the chunks did not reach the bucket")
}

func (r *rig) offsetOf(l *Log, n Number) int64 {
	r.t.Helper()
	p, err := l.locate(context.Background(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	return p.off
}

func TestReindexFindsEverythingAgain(t *testing.T) {
	ctx := context.Background()
	fsys := crashfs.New(crashfs.Config{})
	r := newRig(t, fsys, nil).mustStart()
	start := time.Now().Add(-26 * time.Hour).Truncate(time.Microsecond).UTC()
	var want []Head
	l := r.s.Log("cam", nil)
	for i := range 30 {
		want = append(want, r.store(l, testFragment(start.Add(time.Duration(i)*20*time.Minute), 25, uint64(i)))...)
		if i%4 == 3 {
			r.sealAll()
		}
	}
	if err := r.s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	want = r.heads(l, Range{})
	cfg := r.s.cfg
	r.mustStop()
	r.path = filepath.Join(t.TempDir(), "meta.db") // the database is lost
	db, err := meta.Open(ctx, meta.Config{Path: r.path})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Meta = db
	sum, err := Reindex(ctx, cfg, func(f Finding) { t.Error(f) })
	if err != nil || sum.Chunks != 7 {
		t.Fatal(sum, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r.cfg.Bucket = nil
	r.mustStart()
	got := r.heads(r.s.Log("cam", nil), Range{})
	for i := range got {
		got[i].Persisted = true // the open chunk is on its way
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d heads, %d before", len(got), len(want))
	}
	if err := r.s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
}

// flaky is a bucket in memory that can be away.
type flaky struct {
	*mem.Bucket
	mu   sync.Mutex
	away bool
}

func (f *flaky) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	f.mu.Lock()
	away := f.away
	f.mu.Unlock()
	if away {
		return fault.New(fault.Unavailable, "put", key, "the store is away")
	}
	return f.Bucket.Put(ctx, key, r, size)
}

func TestTheSpoolOutlivesAnOutage(t *testing.T) {
	ctx := context.Background()
	bucket := &flaky{Bucket: mem.New(mem.Config{}), away: true}
	r := newRig(t, crashfs.New(crashfs.Config{}), func(c *Config) {
		c.Bucket, c.SpoolLimit = bucket, 60_000
	}).mustStart()
	l := r.s.Log("cam", nil)
	start := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
	want := map[Number]uint32{}
	refused := 0
	for i := range 12 {
		f := testFragment(start.Add(time.Duration(i)*2*time.Second), 50, uint64(i))
		sum := sumOf(f)
		done := make(chan Head, 1)
		err := l.Append(f, func(h Head, err error) { done <- h })
		if err != nil {
			if !fault.Is(err, fault.Throttled) {
				t.Fatal(err)
			}
			refused++
			continue
		}
		h := <-done
		want[h.Number] = sum
		l.mu.Lock()
		r.s.retire(l.chunks[len(l.chunks)-1])
		l.mu.Unlock()
		for r.s.Status().Spool < int64(len(want))*5000 {
			time.Sleep(time.Millisecond)
		}
	}
	if refused == 0 || len(want) < 5 {
		t.Fatalf("%d refused, %d taken: the spool has no bound", refused, len(want))
	}
	check := func() {
		t.Helper()
		heads := r.heads(l, Range{})
		if len(heads) != len(want) {
			t.Fatalf("%d heads, want %d", len(heads), len(want))
		}
		for _, h := range heads {
			f, err := l.Read(ctx, h.Number)
			if err != nil || sumOf(f) != want[h.Number] {
				t.Fatal(err)
			}
		}
	}
	check()
	r.mustStop()
	r.mustStart() // the outage outlives the process
	l = r.s.Log("cam", nil)
	check()
	bucket.mu.Lock()
	bucket.away = false
	bucket.mu.Unlock()
	for r.s.Status().Spool > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	check()
	left, err := r.fs.ReadDir("data/open")
	if err != nil || len(left) != 0 {
		t.Errorf("%d files are left in the spool, %v", len(left), err)
	}
	f := testFragment(start.Add(time.Hour), 25, 77)
	if h := r.store(l, f)[0]; h.Gap == CauseNone {
		t.Error("nothing says why media is missing")
	}
}

func BenchmarkQueries(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchQueries(b, n) })
	}
}

// benchQueries asks a stream of n fragments of 2 s.
func benchQueries(b *testing.B, n int) {
	ctx := context.Background()
	end := time.Date(2026, 11, 20, 12, 17, 0, 0, time.UTC)
	start := end.Add(-time.Duration(n) * 2 * time.Second)
	dir := b.TempDir()
	bucket, err := disk.Open(ctx, disk.Config{Dir: filepath.Join(dir, "bucket")})
	if err != nil {
		b.Fatal(err)
	}
	clock := &handClock{now: end}
	s := still(b, clock, bucket)
	rng := rand.New(rand.NewPCG(1, 1))
	for at, left := start, n; left > 0; {
		k := min(left, 43200)
		rows := synthesise(rng, at, k, 30, 2*time.Second, 5000)
		at = micro(rows[len(rows)-1].last).Add(time.Minute)
		left -= k
		insertRows(b, s, "cam", rows)
		clock.set(at)
		if err := s.pack(ctx, s.Log("cam", nil)); err != nil {
			b.Fatal(err)
		}
		end = at
	}
	l := s.Log("cam", nil)
	head, ok := l.Last()
	if !ok {
		b.Fatal("nothing there")
	}
	tot, err := l.Totals(ctx)
	if err != nil || tot.Fragments != int64(n) {
		b.Fatal(tot, err)
	}
	first, _ := l.First()
	whole := head.End.Sub(first.Start)
	b.Run("timeline-30-days", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.Coverage(ctx, head.End.Add(-30*24*time.Hour), head.End, time.Second); err != nil {
				b.Fatal(err)
			}
		}
	})
	pick := func() time.Time {
		return first.Start.Add(time.Duration(rng.Int64N(int64(max(whole-10*time.Minute, 1)))))
	}
	b.Run("list-10-minutes", func(b *testing.B) {
		for b.Loop() {
			at := pick()
			if got := collect(b, l, Range{Start: at, End: at.Add(10 * time.Minute)}); len(got) == 0 {
				b.Fatal("nothing found")
			}
		}
	})
	b.Run("list-10-minutes-cold", func(b *testing.B) {
		for b.Loop() {
			s.cache = newCache(s.cfg.CacheSize)
			at := pick()
			if got := collect(b, l, Range{Start: at, End: at.Add(10 * time.Minute)}); len(got) == 0 {
				b.Fatal("nothing found")
			}
		}
	})
	b.Run("clip-60-s-locate-each", func(b *testing.B) {
		for b.Loop() {
			at := pick()
			for _, h := range collect(b, l, Range{Start: at, End: at.Add(time.Minute)}) {
				if _, err := l.locate(ctx, h.Number); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	size := int64(0)
	for o, err := range bucket.List(ctx, "ix/", "") {
		if err != nil {
			b.Fatal(err)
		}
		size += o.Size
	}
	if n > 1_000_000 {
		b.Logf("%.2f bytes of index objects per fragment", float64(size)/float64(n))
	}
}
