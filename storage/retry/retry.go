// Package retry wraps a storage.Bucket so that what can succeed later is tried again.
//
// It waits longer each time, at random within bounds, so that a thousand uploads do not
// come back as one. It knows which errors are final by their kind, resumes reads and
// lists where they broke off, and finds out whether a Put whose answer was lost had
// worked. No store holds a retry loop of its own.
package retry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// Config of a Bucket.
type Config struct {
	Bucket storage.Bucket // what is wrapped; required
	// Attempts bounds the tries of one call or, for reads and lists, those without
	// progress. 0: 10, about a minute and a half in all; < 0: until the context ends.
	Attempts int
	First    time.Duration // the wait after the first failure; 0: 250 ms
	Max      time.Duration // what doubling the wait leads to; 0: 30 s
	Clock    host.Clock    // nil: host.System
	// Jitter returns a number in [0, 1): a wait is between half of its length and all of
	// it. It is called at once by many. nil: math/rand/v2.
	Jitter func() float64
	// Notify, if not nil, hears of each failure before the wait. It must not block.
	Notify     func(Failure)
	Registerer prometheus.Registerer // nil: no metrics
}

// Failure is one try that failed and will be repeated.
type Failure struct {
	Op      string // "put", "get", "list", "delete"
	Key     string // the key or prefix; of a delete the first
	Attempt int    // 1 for the first
	Wait    time.Duration
	Err     error
}

// Bucket is a storage.Wrapper. Its methods may be called at once.
type Bucket struct {
	cfg     Config
	retries atomic.Int64
	counter *prometheus.CounterVec
}

var _ storage.Wrapper = (*Bucket)(nil)

// New wraps cfg.Bucket.
func New(cfg Config) *Bucket {
	cfg.Attempts = cmp.Or(cfg.Attempts, 10)
	cfg.First = cmp.Or(cfg.First, 250*time.Millisecond)
	cfg.Max = cmp.Or(cfg.Max, 30*time.Second)
	cfg.Clock = cmp.Or[host.Clock](cfg.Clock, host.System{})
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	b := &Bucket{cfg: cfg, counter: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_storage_retries_total", Help: "Storage operations that failed and were tried again.",
	}, []string{"op"})}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(b.counter)
	}
	return b
}

// Unwrap returns the wrapped Bucket.
func (b *Bucket) Unwrap() storage.Bucket { return b.cfg.Bucket }

// Retries counts the tries that failed and were repeated, over all calls.
func (b *Bucket) Retries() int64 { return b.retries.Load() }

// final reports whether the same call would only fail again. The time limits of net and
// net/http are context.DeadlineExceeded too: the caller's time is over when ctx says so.
func final(ctx context.Context, err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return true
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.InUse, fault.Denied, fault.Unauthentic, fault.Expired:
		return true
	}
	return false
}

// tries counts the attempts of one call.
type tries struct {
	b       *Bucket
	op, key string
	n       int
}

// again waits after err and returns nil when it is time to try again, else the answer.
func (t *tries) again(ctx context.Context, err error) error {
	t.n++
	if final(ctx, err) || t.b.cfg.Attempts > 0 && t.n >= t.b.cfg.Attempts {
		return err
	}
	if ctx.Err() != nil {
		return t.ended(ctx, err)
	}
	wait := t.b.wait(t.n)
	t.b.retries.Add(1)
	t.b.counter.WithLabelValues(t.op).Inc()
	if t.b.cfg.Notify != nil {
		t.b.cfg.Notify(Failure{Op: t.op, Key: t.key, Attempt: t.n, Wait: wait, Err: err})
	}
	timer := t.b.cfg.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return t.ended(ctx, err)
	}
}

// ended is the answer when the context ends the tries of which the last gave err.
func (t *tries) ended(ctx context.Context, err error) error {
	return fault.Wrap(fault.KindOf(err), t.op+" object", t.key, fmt.Errorf("%w after %d tries: %w", ctx.Err(), t.n, err))
}

// wait is how long to wait after the nth failure.
func (b *Bucket) wait(n int) time.Duration {
	d := b.cfg.Max
	if n < 32 && b.cfg.First<<(n-1)>>(n-1) == b.cfg.First {
		d = min(d, b.cfg.First<<(n-1))
	}
	return d/2 + time.Duration(b.cfg.Jitter()*float64(d-d/2))
}

// Put repeats until the object is stored. When a later try hears that the key exists it
// compares: an earlier one may have worked though its answer was lost.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	t := tries{b: b, op: "put", key: key}
	for {
		err := b.cfg.Bucket.Put(ctx, key, r, size)
		if fault.Is(err, fault.InUse) && t.n > 0 {
			same, cerr := storage.Same(ctx, b, key, r, size)
			if cerr != nil {
				return cerr
			}
			if same {
				return nil
			}
		}
		if err == nil {
			return nil
		}
		if err := t.again(ctx, err); err != nil {
			return err
		}
	}
}

// Delete repeats until all are gone.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	t := tries{b: b, op: "delete"}
	if len(keys) > 0 {
		t.key = keys[0]
	}
	for {
		err := b.cfg.Bucket.Delete(ctx, keys...)
		if err == nil {
			return nil
		}
		if err := t.again(ctx, err); err != nil {
			return err
		}
	}
}

// List goes on after the last key that was seen.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		t := tries{b: b, op: "list", key: prefix}
		for {
			var broke error
			for o, err := range b.cfg.Bucket.List(ctx, prefix, after) {
				if err != nil {
					broke = err
					break
				}
				after, t.n = o.Key, 0
				if !yield(o, nil) {
					return
				}
			}
			if broke == nil {
				return
			}
			if err := t.again(ctx, broke); err != nil {
				yield(storage.Object{}, err)
				return
			}
		}
	}
}

// Get returns a reader that opens the object again where it broke off; an object never
// changes.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, t: tries{b: b, op: "get", key: key}, off: off, n: n}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// reader belongs to one goroutine, as readers do.
type reader struct {
	ctx    context.Context
	t      tries
	off, n int64 // what is still to come
	body   io.ReadCloser
}

// open opens the rest of the object.
func (r *reader) open() error {
	for {
		body, err := r.t.b.cfg.Bucket.Get(r.ctx, r.t.key, r.off, r.n)
		if err == nil {
			r.body = body
			return nil
		}
		if err := r.t.again(r.ctx, err); err != nil {
			return err
		}
	}
}

// Read reads on, again from where it was after an error.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		if n > 0 {
			r.t.n = 0
			r.off += int64(n)
			if r.n > 0 {
				r.n -= int64(n)
			}
		}
		if err == nil || err == io.EOF || final(r.ctx, err) {
			return n, err
		}
		closed := r.body.Close()
		r.body = nil
		if n > 0 {
			return n, nil // the next Read goes on
		}
		if err := r.t.again(r.ctx, err); err != nil {
			return 0, errors.Join(err, closed)
		}
	}
}

// Close closes what is open.
func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
