package records

import (
	"context"
	"testing"
)

// TestTheEndComesWithTheChildren splits a shard of a wide stream again and again under
// readers that look all the time: who sees the end sees in the same page which shards go
// on. A Kinesis client that is told of an end without children tries for ever.
func TestTheEndComesWithTheChildren(t *testing.T) {
	r := newRig(t)
	l := r.create("wide", 2000)
	for id := range ShardID(20) {
		sh, _ := l.Shard(id)
		ended := make(chan int, 2)
		for range cap(ended) {
			go func() {
				var page Page
				for !page.Ended {
					if err := l.Read(context.Background(), id, Position{}, 1, 0, &page); err != nil {
						t.Error(err)
						break
					}
				}
				ended <- len(page.Children)
			}()
		}
		must(t, l.Split(context.Background(), id, Middle(sh.From, sh.To)))
		for range cap(ended) {
			if n := <-ended; n != 2 {
				t.Fatalf("shard %d ended with %d children", id, n)
			}
		}
	}
}
