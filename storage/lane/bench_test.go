package lane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/internal/host"
	"penstock/internal/repotest"
	"penstock/storage"
)

// benchDir is a directory on the disk that holds the repository: /tmp may be memory.
func benchDir(b *testing.B) string {
	b.Helper()
	dir := filepath.Join(repotest.Root(b), "test-output", fmt.Sprintf("lane-bench-%d", os.Getpid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}

// benchTime is how long each measurement of a pair takes.
const benchTime = 400 * time.Millisecond

// rawRate writes and syncs batches of size bytes to a preallocated file and returns
// batches a second: the limit for a lane whose commits have that size.
func rawRate(b *testing.B, dir string, size int) float64 {
	b.Helper()
	h, err := host.OS{}.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	const room = 256 << 20
	if err := h.Allocate(room); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, size)
	n, off, began := 0, int64(0), time.Now()
	for time.Since(began) < benchTime {
		if off+int64(size) > room {
			off = 0
		}
		if _, err := h.WriteAt(data, off); err != nil {
			b.Fatal(err)
		}
		if err := h.Sync(); err != nil {
			b.Fatal(err)
		}
		off += int64(size)
		n++
	}
	took := time.Since(began)
	if err := errors.Join(h.Close(), os.Remove(filepath.Join(dir, "raw"))); err != nil {
		b.Fatal(err)
	}
	return float64(n) / took.Seconds()
}

// bench measures writers that each put an entry of size bytes and wait for it, beside raw
// writes of the same batches, in turn, and reports the medians.
func bench(b *testing.B, writers, size, records int) {
	ctx, stop := context.WithCancel(b.Context())
	dir := benchDir(b)
	f, err := Open(ctx, Config{Dir: filepath.Join(dir, "lane")})
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Fence(ctx, 1); err != nil {
		b.Fatal(err)
	}
	var committed, commits atomic.Int64
	w := NewWriter(f, 1, WriterConfig{Committed: func(c *Commit) { committed.Add(int64(len(c.Body))); commits.Add(1) }})
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	load(b, w, writers, size, benchTime) // the first files are small
	var rates, raws, ratios []float64
	for b.Loop() {
		committed.Store(0)
		commits.Store(0)
		before := trimmed(b, f)
		rate := load(b, w, writers, size, benchTime)
		_ = before
		batch := int(committed.Load() / max(commits.Load(), 1))
		raw := rawRate(b, dir, batch) * float64(batch) / float64(size)
		rates, raws, ratios = append(rates, rate), append(raws, raw), append(ratios, rate/raw)
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(median(rates)*float64(records), "records/s")
	b.ReportMetric(median(raws)*float64(records), "raw-records/s")
	b.ReportMetric(median(ratios), "of-raw")
	b.ReportMetric(float64(committed.Load())/float64(max(commits.Load(), 1))/float64(size), "puts/commit")
	b.ReportMetric(0, "ns/op")
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

// trimmed lets the lane forget all but its newest file.
func trimmed(b *testing.B, f *Files) storage.LSN {
	b.Helper()
	_, next := f.Bounds()
	if err := f.Trim(b.Context(), next); err != nil {
		b.Fatal(err)
	}
	return next
}

// load runs the writers and returns puts a second.
func load(b *testing.B, w *Writer, writers, size int, d time.Duration) float64 {
	b.Helper()
	var (
		wg   sync.WaitGroup
		n    atomic.Int64
		stop atomic.Bool
	)
	began := time.Now()
	for range writers {
		wg.Go(func() {
			data, done := make([]byte, size), 0
			for !stop.Load() {
				t, err := w.Put(context.Background(), 0, data)
				if err == nil {
					_, err = t.Wait(context.Background())
				}
				if err != nil {
					b.Error(err)
					return
				}
				done++
			}
			n.Add(int64(done))
		})
	}
	time.Sleep(d)
	stop.Store(true)
	wg.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

// BenchmarkRecords: each writer has one record of 1 KiB under way.
func BenchmarkRecords(b *testing.B) {
	for _, writers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { bench(b, writers, 1024, 1) })
	}
}

// BenchmarkBatches: each writer has 500 records of 1 KiB under way as one entry, as one
// PutRecords is.
func BenchmarkBatches(b *testing.B) {
	for _, writers := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { bench(b, writers, 500*1024, 500) })
	}
}
