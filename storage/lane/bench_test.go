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
const benchTime = 200 * time.Millisecond

// rawRate writes and syncs batches of size bytes, one behind the other, to a file and
// returns batches a second. The file's blocks are reserved, or written before.
func rawRate(b *testing.B, dir string, size int, written bool) float64 {
	b.Helper()
	h, err := host.OS{}.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	const room = 128 << 20
	if err := h.Allocate(room); err != nil {
		b.Fatal(err)
	}
	if written {
		if err := zero(h, 0, room); err != nil {
			b.Fatal(err)
		}
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

// benchFile is the size of the lane's files: a few are filled before anything is measured.
const benchFile = 64 << 20

// warm brings f to where a lane is that trims what it has written: its files have their
// full size and are used again.
func warm(b *testing.B, f *Files) {
	b.Helper()
	body := [][]byte{make([]byte, 2<<20)}
	for f.files == nil || f.files[len(f.files)-1].first == 1 || f.files[len(f.files)-2].size < benchFile {
		if _, err := f.Append(b.Context(), 1, time.Unix(1, 0), 1, body); err != nil {
			b.Fatal(err)
		}
	}
	_, next := f.Bounds()
	if err := f.Trim(b.Context(), next); err != nil {
		b.Fatal(err)
	}
}

// bench measures writers that each put an entry of size bytes and wait for it, beside raw
// writes of the same batches, in turn, and reports the medians.
func bench(b *testing.B, writers, size, records int) {
	ctx, stop := context.WithCancel(b.Context())
	dir := benchDir(b)
	f, err := Open(ctx, Config{Dir: filepath.Join(dir, "lane"), FileSize: benchFile})
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Fence(ctx, 1); err != nil {
		b.Fatal(err)
	}
	warm(b, f)
	var committed, commits atomic.Int64
	w := NewWriter(f, 1, WriterConfig{Committed: func(c *Commit) { committed.Add(int64(len(c.Body))); commits.Add(1) }})
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	load(b, w, writers, size, benchTime)
	var rates, raws, ratios []float64
	var all []time.Duration
	for b.Loop() {
		committed.Store(0)
		commits.Store(0)
		_, next := f.Bounds()
		if err := f.Trim(b.Context(), next); err != nil {
			b.Fatal(err)
		}
		rate, waits := load(b, w, writers, size, benchTime)
		all = append(all, waits...)
		batch := int(committed.Load() / max(commits.Load(), 1))
		raw := rawRate(b, dir, batch, false) * float64(batch) / float64(size)
		rates, raws, ratios = append(rates, rate), append(raws, raw), append(ratios, rate/raw)
	}
	b.ReportMetric(median(rates)*float64(records), "records/s")
	b.ReportMetric(median(raws)*float64(records), "raw-records/s")
	b.ReportMetric(median(ratios), "of-raw")
	b.ReportMetric(float64(committed.Load())/float64(max(commits.Load(), 1))/float64(size), "puts/commit")
	slices.Sort(all)
	b.ReportMetric(all[len(all)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(all[len(all)*99/100].Seconds()*1e3, "p99-ms")
	b.ReportMetric(0, "ns/op")
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// load runs the writers and returns puts a second, and how long each waited.
func load(b *testing.B, w *Writer, writers, size int, d time.Duration) (rate float64, waits []time.Duration) {
	b.Helper()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		stop atomic.Bool
	)
	began := time.Now()
	for range writers {
		wg.Go(func() {
			data, mine := make([]byte, size), make([]time.Duration, 0, 1<<14)
			for !stop.Load() {
				put := time.Now()
				t, err := w.Put(context.Background(), 0, data)
				if err == nil {
					_, err = t.Wait(context.Background())
				}
				if err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(put))
			}
			mu.Lock()
			waits = append(waits, mine...)
			mu.Unlock()
		})
	}
	time.Sleep(d)
	stop.Store(true)
	wg.Wait()
	return float64(len(waits)) / time.Since(began).Seconds(), waits
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

// BenchmarkCommitInto shows why files are written before they are used: commits a second
// of the same size into blocks that are only reserved, and into written ones, in turn.
func BenchmarkCommitInto(b *testing.B) {
	for _, size := range []int{pageSize, 64 << 10, 512 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			dir := benchDir(b)
			var reserved, written []float64
			for b.Loop() {
				reserved = append(reserved, rawRate(b, dir, size, false))
				written = append(written, rawRate(b, dir, size, true))
			}
			b.ReportMetric(median(reserved), "reserved-commits/s")
			b.ReportMetric(median(written), "written-commits/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkReplay reads a lane of 256 MiB from the page cache, every checksum checked,
// after a restart; B/s is of bodies.
func BenchmarkReplay(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 512 << 10} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			dir := benchDir(b)
			const total = 256 << 20
			fillLane(b, dir, size, total)
			f := open(b, Config{Dir: dir})
			b.SetBytes(total)
			for b.Loop() {
				n := 0
				for batch, err := range f.Replay(b.Context(), 1) {
					if err != nil {
						b.Fatal(err)
					}
					n += len(batch.Body)
				}
				if n != total {
					b.Fatalf("%d bytes of %d", n, total)
				}
			}
		})
	}
}

// BenchmarkOpen recovers a lane whose newest file is full of batches.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			dir := benchDir(b)
			fillLane(b, dir, size, 250<<20/max(1, pageSize/size))
			for b.Loop() {
				f, err := Open(b.Context(), Config{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				closeLane(b, f)
			}
		})
	}
}

// noSync is the machine's file system without its syncs, to fill a lane quickly.
type noSync struct{ host.OS }

type noSyncFile struct{ host.File }

// Sync does nothing.
func (noSyncFile) Sync() error { return nil }

// OpenFile opens a file that does not sync.
func (n noSync) OpenFile(name string, flag int, perm os.FileMode) (host.File, error) {
	h, err := n.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return noSyncFile{h}, nil
}

// fillLane makes a lane that holds total bytes in batches of size.
func fillLane(b *testing.B, dir string, size, total int) {
	b.Helper()
	f := open(b, Config{Dir: dir, FS: noSync{}})
	if err := f.Fence(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7)
	}
	for range total / size {
		if _, err := f.Append(b.Context(), 1, time.Unix(1, 0), 1, [][]byte{body}); err != nil {
			b.Fatal(err)
		}
	}
	closeLane(b, f)
}
