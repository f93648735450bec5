package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
	"penstock/storage"
	"penstock/storage/disk"
	"penstock/storage/mem"
	"penstock/storage/meta"
)

// still is a store that does not run, for what the index alone can answer.
func still(t testing.TB, clock *hosttest.Clock, bucket storage.Bucket) *Store {
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
			e.Number, e.Samples, e.Run, e.Persisted = numberOf(e.Start), 136, 1, true
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
	t.Parallel()
	ctx := context.Background()
	bucket := mem.New(mem.Config{})
	start := time.Date(2026, 1, 20, 10, 30, 0, 0, time.UTC)
	clock := hosttest.NewClock(start.Add(time.Minute))
	s := still(t, clock, bucket)
	rng := rand.New(rand.NewPCG(1, 1))
	// 50 s fragments, a gap each 97: 40 days.
	rows := synthesise(rng, start, 40*86400/50, 12, 50*time.Second, 97)
	insertRows(t, s, "cam", rows)
	l := s.Log("cam", nil)
	end := start.Add(45 * 24 * time.Hour)
	clock.Set(end)
	heads := collect(t, l, Range{})
	cover, err := l.Coverage(ctx, start.Add(-time.Hour), end, 0)
	if err != nil || len(heads) != 40*86400/50 {
		t.Fatal(len(heads), err)
	}
	var ranges []Range
	for range 30 {
		from := start.Add(time.Duration(rng.Int64N(int64(41 * 24 * time.Hour))))
		ranges = append(ranges, Range{Start: from, End: from.Add(time.Duration(rng.Int64N(int64(3 * time.Hour)))), Limit: rng.IntN(50)})
	}
	want := make([][]Head, len(ranges))
	for i, r := range ranges {
		want[i] = collect(t, l, r)
	}
	levels := map[int]int{}
	for _, at := range []time.Duration{time.Hour, 26 * time.Hour, 12 * 24 * time.Hour, 44 * 24 * time.Hour} {
		clock.Set(start.Add(at))
		if err := s.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		clock.Set(end)
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
	if last, ok := l.Last(ctx); !ok || last.Number != heads[len(heads)-1].Number {
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
	t.Parallel()
	ctx := context.Background()
	bucket := mem.New(mem.Config{})
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(10 * 24 * time.Hour)
	clock := hosttest.NewClock(end)
	s := still(t, clock, bucket)
	rows := synthesise(rand.New(rand.NewPCG(1, 2)), start, 10*8640, 6, 10*time.Second, 0)
	for _, r := range rows { // objects to be deleted
		if err := bucket.Put(ctx, r.key("cam"), readerAt("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	insertRows(t, s, "cam", rows)
	keep := 30 * 24 * time.Hour
	l := s.Log("cam", func() Policy { return Policy{Age: keep} })
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	oldest := func() time.Duration {
		t.Helper()
		h, ok := l.First(ctx)
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
	l = s2.Log("cam", func() Policy { return Policy{Age: keep} })
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

func TestSumsAndTheOldestAreReadFromOneIndex(t *testing.T) {
	s := still(t, hosttest.NewClock(time.Now()), mem.New(mem.Config{}))
	for name, query := range map[string]string{
		"one stream":  "SELECT sum(fragments), sum(size) FROM fragments_index WHERE stream = 'a'",
		"all streams": "SELECT sum(fragments), sum(size) FROM fragments_index",
		"the oldest":  "SELECT stream, max(first, trimmed) FROM fragments_index",
	} {
		rows, err := s.cfg.Meta.Read().Query("EXPLAIN QUERY PLAN " + query)
		if err != nil {
			t.Fatal(err)
		}
		var plan string
		for rows.Next() {
			var id, parent, unused int
			if err := rows.Scan(&id, &parent, &unused, &plan); err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, "COVERING INDEX fragments_index_sums") {
			t.Errorf("%s: %s", name, plan)
		}
	}
}

type readerAt string

func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return copy(b, r[off:]), nil }

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
	clock := hosttest.NewClock(end)
	s := still(b, clock, bucket)
	rng := rand.New(rand.NewPCG(1, 1))
	end = fill(b, s, clock, rng, start, n)
	l := s.Log("cam", nil)
	head, ok := l.Last(ctx)
	if !ok {
		b.Fatal("nothing there")
	}
	tot, err := l.Totals(ctx)
	if err != nil || tot.Fragments != int64(n) {
		b.Fatal(tot, err)
	}
	first, _ := l.First(ctx)
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

// fill gives a camera n fragments of 2 s from start on, packed day by day, and returns the
// instant a minute behind them, which the clock shows then.
func fill(b *testing.B, s *Store, clock *hosttest.Clock, rng *rand.Rand, start time.Time, n int) (end time.Time) {
	b.Helper()
	for end = start; n > 0; {
		k := min(n, 43200)
		rows := synthesise(rng, end, k, 30, 2*time.Second, 5000)
		end = micro(rows[len(rows)-1].last).Add(time.Minute)
		n -= k
		insertRows(b, s, "cam", rows)
		clock.Set(end)
		if err := s.pack(b.Context(), s.Log("cam", nil)); err != nil {
			b.Fatal(err)
		}
	}
	return end
}
