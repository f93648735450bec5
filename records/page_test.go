package records

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"penstock/internal/fault"
)

// A page may end inside of any entry of a commit that holds the entries of many puts.
func TestAPageMayEndAnywhereInACommit(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 1)
	var wg sync.WaitGroup
	for n := range 60 { // what waits for one flush becomes the next commit
		wg.Go(func() {
			in, out := make([]Input, 5), make([]Placed, 5)
			for i := range in {
				text := fmt.Sprintf("%d-%d", n, i)
				in[i] = Input{Key: text, Hash: HashOf(text), Data: []byte(text)}
			}
			if err := l.Put(context.Background(), in, out, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	check := func(from string) {
		t.Helper()
		for limit := 1; limit <= 300; limit += 1 + limit/40 {
			var page Page
			n, p := 0, Position{}
			for {
				if err := l.Read(t.Context(), 0, p, limit, 0, &page); err != nil {
					t.Fatalf("%s, pages of %d, after %d records: %v", from, limit, n, err)
				}
				if len(page.Records) == 0 {
					break
				}
				n, p = n+len(page.Records), page.Next
			}
			if n != 300 {
				t.Fatalf("%s, pages of %d: %d records of 300", from, limit, n)
			}
		}
	}
	check("memory")
	r.restart()
	l = r.log("s")
	check("the lane")
	must(t, r.store.Seal(t.Context()))
	check("a segment")
}

func TestAPlaceAheadOfTheNewestIsRefused(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 1)
	put(t, l, "a", "b")
	from := func(k Kind, index uint64) ([]string, error) {
		p, err := l.At(context.Background(), 0, From{Kind: k, Seq: newSeq(l.created, 0, index, l.created+3600)})
		if err != nil {
			return nil, err
		}
		got, _ := readAll(t, l, 0, p)
		return texts(got), nil
	}
	check := func(when string) {
		t.Helper()
		for _, k := range []Kind{AtSeq, AfterSeq} {
			for _, ahead := range []uint64{3, 1000, EndIndex - 1, EndIndex} {
				if _, err := from(k, ahead); !fault.Is(err, fault.Invalid) {
					t.Errorf("%s, from %d on: %v", when, ahead, err)
				}
			}
			if got, err := from(k, 0); err != nil || len(got) != 2 {
				t.Errorf("%s, from the shard's own number on: %q, %v", when, got, err)
			}
		}
		if got, err := from(AfterSeq, 2); err != nil || len(got) != 0 {
			t.Errorf("%s, behind the newest: %q, %v", when, got, err)
		}
		if got, err := from(AtSeq, 2); err != nil || len(got) != 1 {
			t.Errorf("%s, at the newest: %q, %v", when, got, err)
		}
	}
	check("in the lane")
	must(t, r.store.Seal(context.Background()))
	check("in a segment")
	r.restart()
	l = r.log("s")
	check("after a restart")
	must(t, l.Split(context.Background(), 0, Middle(HashKey{}, MaxHashKey)))
	check("closed, with another end than its own")
	end := l.Shards()[0].End
	for _, k := range []Kind{AtSeq, AfterSeq} {
		p, err := l.At(context.Background(), 0, From{Kind: k, Seq: end})
		must(t, err)
		var page Page
		must(t, l.Read(context.Background(), 0, p, 0, 0, &page))
		if len(page.Records) != 0 || !page.Ended || len(page.Children) != 2 {
			t.Errorf("from the end on: %+v", page)
		}
	}
}
