package bytecache

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestTheOneUnusedLongestGoesFirst(t *testing.T) {
	c := New[string, int](10)
	c.Put("a", 1, 4)
	c.Put("b", 2, 4)
	if v, ok := c.Get("a"); !ok || v != 1 {
		t.Fatalf("a is %d, %v", v, ok)
	}
	c.Put("c", 3, 4)
	if _, ok := c.Get("b"); ok {
		t.Error("b was unused longest and is still there")
	}
	if n, size := c.Size(); n != 2 || size != 8 {
		t.Errorf("%d values of %d bytes", n, size)
	}
	c.Put("a", 9, 1)
	if v, _ := c.Get("a"); v != 9 {
		t.Errorf("a is %d after it was put again", v)
	}
	if _, size := c.Size(); size != 5 {
		t.Errorf("%d bytes after a shrank", size)
	}
	c.Put("large", 0, 6)
	if _, ok := c.Get("large"); ok {
		t.Error("a value of more than half of the limit was kept")
	}
}

func TestTheBoundHoldsWhateverComes(t *testing.T) {
	c := New[int, []byte](1000)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 5000 {
				k := rng.IntN(50)
				if v, ok := c.Get(k); ok && len(v) == 0 {
					t.Error("an empty value")
				}
				size := 1 + rng.IntN(700)
				c.Put(k, make([]byte, size), int64(size))
				if _, used := c.Size(); used > 1000 {
					t.Errorf("%d bytes", used)
				}
			}
		})
	}
	wg.Wait()
}
