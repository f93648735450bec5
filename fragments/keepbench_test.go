package fragments

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
	"penstock/storage/mem"
)

// BenchmarkKeeps asks a stream of 2 s fragments whose older half retention took, but for
// what a number of keeps of 30 s hold. Its chunks are rows without objects.
func BenchmarkKeeps(b *testing.B) {
	for _, n := range []int{1_000_000, 10_000_000} {
		for _, keeps := range []int{0, 100, 10_000} {
			b.Run(fmt.Sprintf("%d/keeps-%d", n, keeps), func(b *testing.B) { benchKeeps(b, n, keeps) })
		}
	}
}

func benchKeeps(b *testing.B, n, keeps int) {
	ctx := context.Background()
	end := time.Date(2026, 11, 20, 12, 17, 0, 0, time.UTC)
	begin := end.Add(-time.Duration(n) * 2 * time.Second)
	clock := hosttest.NewClock(end)
	s := still(b, clock, mem.New(mem.Config{}))
	rng := rand.New(rand.NewPCG(1, 1))
	end = fill(b, s, clock, rng, begin, n)
	half := end.Sub(begin) / 2
	policy := Policy{}
	for i := range keeps {
		at := begin.Add(half / time.Duration(keeps) * time.Duration(i))
		policy.Keeps = append(policy.Keeps, Keep{Start: at, End: at.Add(30 * time.Second)})
	}
	l := s.Log("cam", func() Policy { return policy })
	preview := func(name string, p Policy) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if loss, err := l.Preview(ctx, p); err != nil || loss.Fragments == 0 {
					b.Fatal(loss, err)
				}
			}
		})
	}
	preview("preview-age", Policy{Age: half, Keeps: policy.Keeps})
	tot, err := l.Totals(ctx)
	if err != nil {
		b.Fatal(err)
	}
	preview("preview-bytes", Policy{Bytes: tot.Bytes / 2, Keeps: policy.Keeps})
	policy.Age = half
	began := time.Now()
	if err := s.Sweep(ctx); err != nil {
		b.Fatal(err)
	}
	b.Logf("the first sweep took %v", time.Since(began).Round(time.Millisecond))
	bench := func(name string, fn func() int) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if fn() == 0 {
					b.Fatal("nothing found")
				}
			}
		})
	}
	list := func(at time.Time) int { return len(collect(b, l, Range{Start: at, End: at.Add(10 * time.Minute)})) }
	line := func(from, to time.Time) int {
		tl, err := l.Coverage(ctx, from, to, time.Second)
		if err != nil {
			b.Fatal(err)
		}
		return len(tl.Spans)
	}
	bench("list-10-minutes", func() int {
		return list(end.Add(-time.Hour - time.Duration(rng.Int64N(int64(half-2*time.Hour)))))
	})
	bench("timeline-day", func() int { return line(end.Add(-24*time.Hour), end) })
	bench("timeline-all", func() int { return line(begin, end) })
	bench("first", func() int {
		if _, ok := l.First(ctx); !ok {
			return 0
		}
		return 1
	})
	bench("sweep", func() int {
		if err := s.Sweep(ctx); err != nil {
			b.Fatal(err)
		}
		return 1
	})
	if keeps == 0 {
		return
	}
	bench("list-kept", func() int {
		at := policy.Keeps[rng.IntN(keeps)].Start
		return len(collect(b, l, Range{Start: at, End: at.Add(30 * time.Second)}))
	})
	bench("another-keep", func() int { // the policy is looked through
		policy.Keeps = append([]Keep(nil), policy.Keeps...)
		l.look(0)
		return 1
	})
	bench("let-go-of-one", func() int { // and looked for in the rows
		policy.Keeps = append([]Keep(nil), policy.Keeps[min(1, len(policy.Keeps)-1):]...)
		if err := s.Sweep(ctx); err != nil {
			b.Fatal(err)
		}
		return len(policy.Keeps)
	})
}
