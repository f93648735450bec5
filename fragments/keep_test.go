package fragments

import (
	"bytes"
	"context"
	"database/sql"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
	"penstock/storage"
	"penstock/storage/mem"
	"penstock/storage/meta"
)

// bitmap is a set of instants from 0 to 63.
func (s intervals) bitmap() (b uint64) {
	for _, v := range s {
		for i := max(v.start, 0); i < min(v.end, 64); i++ {
			b |= 1 << i
		}
	}
	return b
}

func TestIntervalsAreSets(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	set := func() (s intervals) {
		at := int64(0)
		for range rng.IntN(6) {
			at += rng.Int64N(12)
			end := at + rng.Int64N(9)
			s = s.add(interval{at, end})
			at = end
		}
		return s
	}
	for range 20000 {
		a, b := set(), set()
		lo := rng.Int64N(64)
		hi := lo + 1 + rng.Int64N(64-lo)
		mask := (intervals{{lo, hi}}).bitmap()
		for name, c := range map[string]struct {
			got  intervals
			want uint64
		}{
			"both":   {a.both(b), a.bitmap() & b.bitmap()},
			"minus":  {a.minus(b), a.bitmap() &^ b.bitmap()},
			"within": {a.within(lo, hi), a.bitmap() & mask},
			"rehold": {sight{lo, a}.rehold(b), a.bitmap()&b.bitmap()&(1<<lo-1) | b.bitmap()&^(1<<lo-1)},
		} {
			if c.got.bitmap() != c.want {
				t.Fatalf("%s of %v and %v from %d to %d is %v", name, a, b, lo, hi, c.got)
			}
			for i, v := range c.got {
				if v.start >= v.end || i > 0 && v.start <= c.got[i-1].end {
					t.Fatalf("%s made %v", name, c.got)
				}
			}
		}
		if a.overlaps(lo, hi) != (a.bitmap()&mask != 0) || a.contains(lo, hi) != (a.bitmap()&mask == mask) {
			t.Fatalf("%v from %d to %d", a, lo, hi)
		}
		back, err := readIntervals(a.append(nil))
		if err != nil || !slices.Equal(back, a) {
			t.Fatalf("%v was read as %v: %v", a, back, err)
		}
	}
	endless := intervals{{5, math.MaxInt64}}
	if back, err := readIntervals(endless.append(nil)); err != nil || !slices.Equal(back, endless) {
		t.Error(back, err)
	}
}

func FuzzIntervals(f *testing.F) {
	f.Add(intervals{{1, 5}, {9, math.MaxInt64}}.append(nil))
	f.Add([]byte{2, 2, 1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readIntervals(b)
		if err != nil {
			return
		}
		for i, v := range s {
			if v.start >= v.end || i > 0 && v.start <= s[i-1].end {
				t.Fatalf("read %v", s)
			}
		}
		if back, err := readIntervals(s.append(nil)); err != nil || !slices.Equal(back, s) {
			t.Fatalf("%v, then %v: %v", s, back, err)
		}
	})
}

// A data directory of a penstock that knew no keeps opens, and goes on as it was.
func TestTablesOfTheVersionBeforeAreBroughtOn(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	db, err := meta.Open(ctx, meta.Config{Path: filepath.Join(dir, "meta.db"), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	old := schema()
	old.Versions = old.Versions[:1]
	if err := db.Apply(ctx, old); err != nil {
		t.Fatal(err)
	}
	rows := synthesise(rand.New(rand.NewPCG(1, 2)), now.Add(-time.Hour), 360, 6, 10*time.Second, 0)
	err = db.Write(ctx, func(tx *sql.Tx) error {
		for _, r := range rows {
			if err := insertChunk(tx, "cam", r, stateStored); err != nil {
				return err
			}
		}
		return setHorizon(tx, "cam", now.Add(-30*time.Minute).UnixMicro())
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, Config{Dir: filepath.Join(dir, "open"), Bucket: mem.New(mem.Config{}), Meta: db, Clock: hosttest.NewClock(now)})
	if err != nil {
		t.Fatal(err)
	}
	l := s.Log("cam", nil)
	if err := l.load(ctx); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, l, Range{}); len(got) < 179 || len(got) > 181 {
		t.Errorf("%d fragments are shown", len(got))
	}
	if tot, err := l.Totals(ctx); err != nil || tot.Fragments != 360 || tot.Kept != 0 {
		t.Error(tot, err)
	}
}

// limited is a still store with a day of 10 s fragments in chunks of a minute.
func limited(t *testing.T, policy *Policy) (*Store, *Log, []chunkRow, *hosttest.Clock) {
	t.Helper()
	end := time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)
	clock := hosttest.NewClock(end)
	bucket := mem.New(mem.Config{})
	s := still(t, clock, bucket)
	rows := synthesise(rand.New(rand.NewPCG(1, 2)), end.Add(-24*time.Hour), 8640, 6, 10*time.Second, 0)
	for _, r := range rows {
		if err := bucket.Put(context.Background(), r.key("cam"), readerAt("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	insertRows(t, s, "cam", rows)
	return s, s.Log("cam", func() Policy { return *policy }), rows, clock
}

func TestALimitOfBytesIsHeldToTheChunk(t *testing.T) {
	ctx := context.Background()
	policy := Policy{}
	s, l, rows, clock := limited(t, &policy)
	sweep := func() Totals {
		t.Helper()
		if err := s.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		tot, err := l.Totals(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return tot
	}
	all := sweep()
	sum := func(rows []chunkRow) (n int64) {
		for _, r := range rows {
			n += r.size
		}
		return n
	}
	// In hours, then in days.
	for _, left := range []int{1440, 1000, 999, 700, 699, 61, 60, 2} {
		policy.Bytes = sum(rows[1440-left:]) + 17
		if got := sweep(); got.Bytes != policy.Bytes-17 || got.Kept != 0 {
			t.Fatalf("of %d bytes %d are left, want %d", all.Bytes, got.Bytes, policy.Bytes-17)
		}
		if first, ok := l.First(ctx); !ok || first.Number != rows[1440-left].first {
			t.Fatalf("the first is %v", first.Start)
		}
		if left == 700 {
			clock.Add(20 * time.Hour)
		}
	}
	policy.Bytes = 1
	sweep()
	if got := collect(t, l, Range{}); len(got) != 1 {
		t.Errorf("%d fragments are left", len(got))
	}
	policy = Policy{}
	sweep()
	if got := collect(t, l, Range{}); len(got) != 1 {
		t.Errorf("without a limit %d fragments came back", len(got))
	}
}

func TestKeptVideoDoesNotCountForTheLimit(t *testing.T) {
	ctx := context.Background()
	policy := Policy{}
	s, l, rows, clock := limited(t, &policy)
	begin := clock.Now().Add(-24 * time.Hour)
	policy = Policy{Age: 12 * time.Hour, Keeps: []Keep{{Start: begin.Add(time.Hour), End: begin.Add(2 * time.Hour)}}}
	loss, err := l.Preview(ctx, Policy{Age: 12 * time.Hour})
	if err != nil || loss.Fragments < 360 || loss.Fragments > 363 { // the age acts already: what is kept would go
		t.Error(loss, err)
	}
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	tot, err := l.Totals(ctx)
	if err != nil || tot.Kept < 59*rows[0].size || tot.Kept > 63*rows[0].size {
		t.Fatal(tot, err)
	}
	policy.Bytes = tot.Bytes - tot.Kept
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := l.Totals(ctx); err != nil || now != tot {
		t.Errorf("%+v became %+v: %v", tot, now, err)
	}
	heads := collect(t, l, Range{})
	if h := heads[0]; h.Start.Before(begin.Add(time.Hour-15*time.Second)) || h.Start.After(begin.Add(time.Hour)) {
		t.Errorf("the first is %v", h.Start)
	}
	tl, err := l.Coverage(ctx, begin, clock.Now(), time.Second)
	if err != nil || len(tl.Spans) != 2 || len(tl.Gaps) != 1 || tl.Gaps[0].Cause != CauseExpired {
		t.Errorf("%+v %v", tl, err)
	}
	if tot.Fragments > int64(len(heads)+6) {
		t.Errorf("totals count %d fragments, %d are shown", tot.Fragments, len(heads))
	}
	policy.Keeps = nil
	if got := collect(t, l, Range{}); len(got) > 4325 {
		t.Errorf("nothing is kept any more, and %d fragments are shown", len(got))
	}
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := l.Totals(ctx); err != nil || now.Kept != 0 {
		t.Error(now, err)
	}
}

// A reader under whom hours become a day, or go but for what is kept, reads on.
func TestAReaderGoesOnWhereTheIndexMovedUnderIt(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		age  time.Duration
		want func(n int) bool
	}{
		"packed":  {0, func(n int) bool { return n == 8640 }},
		"trimmed": {time.Hour, func(n int) bool { return n >= 720 && n <= 723 }}, // the first hour was read before
	} {
		t.Run(name, func(t *testing.T) {
			policy := Policy{}
			s, l, _, clock := limited(t, &policy)
			begin := clock.Now().Add(-24 * time.Hour)
			policy.Keeps = []Keep{{Start: begin.Add(20 * time.Hour), End: begin.Add(21 * time.Hour)}}
			if err := s.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			seen, last := 0, Number(0)
			for h, err := range l.Select(ctx, Range{}) {
				if err != nil {
					t.Fatal(err)
				}
				if h.Number <= last {
					t.Fatalf("%d comes after %d", h.Number, last)
				}
				last = h.Number
				if seen++; seen == 1 {
					s.cache = newCache(1)
					clock.Add(40 * time.Hour)
					policy.Age = c.age
					if err := s.Sweep(ctx); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !c.want(seen) {
				t.Errorf("%d of 8640 fragments were read", seen)
			}
		})
	}
}

// What is kept is read by verify like the rest; its damage stays noted; and a reindex finds
// it, with meta.db and without.
func TestKeptChunksAreVerifiedAndFoundAgain(t *testing.T) {
	ctx := context.Background()
	for _, lost := range []bool{false, true} {
		w := newKeepWorld(t, 77)
		begin := w.clock.Now()
		w.append(60)
		whole := len(w.visible())
		w.policy = Policy{Age: time.Hour, Keeps: []Keep{{Start: begin.Add(2 * time.Minute), End: begin.Add(8 * time.Minute)}}}
		w.clock.Add(3 * time.Hour)
		w.pump()
		w.sweep()
		w.check()
		kept := w.visible()
		if len(kept) < 5 || len(kept) > whole/2 {
			t.Fatalf("%d of %d are kept", len(kept), whole)
		}
		// One of them can no longer be read.
		bad := kept[2]
		p, err := w.l.locate(ctx, bad.number)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(ctx, w.bucket, p.id.key("cam"), p.off+recordLen+2); err != nil {
			t.Fatal(err)
		}
		w.s.closeFiles()
		var found []Finding
		if _, err := Verify(ctx, w.cfg, true, func(f Finding) { found = append(found, f) }); err != nil || len(found) != 1 {
			t.Fatalf("%+v %v", found, err)
		}
		w.open()
		shown := func() int { return len(collect(t, w.l, Range{})) }
		for range 2 {
			if err := w.s.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			if n := shown(); n != len(kept)-1 {
				t.Fatalf("%d of %d are shown", n, len(kept))
			}
		}
		w.s.closeFiles()
		if lost {
			db, err := meta.Open(ctx, meta.Config{Path: filepath.Join(t.TempDir(), "meta.db"), Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			w.cfg.Meta = db
		}
		if _, err := Reindex(ctx, w.cfg, nil); err != nil {
			t.Fatal(err)
		}
		s, err := Open(ctx, w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.s, w.l = s, s.Log("cam", nil)
		// Without the metadata all that is left is shown, whole chunks, until somebody says
		// what is kept.
		if n := shown(); lost && n <= len(kept) || !lost && n != len(kept) {
			t.Errorf("lost %v: %d are shown, %d are kept", lost, n, len(kept))
		}
		w.l = s.Log("cam", func() Policy { return w.policy })
		for range 2 {
			if n := shown(); n != len(kept) {
				t.Errorf("lost %v: %d of %d are shown", lost, n, len(kept))
			}
			if err := s.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if tot, err := w.l.Totals(ctx); err != nil || tot.Kept == 0 || tot.Fragments != int64(len(kept)) {
			t.Errorf("%+v %v", tot, err)
		}
	}
}

// spoil changes a byte of an object.
func spoil(ctx context.Context, b storage.Bucket, key string, off int64) error {
	body, err := readAll(ctx, b, key)
	if err != nil {
		return err
	}
	body[off] ^= 1
	if err := b.Delete(ctx, key); err != nil {
		return err
	}
	return b.Put(ctx, key, bytes.NewReader(body), int64(len(body)))
}
