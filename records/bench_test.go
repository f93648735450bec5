package records

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/storage/disk"
)

// benchRig is a rig on the machine's disk, with files as large as they are in use.
func benchRig(b *testing.B) *rig {
	b.Helper()
	return newRig(b, func(c *Config) {
		bucket, err := disk.Open(context.Background(), disk.Config{Dir: c.Dir + "/bucket"})
		must(b, err)
		c.Bucket, c.LaneFileSize = bucket, 64<<20
	})
}

// noise is data that does not compress, as most of what matters.
func noise(n int) []byte {
	rng := rand.NewChaCha8([32]byte{})
	b := make([]byte, n)
	_, _ = rng.Read(b)
	return b
}

func benchInputs(n int, data []byte) []Input {
	in := make([]Input, n)
	for i := range in {
		k := fmt.Sprintf("device-%d", i)
		in[i] = Input{Key: k, Hash: HashOf(k), Data: data}
	}
	return in
}

func BenchmarkPut(b *testing.B) {
	data := newNoisy()
	for _, c := range []struct{ writers, batch int }{{1, 1}, {16, 1}, {64, 1}, {256, 1}, {1, 500}, {4, 500}, {16, 500}} {
		b.Run(fmt.Sprintf("%d-writers-of-%d", c.writers, c.batch), func(b *testing.B) {
			r := benchRig(b)
			l := r.create("bench", 4)
			b.ReportAllocs()
			b.ResetTimer()
			var (
				done atomic.Int64
				all  sync.WaitGroup
				mu   sync.Mutex
				took []time.Duration
			)
			for w := range c.writers {
				all.Go(func() {
					in, out := benchInputs(c.batch, nil), make([]Placed, c.batch)
					data := noisy{data.pool, len(data.pool) / (w + 1) &^ 1023 % len(data.pool)}
					var mine []time.Duration
					defer func() {
						mu.Lock()
						took = append(took, mine...)
						mu.Unlock()
					}()
					for done.Add(int64(c.batch)) <= int64(b.N*c.batch) {
						began := time.Now()
						if err := l.Put(context.Background(), data.fill(in), out, nil); err != nil {
							b.Error(err)
							return
						}
						mine = append(mine, time.Since(began))
					}
				})
			}
			all.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
			b.ReportMetric(float64(b.N*c.batch)/b.Elapsed().Seconds(), "rec/s")
		})
	}
}

// noisy has inputs of 1 KiB that nothing compresses: each is another part of 8 MiB of noise.
type noisy struct {
	pool []byte
	at   int
}

func newNoisy() *noisy { return &noisy{pool: noise(8 << 20)} }

func (p *noisy) fill(in []Input) []Input {
	for i := range in {
		p.at = (p.at + 1024) % len(p.pool)
		in[i].Data = p.pool[p.at : p.at+1024]
	}
	return in
}

// drain reads a log from its oldest record on and returns how many there were.
func drain(b testing.TB, l *Log) (n int, bytes int64) {
	var page Page
	for _, s := range l.Shards() {
		for p := (Position{}); ; p = page.Next {
			must(b, l.Read(context.Background(), s.ID, p, 10_000, 10<<20, &page))
			if len(page.Records) == 0 {
				break
			}
			n += len(page.Records)
			for i := range page.Records {
				bytes += int64(len(page.Records[i].Data))
			}
		}
	}
	return n, bytes
}

func BenchmarkRead(b *testing.B) {
	for _, where := range []string{"memory", "lane", "segment"} {
		b.Run(where, func(b *testing.B) {
			r := benchRig(b)
			if where == "lane" {
				r.stop()
				r.cfg.TailBytes = 1
				r.open()
			}
			l := r.create("bench", 4)
			in, out, data := benchInputs(500, nil), make([]Placed, 500), newNoisy()
			for range 100 {
				must(b, l.Put(context.Background(), data.fill(in), out, nil))
			}
			if where == "segment" {
				must(b, r.store.Seal(context.Background()))
				r.stop()
				r.cfg.CacheBytes = 1
				r.open()
				l = r.log("bench")
			}
			b.ResetTimer()
			var records int
			var bytes int64
			for b.Loop() {
				n, m := drain(b, l)
				records, bytes = records+n, bytes+m
			}
			if records != b.N*50_000 {
				b.Fatal(records)
			}
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "rec/s")
			b.ReportMetric(float64(bytes)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
	}
}

// BenchmarkShards says what 10,000 shards cost that nothing is put into: memory and time to
// start.
func BenchmarkShards(b *testing.B) {
	const n = 10_000
	r := benchRig(b)
	before := heap()
	r.create("wide", n)
	each := float64(heap()-before) / n
	began := time.Now()
	rounds := 0
	for b.Loop() {
		r.restart()
		rounds++
	}
	b.ReportMetric(each, "B/shard")
	b.ReportMetric(time.Since(began).Seconds()*1000/float64(rounds), "ms/start")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStart restarts as a killed process does: with what was stored, by default 256
// MB (PENSTOCK_STORED_MB), in segments, but for what came last. Then it reads all back.
func BenchmarkStart(b *testing.B) {
	stored := 256
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_STORED_MB")); err == nil {
		stored = n
	}
	r := benchRig(b)
	l := r.create("bench", 16)
	in, out, data := benchInputs(500, nil), make([]Placed, 500), newNoisy()
	for range stored * 2 {
		must(b, l.Put(context.Background(), data.fill(in), out, nil))
	}
	opening := time.Duration(0)
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		r.stop()
		b.StartTimer()
		began := time.Now()
		r.open()
		opening += time.Since(began)
	}
	b.StopTimer()
	b.ReportMetric(opening.Seconds()*1000/float64(b.N), "ms/start")
	began := time.Now()
	_, bytes := drain(b, r.log("bench"))
	b.ReportMetric(float64(bytes)/1e9/time.Since(began).Seconds(), "GB/s-read-back")
}

// BenchmarkWideSeal seals records of 10,000 shards.
func BenchmarkWideSeal(b *testing.B) {
	const n = 10_000
	r := benchRig(b)
	l := r.create("wide", n)
	rng := rand.New(rand.NewPCG(1, 1))
	data := noise(200)
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		in, out := make([]Input, 500), make([]Placed, 500)
		for range 200 {
			for i := range in {
				in[i] = Input{Key: "k", Hash: HashKey{rng.Uint64(), rng.Uint64()}, Data: data}
			}
			must(b, l.Put(context.Background(), in, out, nil))
		}
		b.StartTimer()
		must(b, r.store.Seal(context.Background()))
	}
	b.StopTimer()
	began := time.Now()
	r.restart()
	b.ReportMetric(time.Since(began).Seconds()*1000, "ms/start")
	b.ReportMetric(float64(heap())/n, "B/shard")
}

// BenchmarkWideChange splits one of 10,000 shards, and doubles and halves 5,000.
func BenchmarkWideChange(b *testing.B) {
	r := benchRig(b)
	l := r.create("wide", 10_000)
	b.Run("split", func(b *testing.B) {
		for b.Loop() {
			sh := (*l.route.Load())[0]
			must(b, l.Split(context.Background(), sh.id, Middle(sh.from, sh.to)))
		}
	})
	w := r.create("half", 5000)
	b.Run("reshard", func(b *testing.B) {
		for b.Loop() {
			must(b, w.Reshard(context.Background(), 10_000))
			must(b, w.Reshard(context.Background(), 5_000))
		}
	})
}
