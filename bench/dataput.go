package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	recordSize = 1024
	batchMax   = 4 << 20 // what one commit of a lane takes
	// variety is how many different bodies are sent in turn.
	variety = 8
)

type entry struct {
	Data         []byte
	PartitionKey string
}

type putRecords struct {
	StreamName string
	Records    []entry
}

type putRecord struct {
	StreamName   string
	Data         []byte
	PartitionKey string
}

// entries are records that do not compress, of keys all over the hash space.
func entries(rng *rand.ChaCha8, n int) []entry {
	out := make([]entry, n)
	for i := range out {
		out[i] = entry{make([]byte, recordSize), fmt.Sprintf("device-%016x", rng.Uint64())}
		_, _ = rng.Read(out[i].Data)
	}
	return out
}

// putLoad is what puts: connections that each have one request under way.
type putLoad struct {
	conns, batch int // 1: PutRecord
	codec        codec
}

func (l putLoad) String() string {
	what := "PutRecord"
	if l.batch > 1 {
		what = fmt.Sprintf("PutRecords x %d", l.batch)
	}
	if l.conns == 1 {
		return fmt.Sprintf("%s, %s, 1 connection", what, l.codec.name)
	}
	return fmt.Sprintf("%s, %s, %d connections", what, l.codec.name, l.conns)
}

func (l putLoad) op() string {
	if l.batch > 1 {
		return "PutRecords"
	}
	return "PutRecord"
}

func (l putLoad) bodies(stream string) ([]body, error) {
	var seed [32]byte
	_, _ = crand.Read(seed[:])
	rng := rand.NewChaCha8(seed)
	out := make([]body, variety)
	for i := range out {
		records := entries(rng, l.batch)
		var request any = putRecords{stream, records}
		if l.batch == 1 {
			request = putRecord{stream, records[0].Data, records[0].PartitionKey}
		}
		var err error
		if out[i], err = newBody(l.codec, request); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tally is what happened in a window.
type tally struct {
	records   int
	seconds   float64
	waits     []time.Duration // of the requests
	sent      int64           // bytes
	refused   int             // records
	first     error           // why the first was refused
	cpu       float64         // s, of the server
	rss, peak float64         // MB, of the server
	generator float64         // cores, of this process
	others    float64         // cores, of who else uses the machine; of all that ran, when the server's process is not known
}

func (r *tally) rate() float64 {
	if r.seconds == 0 {
		return 0
	}
	return float64(r.records) / r.seconds
}

// quantile of the waits, in ms.
func (r *tally) quantile(q float64) float64 {
	if len(r.waits) == 0 {
		return 0
	}
	slices.Sort(r.waits)
	return float64(r.waits[int(q*float64(len(r.waits)-1))]) / 1e6
}

// detail is what else is said of a window.
func (r *tally) detail() map[string]float64 {
	d := map[string]float64{"p50 ms": r.quantile(0.5), "p99 ms": r.quantile(0.99), "MB/s": r.rate() * recordSize / 1e6, "generator cores": r.generator, "others' cores": r.others}
	if r.peak > 0 && r.records > 0 {
		d["CPU µs/record"], d["RSS MB"], d["peak MB"] = r.cpu*1e6/float64(r.records), r.rss, r.peak
	}
	if r.records > 0 && r.sent > 0 {
		d["bytes sent/record"] = float64(r.sent) / float64(r.records)
	}
	if r.refused > 0 {
		d["refused"] = float64(r.refused)
	}
	for k, v := range d {
		d[k] = rounded(v)
	}
	return d
}

// rounded keeps three digits.
func rounded(v float64) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	return math.Round(v/unit) * unit
}

// ownCPU is the processor time of this process, in s.
func ownCPU() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// warmUp is put before each window.
const warmUp = 500 * time.Millisecond

// window measures what work does between start and stop. Each of the n workers has a
// connection and a tally of its own; a request counts when its answer came in the window.
func (e *endpoint) window(ctx context.Context, d time.Duration, n int, work func(c *conn, r *tally, i int, start, stop time.Time) error) (*tally, error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	start := time.Now().Add(warmUp)
	stop := start.Add(d)
	runs, errs := make([]tally, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c, err := e.dial(ctx)
			if err == nil {
				err = work(c, &runs[i], i, start, stop)
			}
			if errs[i] = err; err != nil {
				end()
			}
		})
	}
	var from, to counters
	var err error
	sleep(ctx, time.Until(start))
	own, busy, began := ownCPU(), machineCPU(), time.Now()
	if e.pid != 0 {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", e.pid), []byte("5"), 0) // the peak begins anew, where that is allowed
		from, err = read(e.pid)
	}
	sleep(ctx, time.Until(stop))
	r := &tally{seconds: time.Since(began).Seconds()}
	r.generator, busy = (ownCPU()-own)/r.seconds, machineCPU()-busy
	if e.pid != 0 && err == nil {
		to, err = read(e.pid)
	}
	all.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	r.cpu, r.rss, r.peak = (to.cpu - from.cpu).Seconds(), float64(to.rss)/1e6, float64(to.rssPeak)/1e6
	r.others = max(0, (busy-r.cpu)/r.seconds-r.generator)
	for i := range runs {
		one := &runs[i]
		r.records, r.refused, r.sent, r.waits = r.records+one.records, r.refused+one.refused, r.sent+one.sent, append(r.waits, one.waits...)
		if r.first == nil {
			r.first = one.first
		}
	}
	return r, nil
}

// put measures one load on a stream of its own, of four shards.
func (e *endpoint) put(ctx context.Context, l putLoad, d time.Duration) (*tally, error) {
	stream := fmt.Sprintf("put-%s-%d-%d", l.codec.name, l.batch, l.conns)
	if _, err := e.createStream(ctx, stream, 4); err != nil {
		return nil, err
	}
	r, err := e.putTo(ctx, stream, l, d)
	return r, errors.Join(err, e.deleteStream(ctx, stream))
}

func (e *endpoint) putTo(ctx context.Context, stream string, l putLoad, d time.Duration) (*tally, error) {
	bodies, err := l.bodies(stream)
	if err != nil {
		return nil, err
	}
	return e.window(ctx, d, l.conns, func(c *conn, r *tally, i int, start, stop time.Time) error {
		for n := i; time.Now().Before(stop); n++ {
			began, sent := time.Now(), c.sent
			status, err := c.call(l.op(), l.codec.contentType, bodies[n%variety])
			now := time.Now()
			if err != nil {
				return fmt.Errorf("%s: %w", l, err)
			}
			if now.Before(start) || now.After(stop) {
				continue
			}
			refused := failed(c.answer, l.codec)
			if status != http.StatusOK {
				refused = l.batch
			}
			if r.refused += refused; refused > 0 && r.first == nil {
				r.first = fmt.Errorf("%d %.200q", status, c.answer)
			}
			r.records += l.batch - refused
			r.sent += c.sent - sent
			r.waits = append(r.waits, now.Sub(began))
		}
		return nil
	})
}

// rawDisk writes and syncs a file, one piece behind the other: the most that anything
// durable can do on this disk.
type rawDisk struct{ f *os.File }

const rawRoom = 128 << 20

func openRaw(dir string) (*rawDisk, error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		return nil, err
	}
	piece := make([]byte, batchMax)
	for off := int64(0); off < rawRoom; off += batchMax {
		if _, err := f.WriteAt(piece, off); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &rawDisk{f}, f.Sync()
}

// rate is records a second when pieces of size bytes are written.
func (d *rawDisk) rate(size int, window time.Duration) (float64, error) {
	size = min(size, batchMax)
	piece := make([]byte, size)
	_, _ = crand.Read(piece)
	n, off, began := 0, int64(0), time.Now()
	for time.Since(began) < window {
		if off+int64(size) > rawRoom {
			off = 0
		}
		if _, err := d.f.WriteAt(piece, off); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(d.f.Fd())); err != nil {
			return 0, err
		}
		off += int64(size)
		n++
	}
	return float64(n) * float64(size) / recordSize / time.Since(began).Seconds(), nil
}

func (d *rawDisk) close() error { return errors.Join(d.f.Close(), os.Remove(d.f.Name())) }
