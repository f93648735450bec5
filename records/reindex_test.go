package records

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"penstock/storage/disk"
)

// forget drops all that Meta says about records.
func (r *rig) forget() {
	r.t.Helper()
	must(r.t, r.meta.Write(context.Background(), func(tx *sql.Tx) error {
		for _, table := range []string{"owner", "lanes", "streams", "segments"} {
			if _, err := tx.Exec("DELETE FROM records_" + table); err != nil {
				return err
			}
		}
		return nil
	}))
}

// filled is a log with a history, part of it sealed, part of that merged.
func filled(t *testing.T) (*rig, *model) {
	r := newRig(t, func(c *Config) {
		b, err := disk.Open(context.Background(), disk.Config{Dir: c.Dir + "/bucket"})
		must(t, err)
		c.Bucket, c.CompactSegments = b, 3
	})
	l, m := r.create("s", 2), &model{map[ShardID][]kept{}, map[ShardID]bool{}}
	for i := range 12 {
		texts := lines("x", 30)
		for k, p := range put(t, l, texts...) {
			m.shards[p.Shard] = append(m.shards[p.Shard], kept{p.Seq, texts[k], texts[k]})
		}
		switch i {
		case 2, 4, 6, 8:
			must(t, r.store.Seal(context.Background()))
		case 3, 9:
			open := *l.route.Load()
			must(t, l.Split(context.Background(), open[0].id, Middle(open[0].from, open[0].to)))
		case 5:
			open := *l.route.Load()
			must(t, l.Merge(context.Background(), open[0].id, open[1].id))
		case 7:
			must(t, r.store.compact(context.Background()))
		}
	}
	return r, m
}

func TestReindexMakesTheDatabaseAgain(t *testing.T) {
	r, m := filled(t)
	before := r.log("s").Shards()
	r.create("empty", 3)
	r.create("deleted", 1)
	must(t, r.store.Delete(context.Background(), "deleted"))
	r.stop()
	sum, err := Verify(context.Background(), r.cfg, true, func(f Finding) { t.Errorf("before: %+v", f) })
	must(t, err)
	if sum.Records != 360 || sum.Damaged != 0 {
		t.Errorf("%+v", sum)
	}
	r.forget()
	var found []Finding
	sum, err = Reindex(context.Background(), r.cfg, func(f Finding) { found = append(found, f) })
	must(t, err)
	t.Logf("%+v, %+v", sum, found)
	if sum.Records != 360 || sum.Streams != 2 {
		t.Errorf("it tells of %d records in %d streams", sum.Records, sum.Streams)
	}
	sum, err = Verify(context.Background(), r.cfg, false, nil)
	must(t, err)
	if sum.Records != 360 || sum.Streams != 2 || sum.Damaged != 0 {
		t.Errorf("before the next start: %+v", sum)
	}
	r.open()
	if _, ok := r.store.Log("deleted"); ok {
		t.Error("a deleted stream came back")
	}
	if n := len(r.log("empty").Shards()); n != 3 {
		t.Errorf("the empty stream has %d shards", n)
	}
	l := r.log("s")
	m.compare(t, l, rand.New(rand.NewPCG(1, 1)), "after the reindex")
	after := l.Shards()
	for i := range before {
		if after[i] != before[i] {
			t.Errorf("shard %d became %+v, was %+v", i, after[i], before[i])
		}
	}
	next := put(t, l, "next")[0]
	for _, k := range m.shards[next.Shard] {
		if k.seq.Compare(next.Seq) >= 0 {
			t.Fatalf("%v was given before", next.Seq)
		}
	}
	got, _ := readAll(t, l, next.Shard, Position{})
	if string(got[len(got)-1].Data) != "next" {
		t.Error("the record behind the leap is not read")
	}
}

func TestAStreamWithoutRecordsOutlivesItsLaneEntries(t *testing.T) {
	for name, size := range map[string]int{"the lane has them": 1 << 10, "the lane forgot them": 1 << 20} {
		t.Run(name, func(t *testing.T) { outlives(t, make([]byte, size)) })
	}
}

// outlives makes streams without records and reindexes; big is put again and again, so that
// the lane begins new files.
func outlives(t *testing.T, big []byte) {
	r, _ := filled(t)
	ctx := context.Background()
	r.create("idle", 2)
	split := r.create("split", 1)
	fill := func(n int) {
		for range n {
			must(t, r.log("s").Put(ctx, []Input{{Key: "k", Hash: HashOf("k"), Data: big}}, make([]Placed, 1), nil))
		}
		must(t, r.store.Seal(ctx))
		put(t, r.log("s"), "more")
		must(t, r.store.Seal(ctx))
	}
	fill(6)
	open := *split.route.Load()
	must(t, split.Split(ctx, open[0].id, Middle(open[0].from, open[0].to)))
	fill(18)
	before := map[string][]Shard{"idle": r.log("idle").Shards(), "split": r.log("split").Shards()}
	r.create("gone", 1)
	must(t, r.store.Seal(ctx))
	must(t, r.store.Delete(ctx, "gone"))
	fill(70)
	r.stop()
	r.forget()
	_, err := Reindex(ctx, r.cfg, func(f Finding) { t.Logf("%+v", f) })
	must(t, err)
	r.open()
	for id, want := range before {
		l, ok := r.store.Log(id)
		if !ok {
			t.Errorf("%s is lost", id)
			continue
		}
		if got := l.Shards(); !slices.Equal(got, want) {
			t.Errorf("%s has %+v, had %+v", id, got, want)
		}
		put(t, l, "new")
	}
	if _, ok := r.store.Log("gone"); ok {
		t.Error("a deleted stream came back")
	}
}

func TestWhatIsInTheBucketSurvivesTheLossOfAllElse(t *testing.T) {
	r, m := filled(t)
	must(t, r.store.Seal(context.Background()))
	put(t, r.log("s"), "lost with the lane")
	r.stop()
	r.forget()
	must(t, os.RemoveAll(filepath.Join(r.cfg.Dir, "wal")))
	lost := 0
	_, err := Reindex(context.Background(), r.cfg, func(f Finding) {
		if !f.Fixed {
			lost++
		}
	})
	must(t, err)
	if lost != 1 {
		t.Errorf("%d findings", lost)
	}
	r.open()
	m.compare(t, r.log("s"), rand.New(rand.NewPCG(1, 1)), "from the bucket alone")
	put(t, r.log("s"), "new")
	must(t, r.store.Seal(context.Background()))
	r.restart()
	id := put(t, r.log("s"), "new")[0].Shard
	if got, _ := readAll(t, r.log("s"), id, Position{}); string(got[len(got)-1].Data) != "new" {
		t.Error("what was put since is not read")
	}
}

func TestVerifyFindsWhatIsMissing(t *testing.T) {
	r, _ := filled(t)
	segs := r.log("s").segs
	r.stop()
	must(t, r.cfg.Bucket.Delete(context.Background(), segs[len(segs)-1].key))
	name := filepath.Join(r.cfg.Dir, "bucket", segs[0].key)
	b, err := os.ReadFile(name)
	must(t, err)
	b[len(b)/3] ^= 4
	must(t, os.WriteFile(name, b, 0o600))
	var found []Finding
	sum, err := Verify(context.Background(), r.cfg, false, func(f Finding) { found = append(found, f) })
	must(t, err)
	if sum.Damaged != 2 || len(found) != 2 {
		t.Errorf("%+v: %+v", sum, found)
	}
}
