package fragments

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/host"
	"penstock/storage/disk"
	"penstock/storage/mem"
)

// spread stores fragments in a sealed and listed chunk, in an open one, and in memory.
func (r *rig) spread(l *Log, start time.Time, n int) []Number {
	r.t.Helper()
	var numbers []Number
	for i := range n {
		h := r.store(l, testFragment(start.Add(time.Duration(i)*time.Second), 25, uint64(i)))[0]
		numbers = append(numbers, h.Number)
		if i%5 == 4 && i < n-3 {
			r.sealAll()
		}
	}
	return numbers
}

func TestManyTablesAreReadAsOneByOne(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(*Config){
		"files":  nil,
		"remote": func(c *Config) { c.Bucket = mem.New(mem.Config{}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, crashfs.New(crashfs.Config{}), change).mustStart()
			l := r.s.Log("cam", nil)
			start := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
			numbers := r.spread(l, start, 22)
			asked := append([]Number{numbers[0] - 1}, numbers[:10]...) // and two that never were
			asked = append(append(asked, numbers[9]+1), numbers[10:]...)
			got, err := l.ReadIndexes(ctx, asked)
			if err != nil || len(got) != len(asked) {
				t.Fatalf("%d of %d: %v", len(got), len(asked), err)
			}
			for i, n := range asked {
				want, err := l.ReadIndex(ctx, n)
				if err != nil {
					want = nil
				}
				if !reflect.DeepEqual(got[i], want) {
					t.Errorf("fragment %d: %+v is not %+v", n, got[i], want)
				}
			}
			if got[0] != nil || got[11] != nil || got[1] == nil {
				t.Error("a fragment that never was is there, or the first is not")
			}
			if _, err := l.Trim(ctx, start.Add(7*time.Second)); err != nil {
				t.Fatal(err)
			}
			if got, err = l.ReadIndexes(ctx, numbers); err != nil || got[6] != nil || got[7] == nil {
				t.Errorf("after a trim: %v, %v, %v", got[6], got[7], err)
			}
			if got, err := l.ReadIndexes(ctx, nil); err != nil || len(got) != 0 {
				t.Error(got, err)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, c := range l.chunks {
				if c.holds != 1 {
					t.Errorf("%d holds on an open chunk are left", c.holds-1)
				}
			}
		})
	}
}

func TestADamagedTableIsLeftOutOfMany(t *testing.T) {
	ctx := context.Background()
	fsys := crashfs.New(crashfs.Config{})
	r := newRig(t, fsys, nil).mustStart()
	l := r.s.Log("cam", nil)
	numbers := r.spread(l, time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC(), 10)
	p, err := l.locate(ctx, numbers[2])
	if err != nil || p.chunk != nil {
		t.Fatal("it is not in a listed chunk", err)
	}
	key := r.s.files.Path(p.id.key("cam"))
	b, err := fsys.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	b[p.off+recordLen+3] ^= 1
	if err := fsys.WriteFile(key, b); err != nil {
		t.Fatal(err)
	}
	got, err := l.ReadIndexes(ctx, numbers)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if (got[i] == nil) != (i == 2) {
			t.Errorf("fragment %d of %d: %v", i, len(got), got[i])
		}
	}
	if err := fsys.Remove(key); err != nil {
		t.Fatal(err)
	}
	if got, err = l.ReadIndexes(ctx, numbers); err != nil || got[0] != nil || got[9] == nil {
		t.Errorf("with a chunk missing: %v, %v, %v", got[0], got[9], err)
	}
}

// BenchmarkTables reads the sample tables of an hour of fragments of 2 s, in chunks of a
// minute on the real disk, one by one and together.
func BenchmarkTables(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	bucket, err := disk.Open(ctx, disk.Config{Dir: filepath.Join(dir, "bucket")})
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b, host.OS{}, func(c *Config) { c.Dir, c.Bucket = filepath.Join(dir, "open"), bucket }).mustStart()
	l := r.s.Log("cam", nil)
	start := time.Now().Add(-2 * time.Hour).Truncate(time.Microsecond).UTC()
	var numbers []Number
	for i := range 60 {
		var batch []*Fragment
		for k := range 30 {
			batch = append(batch, testFragment(start.Add(time.Duration(i*30+k)*2*time.Second), 50, uint64(i)))
		}
		for _, h := range r.store(l, batch...) {
			numbers = append(numbers, h.Number)
		}
		r.sealAll()
	}
	if err := r.s.pack(ctx, l); err != nil {
		b.Fatal(err)
	}
	b.Run("one-by-one", func(b *testing.B) {
		for b.Loop() {
			r.s.cache = newCache(r.s.cfg.CacheSize)
			for _, n := range numbers {
				if _, err := l.ReadIndex(ctx, n); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			r.s.cache = newCache(r.s.cfg.CacheSize)
			got, err := l.ReadIndexes(ctx, numbers)
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range got {
				if f == nil {
					b.Fatal(fmt.Sprint("one is missing of ", len(got)))
				}
			}
		}
	})
}
