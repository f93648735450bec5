package capacity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/loadgen"
	"penstock/internal/quantity"
)

// DiskConfig says which disk is measured, and how.
type DiskConfig struct {
	Dir      string        // a folder is made inside, and removed
	Duration time.Duration // of all measurements together, about
	Bitrate  int           // of a camera, bits/s
	FS       host.FS       // nil: host.OS
	// Tell, if not nil, hears what is measured next.
	Tell func(what string)
}

// diskMost bounds what one of the measurements writes, diskLeast is what must be free.
const (
	diskMost  = 1 << 30
	diskLeast = 256 << 20
)

// Step is one way to write.
type Step struct {
	Name    string  `json:"name"`
	MB      float64 `json:"mb_per_s"`
	Writes  float64 `json:"per_s"` // durable pieces a second: syncs, records, fragments
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Floor   float64 `json:"floor_mb_per_s,omitempty"` // raw writes and syncs of as much at once
	Cores   float64 `json:"cores"`                    // of this process
	Seconds float64 `json:"seconds"`
}

// DiskReport is what a disk carries.
type DiskReport struct {
	Steps   []Step  `json:"steps"`
	Records float64 `json:"records_per_s"` // durable ones of 1 KiB, in batches of 500
	Alone   float64 `json:"records_alone_per_s"`
	Cameras int     `json:"cameras"`
	Verdict Verdict `json:"-"`
}

// Disk measures. It leaves nothing behind.
func Disk(ctx context.Context, c DiskConfig) (r DiskReport, err error) {
	if c.FS == nil {
		c.FS = host.OS{}
	}
	if c.Tell == nil {
		c.Tell = func(string) {}
	}
	_, free, err := c.FS.Space(c.Dir)
	if err != nil {
		return r, fault.Wrap(fault.Internal, "measure the disk of", c.Dir, err)
	}
	most := min(free/8, diskMost)
	if most < diskLeast/8 {
		return r, fault.New(fault.Unavailable, "measure the disk of", c.Dir, "only "+quantity.Bytes(free)+" are free there").
			WithHint("make room for 256 MB, or name another disk with --data DIR")
	}
	dir, err := os.MkdirTemp(c.Dir, ".penstock-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &diskRun{c: c, dir: dir, most: most, log: slog.New(slog.DiscardHandler)}
	return d.run(ctx)
}

// diskRun is a run of Disk.
type diskRun struct {
	c    DiskConfig
	dir  string
	most int64
	log  *slog.Logger
	raw  *loadgen.RawDisk
	out  DiskReport
}

// The parts of the time that measurements get; the rest is for getting ready and for ending.
const (
	partSync  = 0.1
	partFloor = 0.08
	partLane  = 0.18
	partVideo = 0.3
)

func (d *diskRun) part(share float64) time.Duration {
	return time.Duration(share * float64(d.c.Duration))
}

func (d *diskRun) run(ctx context.Context) (r DiskReport, err error) {
	d.c.Tell("raw writes and syncs")
	if d.raw, err = loadgen.OpenRaw(d.c.FS, d.dir, min(128<<20, d.most)); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.raw.Close()) }()
	if _, err := d.floor(ctx, "write and sync 4 KiB", 4096, partSync); err != nil {
		return d.out, err
	}
	for _, step := range []func(context.Context) error{d.alone, d.batches, d.video} {
		if err := ctx.Err(); err != nil {
			return d.out, err
		}
		if err := step(ctx); err != nil {
			return d.out, err
		}
	}
	d.judge()
	return d.out, ctx.Err()
}

// floor measures raw writes and syncs, and lists them when they have a name.
func (d *diskRun) floor(ctx context.Context, name string, size int, share float64) (mb float64, err error) {
	own, began := loadgen.OwnCPU(), time.Now()
	waits, err := d.raw.Measure(ctx, size, d.part(share), d.most)
	if err != nil {
		return 0, fmt.Errorf("write and sync a file: %w", err)
	}
	s := step(name, waits, time.Since(began), float64(min(size, loadgen.RawPiece)), own)
	if name != "" {
		d.out.Steps = append(d.out.Steps, s)
	}
	return s.MB, nil
}

// step sums up waits for pieces of size bytes.
func step(name string, waits []time.Duration, took time.Duration, size, own float64) Step {
	sec := took.Seconds()
	if sec <= 0 {
		sec = 1e-9
	}
	rate := float64(len(waits)) / sec
	return Step{
		Name: name, MB: loadgen.Rounded(rate * size / 1e6), Writes: loadgen.Rounded(rate), Seconds: loadgen.Rounded(sec),
		P50: loadgen.Rounded(loadgen.Quantile(waits, 0.5)), P99: loadgen.Rounded(loadgen.Quantile(waits, 0.99)),
		Cores: loadgen.Rounded(max(0, loadgen.OwnCPU()-own) / sec),
	}
}

// judge names what bounds the fastest way of each kind.
func (d *diskRun) judge() {
	video := d.out.Steps[len(d.out.Steps)-1]
	if d.c.Bitrate > 0 {
		d.out.Cameras = Round(video.MB * 8e6 / float64(d.c.Bitrate))
	}
	var cores float64
	for _, s := range d.out.Steps[1:] {
		cores = max(cores, s.Cores)
	}
	of := float64(runtime.GOMAXPROCS(0))
	words := fmt.Sprintf("the disk's syncs: one takes %.3g ms, one in a hundred %.3g ms or more", d.out.Steps[0].P50, d.out.Steps[0].P99)
	d.out.Verdict = Judge([]Share{{CPU, cores / of, fmt.Sprintf("CPU: writing takes %.2g of %.0f cores", cores, of)}},
		Share{Sync, 1, words})
	if d.out.Verdict.Bound == Sync {
		d.out.Verdict.Used = 1
	}
}
