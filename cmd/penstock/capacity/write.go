package capacity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"penstock/fragments"
	"penstock/internal/loadgen"
	"penstock/internal/testcam"
	"penstock/media"
	"penstock/storage/disk"
	"penstock/storage/lane"
	"penstock/storage/meta"
)

const (
	recordSize   = loadgen.DefaultRecord
	batchRecords = 500
	// laneFile is the size of the lane's files: they are filled before they are used, so
	// not as large as a server's, which does so while nobody waits.
	laneFile = 32 << 20
)

// alone puts records of which each is one put, as many at once as busy clients do.
func (d *diskRun) alone(ctx context.Context) error {
	s, err := d.lane(ctx, "records of 1 KiB, 64 at once", 64, recordSize)
	d.out.Alone = s.Writes
	return err
}

// batches puts 500 records at once.
func (d *diskRun) batches(ctx context.Context) error {
	s, err := d.lane(ctx, "batches of 500 records, 4 at once", 4, batchRecords*recordSize)
	d.out.Records = s.Writes * batchRecords
	return err
}

// lane measures writers that each put an entry of size bytes and wait for it.
func (d *diskRun) lane(ctx context.Context, name string, writers, size int) (s Step, err error) {
	d.c.Tell(name)
	files, err := lane.Open(ctx, lane.Config{Dir: filepath.Join(d.dir, fmt.Sprintf("lane-%d", size)), FS: d.c.FS, FileSize: laneFile, Logger: d.log})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	if err := files.Fence(ctx, 1); err != nil {
		return s, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var bytes, commits, sinceTrim atomic.Int64
	w := lane.NewWriter(files, 1, lane.WriterConfig{Committed: func(c *lane.Commit) {
		bytes.Add(int64(len(c.Body)))
		commits.Add(1)
		sinceTrim.Add(int64(len(c.Body)))
	}})
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	trim := func() error { // what is not needed any more is used again, as behind a sealer
		if sinceTrim.Load() < laneFile {
			return nil
		}
		sinceTrim.Store(0)
		_, next := files.Bounds()
		return files.Trim(ctx, next)
	}
	if _, err = d.fill(ctx, w, writers, size, d.part(partLane)/3, trim); err == nil { // until its files are there
		s, err = d.pairs(ctx, name, size, func() ([]time.Duration, error) {
			bytes.Store(0)
			commits.Store(0)
			return d.fill(ctx, w, writers, size, d.part(partLane)/laneRounds, trim)
		}, func() int { return int(bytes.Load() / max(1, commits.Load())) })
	}
	stop()
	if err := errors.Join(err, <-ran); err != nil {
		return s, err
	}
	d.out.Steps = append(d.out.Steps, s)
	return s, nil
}

// laneRounds is how often the lane and its floor are measured, in turn, as a disk that others
// use is not the same all the time.
const laneRounds = 2

// pairs measures in turn with the floor: raw writes of as much at once.
func (d *diskRun) pairs(ctx context.Context, name string, size int, fill func() ([]time.Duration, error), commit func() int) (s Step, err error) {
	var waits []time.Duration
	var took time.Duration
	var cores, floor float64
	for range laneRounds {
		own, began := loadgen.OwnCPU(), time.Now()
		more, err := fill()
		if err != nil {
			return s, err
		}
		took, waits, cores = took+time.Since(began), append(waits, more...), cores+loadgen.OwnCPU()-own
		if commit() == 0 {
			continue // it was over before one was durable
		}
		mb, err := d.floor(ctx, "", commit(), partFloor/laneRounds)
		if err != nil {
			return s, err
		}
		floor += mb / laneRounds
	}
	s = step(name, waits, took, float64(size), loadgen.OwnCPU()-cores)
	s.Floor = loadgen.Rounded(floor)
	return s, nil
}

// fill lets writers put until the time is over or so much is written that it is enough.
func (d *diskRun) fill(ctx context.Context, w *lane.Writer, writers, size int, window time.Duration, trim func() error) (waits []time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, window)
	defer stop()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		written atomic.Int64
	)
	for range writers {
		wg.Go(func() {
			var mine []time.Duration
			var broke error
			for ctx.Err() == nil && written.Add(int64(size)) < d.most && broke == nil {
				put := time.Now()
				t, err := w.Put(context.WithoutCancel(ctx), 0, data)
				if err == nil {
					_, err = t.Wait(context.WithoutCancel(ctx))
				}
				if err == nil {
					mine = append(mine, time.Since(put))
					err = trim()
				}
				if ctx.Err() == nil {
					broke = err
				}
			}
			mu.Lock()
			waits, err = append(waits, mine...), errors.Join(err, broke)
			mu.Unlock()
		})
	}
	wg.Wait()
	return waits, err
}

const (
	videoCameras  = 32
	videoFragment = 2 * time.Second
	// videoBacklog is how much of video waits for the disk at a time: a second of a disk
	// that takes 256 MB/s.
	videoBacklog = 256 << 20
	videoFrames  = 50
)

// video stores fragments of many cameras, all there are, as fast as they become durable.
func (d *diskRun) video(ctx context.Context) (err error) {
	name := fmt.Sprintf("video fragments of %d cameras", videoCameras)
	d.c.Tell(name)
	db, err := meta.Open(ctx, meta.Config{Path: filepath.Join(d.dir, "meta.db"), Reserve: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	bucket, err := disk.Open(ctx, disk.Config{FS: d.c.FS, Dir: filepath.Join(d.dir, "bucket")})
	if err != nil {
		return err
	}
	store, err := fragments.Open(ctx, fragments.Config{Dir: filepath.Join(d.dir, "open"), Bucket: bucket, Meta: db, FS: d.c.FS, Guarantee: -1})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- store.Run(running) }()
	s, err := d.append(ctx, name, store)
	stop()
	if err := errors.Join(err, <-ran); err != nil {
		return err
	}
	size := int(videoFragment.Seconds() * float64(d.c.Bitrate) / 8)
	if s.Floor, err = d.floor(ctx, "", size, partFloor); err != nil {
		return err
	}
	d.out.Steps = append(d.out.Steps, s)
	return nil
}

// append hands fragments to the store as long as it has room for them.
func (d *diskRun) append(ctx context.Context, name string, store *fragments.Store) (Step, error) {
	shared := film(d.c.Bitrate)
	var size int64
	for _, s := range shared.Samples {
		size += int64(len(s.Data))
	}
	var (
		mu    sync.Mutex
		waits []time.Duration
		lost  error
		last  time.Time
		wake  = make(chan struct{}, 1)
	)
	own, began := loadgen.OwnCPU(), time.Now()
	first := began.UTC().Add(-time.Hour)
	sent := 0
	for ; time.Since(began) < d.part(partVideo) && int64(sent)*size < d.most && ctx.Err() == nil; sent++ {
		f := *shared
		f.Start = first.Add(time.Duration(sent/videoCameras) * videoFragment)
		f.End = f.Start.Add(videoFragment)
		put := time.Now()
		err := store.Log(fmt.Sprintf("bench-%d", sent%videoCameras), nil).Append(&f, func(_ fragments.Head, err error) {
			mu.Lock()
			waits, lost, last = append(waits, time.Since(put)), errors.Join(lost, err), time.Now()
			mu.Unlock()
			select {
			case wake <- struct{}{}:
			default:
			}
		})
		if err != nil {
			return Step{}, err
		}
		for store.Status().Backlog > videoBacklog && ctx.Err() == nil {
			select {
			case <-wake:
			case <-ctx.Done():
			}
		}
	}
	for done := 0; done < sent && ctx.Err() == nil; {
		mu.Lock()
		done = len(waits)
		mu.Unlock()
		if done == sent {
			break
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return step(name, waits, last.Sub(began), float64(size), own), errors.Join(lost, ctx.Err())
}

// film is a fragment of video at a bit rate, whose bytes all cameras share.
func film(bitrate int) *fragments.Fragment {
	cam := testcam.New()
	f := &fragments.Fragment{
		Tracks: []media.Track{{ID: 1, Timescale: 90_000, Codec: &media.H264{SPS: cam.SPS(), PPS: cam.PPS()}}},
		Ends:   []int64{int64(videoFragment.Seconds() * 90_000)},
	}
	size := max(64, int(videoFragment.Seconds()*float64(bitrate)/8/videoFrames))
	for i := range videoFrames {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		f.Samples = append(f.Samples, media.Sample{Track: 1, DTS: int64(i) * 3600, Sync: i == 0, Data: data})
	}
	return f
}
