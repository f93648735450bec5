package segment

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"penstock/storage/disk"
	"penstock/storage/mem"
)

// benchRecords makes n records of about 1 KiB: kind "random" does not compress, "json" is
// telemetry.
func benchRecords(kind string, n int) []Record {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]Record, n)
	for i := range out {
		var b bytes.Buffer
		for b.Len() < 1000 {
			if kind == "random" {
				var v [8]byte
				for k := range v {
					v[k] = byte(rng.Uint32())
				}
				b.Write(v[:])
				continue
			}
			fmt.Fprintf(&b, `{"device":"pump-%04d","ts":%d,"temperature":%.2f,"pressure":%.3f,"state":"running","seq":%d}`+"\n",
				rng.IntN(500), 1790000000000+i*37, 20+rng.Float64()*60, 1+rng.Float64(), rng.IntN(1e6))
		}
		out[i] = Record{Index: uint64(i), Arrival: 1790000000000 + int64(i/7), Key: fmt.Sprintf("pump-%04d", rng.IntN(500)), Data: b.Bytes()}
	}
	return out
}

// benchSegment writes records over 8 shards.
func benchSegment(tb testing.TB, w *Writer, to io.Writer, c Config, records []Record) Info {
	must(tb, w.Reset(to, c))
	for s := range 8 {
		must(tb, w.Begin(Shard{ID: uint32(s)}))
		for i := s * len(records) / 8; i < (s+1)*len(records)/8; i++ {
			must(tb, w.Add(&records[i]))
		}
	}
	info, err := w.Finish()
	must(tb, err)
	return info
}

// benchKinds calls fn for both kinds of data, with the ways to write them.
func benchKinds(b *testing.B, fn func(b *testing.B, records []Record, c Config)) {
	for _, kind := range []string{"random", "json"} {
		records := benchRecords(kind, 32<<10)
		c := Config{Name: testName()}
		b.Run(kind, func(b *testing.B) { fn(b, records, c) })
		c.Plain = true
		b.Run(kind+"-plain", func(b *testing.B) { fn(b, records, c) })
		c.Plain, c.AEAD, c.KeyID = false, keyOf(b), "key-1"
		b.Run(kind+"-sealed", func(b *testing.B) { fn(b, records, c) })
	}
}

func BenchmarkWrite(b *testing.B) {
	benchKinds(b, func(b *testing.B, records []Record, c Config) {
		w := &Writer{}
		var info Info
		for b.Loop() {
			info = benchSegment(b, w, io.Discard, c, records)
			b.SetBytes(info.Raw)
		}
		b.ReportMetric(float64(info.Size)/float64(info.Raw), "stored/raw")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/record")
	})
}

func BenchmarkReadAll(b *testing.B) {
	for _, ahead := range []int{0, 2} {
		b.Run(fmt.Sprintf("ahead=%d", ahead), func(b *testing.B) {
			benchKinds(b, func(b *testing.B, records []Record, c Config) {
				var out bytes.Buffer
				info := benchSegment(b, &Writer{}, &out, c, records)
				dir, err := disk.Open(b.Context(), disk.Config{Dir: b.TempDir()})
				must(b, err)
				src := store(b, SourceConfig{Bucket: dir, Keys: keys(b), Cache: 16 << 20}, out.Bytes(), info)
				b.SetBytes(info.Raw)
				for b.Loop() {
					r, err := src.Open(b.Context(), info.Name.Key(), info.Size)
					must(b, err)
					n, sum := 0, 0
					for bl, err := range r.Blocks(b.Context(), 0, info.Blocks, ahead) {
						must(b, err)
						for i := range bl.Len() {
							rec := bl.At(i)
							sum += len(rec.Data)
							n++
						}
					}
					if n != len(records) || sum == 0 {
						b.Fatal(n)
					}
				}
			})
		})
	}
}

// BenchmarkFind reads one record at a random index, from a cache that holds a quarter of
// the segment.
func BenchmarkFind(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("block=%dKiB", size>>10), func(b *testing.B) {
			records := benchRecords("json", 32<<10)
			var out bytes.Buffer
			info := benchSegment(b, &Writer{}, &out, Config{Name: testName(), BlockSize: size}, records)
			src := store(b, SourceConfig{Bucket: mem.New(mem.Config{}), Cache: 8 << 20}, out.Bytes(), info)
			rng := rand.New(rand.NewPCG(5, 5))
			ctx := context.Background()
			b.ReportMetric(float64(info.Size)/float64(info.Raw), "stored/raw")
			for b.Loop() {
				i := rng.IntN(len(records))
				r, err := src.Open(ctx, info.Name.Key(), info.Size)
				must(b, err)
				k, _ := r.Find(uint32(i/(len(records)/8)), uint64(i))
				bl, err := r.Block(ctx, k)
				must(b, err)
				if bl.At(bl.Find(uint64(i))).Index != uint64(i) {
					b.Fatal(i)
				}
			}
		})
	}
}
