package records

import (
	"context"
	"testing"
	"time"
)

func TestWhatWasPutIsRead(t *testing.T) {
	r := newRig(t)
	l := r.create("s1", 4)
	texts := lines("x", 500)
	out := put(t, l, texts...)
	check := func(l *Log) {
		t.Helper()
		byShard := map[ShardID][]string{}
		for i, s := range texts {
			byShard[out[i].Shard] = append(byShard[out[i].Shard], s)
		}
		if len(byShard) != 4 {
			t.Fatalf("%d shards were used", len(byShard))
		}
		for id, want := range byShard {
			got, page := readAll(t, l, id, Position{})
			if len(got) != len(want) {
				t.Fatalf("shard %v has %d records, want %d", id, len(got), len(want))
			}
			for i := range got {
				if string(got[i].Data) != want[i] || got[i].Key != want[i] || got[i].Seq.Index() != uint64(i+1) || got[i].Arrival.Unix() != got[i].Seq.Time().Unix() {
					t.Fatalf("record %d of %v: %v", i, id, got[i])
				}
			}
			if page.Ended || page.Behind != 0 {
				t.Errorf("at the end: %+v", page)
			}
		}
	}
	check(l)
	r.restart()
	check(r.log("s1"))
	put(t, r.log("s1"), "later")
	r.restart()
	if got, _ := readAll(t, r.log("s1"), put(t, r.log("s1"), "later")[0].Shard, Position{}); string(got[len(got)-1].Data) != "later" {
		t.Error("the last record is another")
	}
}

func TestSplitAndMergeKeepTheOrder(t *testing.T) {
	r := newRig(t)
	l := r.create("s1", 1)
	first := put(t, l, lines("a", 20)...)
	must(t, l.Split(context.Background(), 0, Middle(HashKey{}, MaxHashKey)))
	second := put(t, l, lines("b", 20)...)
	must(t, l.Merge(context.Background(), 1, 2))
	third := put(t, l, lines("c", 20)...)
	for i := range second {
		if second[i].Seq.Compare(first[19].Seq) <= 0 || third[i].Seq.Compare(second[i].Seq) <= 0 || third[i].Shard != 3 {
			t.Fatalf("%v %v %v", first[i], second[i], third[i])
		}
	}
	check := func() {
		t.Helper()
		l := r.log("s1")
		got, page := readAll(t, l, 0, Position{})
		if len(got) != 20 || !page.Ended || len(page.Children) != 2 || page.Children[0].ID != 1 || page.Children[1].ID != 2 {
			t.Errorf("%d records, %+v", len(got), page)
		}
		for id := ShardID(1); id <= 2; id++ {
			if _, page := readAll(t, l, id, Position{}); !page.Ended || len(page.Children) != 1 || page.Children[0].Parent != 1 || page.Children[0].Adjacent != 2 {
				t.Errorf("shard %d: %+v", id, page)
			}
		}
		if all := l.Shards(); len(all) != 4 || all[0].Open() || !all[3].Open() || all[3].To != MaxHashKey {
			t.Errorf("%+v", all)
		}
	}
	check()
	r.restart()
	check()
}

func TestReshardMakesEqualWidths(t *testing.T) {
	r := newRig(t)
	l := r.create("s1", 2)
	for _, c := range []struct{ target, ever int }{{4, 6}, {5, 17}, {13, 0}, {3, 0}, {1, 0}} {
		must(t, l.Reshard(context.Background(), c.target))
		all := l.Shards()
		open := routing{}
		for _, sh := range *l.route.Load() {
			open = append(open, sh)
		}
		if len(open) != c.target || c.ever > 0 && len(all) != c.ever {
			t.Errorf("to %d: %d open, %d ever", c.target, len(open), len(all))
		}
		for i, sh := range open {
			if sh.from != uniform(i, c.target) {
				t.Errorf("shard %d of %d begins at %v", i, c.target, sh.from)
			}
		}
	}
}

// TestDoublingAndHalvingMakeNoShardsInBetween counts the shards that are made: none but
// those that stay, though thirds and sixths of the hash space are not whole numbers.
func TestDoublingAndHalvingMakeNoShardsInBetween(t *testing.T) {
	for _, from := range []int{1, 2, 3, 5, 7, 10, 13} {
		r := newRig(t)
		l := r.create("s", from)
		ever := from
		for _, target := range []int{2 * from, 4 * from, 2 * from, from, 2 * from} {
			must(t, l.Reshard(context.Background(), target))
			ever += target
			open := *l.route.Load()
			if len(open) != target || len(l.Shards()) != ever {
				t.Errorf("from %d shards to %d: %d open, %d ever, want %d", from, target, len(open), len(l.Shards()), ever)
			}
			for i, sh := range open {
				if sh.from.distance(uniform(i, target)).Compare(HashKey{Lo: 64}) > 0 {
					t.Errorf("shard %d of %d begins at %v", i, target, sh.from)
				}
			}
		}
	}
}

func TestWaitReturnsWithTheNextRecord(t *testing.T) {
	r := newRig(t)
	l := r.create("s1", 1)
	p, err := l.At(context.Background(), 0, From{Kind: Latest})
	must(t, err)
	done := make(chan error)
	go func() { done <- l.Wait(context.Background(), 0, p) }()
	select {
	case err := <-done:
		t.Fatal("it returned before anything was put:", err)
	case <-time.After(10 * time.Millisecond):
	}
	put(t, l, "x")
	must(t, <-done)
	var page Page
	must(t, l.Read(context.Background(), 0, p, 0, 0, &page))
	if len(page.Records) != 1 {
		t.Fatal(page)
	}
	go func() { done <- l.Wait(context.Background(), 0, page.Next) }()
	must(t, l.Split(context.Background(), 0, Middle(HashKey{}, MaxHashKey)))
	must(t, <-done)
}
