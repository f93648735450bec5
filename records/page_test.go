package records

import (
	"context"
	"fmt"
	"sync"
	"testing"
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
