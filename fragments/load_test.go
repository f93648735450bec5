package fragments

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"penstock/media"
	"penstock/storage/disk"
)

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRecord stores fragments of 2 s on the real disk, every one synced: 3 Mb/s of
// video with sound from 100 cameras, and 60 kb/s from 1,000. It reports the processor
// time per stream and minute; the samples are made before.
func BenchmarkRecord(b *testing.B) {
	b.Run("100x3Mbps", func(b *testing.B) { benchRecord(b, 100, 14_500, 50, 86) })
	b.Run("1000x60kbps", func(b *testing.B) { benchRecord(b, 1000, 300, 50, 0) })
}

func benchRecord(b *testing.B, streams, size, video, audio int) {
	ctx := context.Background()
	dir := b.TempDir()
	bucket, err := disk.Open(ctx, disk.Config{Dir: filepath.Join(dir, "bucket")})
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b, nil, func(c *Config) { c.Dir, c.Bucket = filepath.Join(dir, "open"), bucket }).mustStart()
	rng := rand.New(rand.NewPCG(1, 1))
	var slab media.Slab
	pool := make([]*Fragment, 8)
	for i := range pool {
		f := &Fragment{Tracks: testTracks()}
		for k := range video + audio {
			s := media.Sample{Track: 1, DTS: int64(k) * 3600, Sync: k == 0, Data: slab.Alloc(size + rng.IntN(1000))}
			if k >= video {
				s = media.Sample{Track: 2, DTS: int64(k) * 320, Sync: true, Data: slab.Alloc(340)}
			}
			f.Samples = append(f.Samples, s)
		}
		f.Ends = []int64{180000, 16000}
		pool[i] = f
	}
	start := time.Now().UTC().Add(-24 * time.Hour)
	began := cpuTime()
	n := 0
	for b.Loop() {
		round := n / streams
		f := *pool[n%len(pool)]
		f.Start = start.Add(time.Duration(round) * 2 * time.Second)
		f.End = f.Start.Add(2 * time.Second)
		if err := r.s.Log(fmt.Sprintf("cam%d", n%streams), nil).Append(&f, nil); err != nil {
			b.Fatal(err)
		}
		n++
		for r.s.Status().Backlog > 64<<20 {
			time.Sleep(time.Millisecond)
		}
	}
	for r.s.Status().Backlog > 0 {
		time.Sleep(time.Millisecond)
	}
	used := cpuTime() - began
	b.ReportMetric(used.Seconds()/float64(n)*30, "cpu-s/stream-min")
}
