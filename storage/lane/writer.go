package lane

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// The limits of a Writer.
const (
	// MaxEntry is how large one entry may be: a little more than the largest request of
	// the Kinesis wire.
	MaxEntry = 16 << 20
	// maxMaxBatch keeps a batch and the entry that overflows it within MaxBody.
	maxMaxBatch = MaxBody - MaxEntry
	// defaultMaxBatch bounds how long a commit takes, and so how long the next waits.
	defaultMaxBatch = 4 << 20
	// defaultMaxPending is four full batches: enough that the disk never waits for Put.
	defaultMaxPending = 16 << 20
)

// WriterConfig of a Writer. The zero value is fit for use.
type WriterConfig struct {
	MaxBatch   int                   // bytes of entries after which a batch is full; 0: 4 MiB; at most 48 MiB
	MaxPending int                   // bytes that wait for or are in a commit before Put waits; 0: 16 MiB
	Committed  func(*Commit)         // called for each commit, see Commit; may be nil
	Clock      host.Clock            // stamps the batches; nil: host.System
	Name       string                // the label "lane"; "": "0"
	Registerer prometheus.Registerer // nil: measured for nobody
}

// Commit is a batch that is durable, as the hook WriterConfig.Committed gets it: on the
// goroutine of Run, in order of LSN, before those who wait for it wake. The hook should
// be quick, for nothing is committed meanwhile.
type Commit struct {
	LSN  storage.LSN
	Wall time.Time // to the millisecond, UTC
	// Body holds the entries one behind the other. It never changes and may be kept.
	// Bodies that follow each other share an allocation, of 1 MiB or of two of them when
	// that is more, which is free when the last of them is.
	Body []byte
	// Entries are in the order in which they were put. Valid during the call only.
	Entries []Placed
}

// Placed is where an entry came to lie.
type Placed struct {
	Tag      uint64 // as given to Put
	Off, Len int    // in the Body
}

// summedAppender is a lane that takes the body's checksum ready made.
type summedAppender interface {
	appendSummed(ctx context.Context, epoch uint64, wall time.Time, entries int, body [][]byte, crc uint32) (storage.LSN, error)
}

// Writer is group commit on a Lane. NewWriter makes it and Run does the work. Put may be
// called at once.
type Writer struct {
	lane  storage.Lane
	epoch uint64
	cfg   WriterConfig
	kick  chan struct{} // something is pending

	mu      sync.Mutex
	gather  gatherer
	full    []*batch      // wait to be committed, oldest first; the gatherer's comes after them
	pending int           // bytes that are put and not committed
	room    chan struct{} // closed when there is room again; nil: nobody waits
	refusal error         // what Put answers once Run has ended
}

// NewWriter returns a Writer that appends to l under epoch, which Fence was told before.
func NewWriter(l storage.Lane, epoch uint64, c WriterConfig) *Writer {
	if c.MaxBatch <= 0 {
		c.MaxBatch = defaultMaxBatch
	}
	c.MaxBatch = min(c.MaxBatch, maxMaxBatch)
	if c.MaxPending <= 0 {
		c.MaxPending = defaultMaxPending
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Name = cmp.Or(c.Name, "0")
	w := &Writer{lane: l, epoch: epoch, cfg: c, kick: make(chan struct{}, 1)}
	if c.Registerer != nil {
		c.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_lane_pending_bytes", ConstLabels: prometheus.Labels{"lane": c.Name},
			Help: "Bytes of entries that wait for or are in a commit.",
		}, func() float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return float64(w.pending)
		}))
	}
	return w
}

// Put copies parts, as one entry, behind what was put before: the order of the calls is
// the order in the lane. It waits while MaxPending bytes are pending, until ctx ends. The
// parts may be used again when it returns. A caller that holds a lock of its own around
// it makes its numbering and the lane's order agree.
//
// fault.Invalid: nothing in it, or more than MaxEntry. fault.Unavailable: Run has ended.
// After a failure of the lane: that failure.
func (w *Writer) Put(ctx context.Context, tag uint64, parts ...[]byte) (Ticket, error) {
	var n int
	for _, p := range parts {
		n += len(p)
	}
	if n == 0 || n > MaxEntry {
		return Ticket{}, fault.New(fault.Invalid, "put entry", "", fmt.Sprintf("%d bytes", n))
	}
	w.mu.Lock()
	for w.pending >= w.cfg.MaxPending && w.refusal == nil {
		if err := w.wait(ctx); err != nil {
			return Ticket{}, err
		}
	}
	if w.refusal != nil {
		defer w.mu.Unlock()
		return Ticket{}, w.refusal
	}
	if b := w.gather.b; b != nil && len(b.body)+n > w.cfg.MaxBatch {
		w.full = append(w.full, w.gather.take())
	}
	first := w.gather.b == nil
	out := w.gather.add(tag, n, parts)
	w.pending += n
	w.mu.Unlock()
	if first {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
	return Ticket{out}, nil
}

// wait lets go of w.mu until there may be room, and has it again when it returns nil.
func (w *Writer) wait(ctx context.Context) error {
	if w.room == nil {
		w.room = make(chan struct{})
	}
	room := w.room
	w.mu.Unlock()
	select {
	case <-room:
		w.mu.Lock()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run commits what is put until ctx ends; then it refuses what comes with
// fault.Unavailable, commits what is pending and returns nil. It returns the first
// failure of the lane, which everyone who waits gets too. When the lane answers
// fault.Unavailable, which means that it stored nothing and is not broken, everything
// that is pending fails with that, and Run goes on. It is called once.
func (w *Writer) Run(ctx context.Context) error {
	lasting := context.WithoutCancel(ctx)
	for {
		b := w.next()
		if b != nil {
			if err := w.commit(lasting, b); err != nil {
				return err
			}
			// Those who were just woken put what comes next before it is taken.
			runtime.Gosched()
			continue
		}
		if w.ended() {
			return nil
		}
		select {
		case <-w.kick:
		case <-ctx.Done():
			w.refuse(fault.New(fault.Unavailable, "put entry", "", "the server is stopping"))
		}
	}
}

// next takes the oldest batch, or nil.
func (w *Writer) next() *batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.full) > 0 {
		b := w.full[0]
		w.full[0] = nil
		w.full = w.full[1:]
		return b
	}
	return w.gather.take()
}

func (w *Writer) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refusal != nil
}

// refuse makes Put answer err from now on.
func (w *Writer) refuse(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refusal = err
	w.wake()
}

// wake tells those who wait for room. w.mu is held.
func (w *Writer) wake() {
	if w.room != nil {
		close(w.room)
		w.room = nil
	}
}

// commit makes b durable and tells everyone. Its error ends Run.
func (w *Writer) commit(ctx context.Context, b *batch) error {
	wall := time.UnixMilli(w.cfg.Clock.Now().UnixMilli()).UTC()
	lsn, err := w.append(ctx, wall, b)
	if err != nil {
		return w.failed(b, err)
	}
	if w.cfg.Committed != nil {
		w.cfg.Committed(&Commit{LSN: lsn, Wall: wall, Body: b.body[:len(b.body):len(b.body)], Entries: b.entries})
	}
	w.mu.Lock()
	w.pending -= len(b.body)
	w.gather.reuse(b)
	if w.pending < w.cfg.MaxPending {
		w.wake()
	}
	w.mu.Unlock()
	b.out.finish(lsn, nil)
	return nil
}

func (w *Writer) append(ctx context.Context, wall time.Time, b *batch) (storage.LSN, error) {
	body := [][]byte{b.body}
	if s, ok := w.lane.(summedAppender); ok {
		return s.appendSummed(ctx, w.epoch, wall, len(b.entries), body, b.crc)
	}
	return w.lane.Append(ctx, w.epoch, wall, len(b.entries), body)
}

// failed tells everyone who waits that b was not stored, and nothing behind it is. It
// returns err when the lane can do no more.
func (w *Writer) failed(b *batch, err error) error {
	w.mu.Lock()
	all := append([]*batch{b}, w.full...)
	if open := w.gather.take(); open != nil {
		all = append(all, open)
	}
	w.full, w.pending = nil, 0
	over := !fault.Is(err, fault.Unavailable)
	if over && w.refusal == nil {
		w.refusal = err
	}
	w.wake()
	for _, b := range all {
		b.out.finish(0, err) // under w.mu: who puts behind it sees that its entries before failed
	}
	w.mu.Unlock()
	if over {
		return err
	}
	return nil
}

// Ticket stands for an entry that was put. The zero Ticket is none. It may be waited for
// by many and any number of times.
type Ticket struct{ out *outcome }

// Wait returns the number of the batch that holds the entry, once that is durable. When
// ctx ends first the entry may yet become durable. Any other error: the lane's failure,
// and nobody knows before the recovery whether the entry is stored; fault.Unavailable:
// it is not.
func (t Ticket) Wait(ctx context.Context) (storage.LSN, error) {
	if t.out == nil {
		return 0, fault.New(fault.Invalid, "wait for entry", "", "no ticket")
	}
	select {
	case <-t.out.done:
		return t.out.lsn, t.out.err
	default:
	}
	select {
	case <-t.out.done:
		return t.out.lsn, t.out.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// outcome is what becomes of a batch, shared by its tickets.
type outcome struct {
	done chan struct{} // closed when the two below are set
	lsn  storage.LSN
	err  error
}

func (o *outcome) finish(lsn storage.LSN, err error) {
	o.lsn, o.err = lsn, err
	close(o.done)
}
