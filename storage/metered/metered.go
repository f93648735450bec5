// Package metered wraps a storage.Bucket so that what it does can be seen: how long each
// operation took, how many bytes moved and what failed, by kind.
//
// Around storage/retry it measures what a caller waits; inside, what the store does.
package metered

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// Config of a Bucket.
type Config struct {
	Bucket     storage.Bucket        // what is wrapped; required
	Store      string                // the label "store", "disk" or "s3"; required when several are measured
	Clock      host.Clock            // nil: host.System
	Registerer prometheus.Registerer // nil: measured for nobody
}

// Bucket is a storage.Wrapper. Its methods may be called at once.
type Bucket struct {
	bucket  storage.Bucket
	clock   host.Clock
	seconds *prometheus.HistogramVec
	bytes   *prometheus.CounterVec
	errs    *prometheus.CounterVec
}

var _ storage.Wrapper = (*Bucket)(nil)

// New wraps cfg.Bucket. Two with one Store on one Registerer panic, as Prometheus says.
func New(cfg Config) *Bucket {
	cfg.Clock = cmp.Or[host.Clock](cfg.Clock, host.System{})
	store := prometheus.Labels{"store": cfg.Store}
	b := &Bucket{
		bucket: cfg.Bucket,
		clock:  cfg.Clock,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "penstock_storage_operation_seconds", ConstLabels: store,
			Help:    "Time of storage operations: of a get until the first byte can be read, of a list until its end.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 14), // to about 75 s
		}, []string{"op"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_storage_bytes_total", ConstLabels: store,
			Help: "Bytes of objects that were stored and read.",
		}, []string{"op"}),
		errs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_storage_errors_total", ConstLabels: store,
			Help: "Storage operations that failed, by what a caller can do about it.",
		}, []string{"op", "kind"}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(b.seconds, b.bytes, b.errs)
	}
	return b
}

// Unwrap returns the wrapped Bucket.
func (b *Bucket) Unwrap() storage.Bucket { return b.bucket }

// done notes the end of an operation that began at.
func (b *Bucket) done(op string, began time.Time, err error) {
	b.seconds.WithLabelValues(op).Observe(b.clock.Now().Sub(began).Seconds())
	b.failed(op, err)
}

func (b *Bucket) failed(op string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		b.errs.WithLabelValues(op, "cancelled").Inc()
	default:
		b.errs.WithLabelValues(op, fault.KindOf(err).String()).Inc()
	}
}

// Put measures a Put.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	began := b.clock.Now()
	err := b.bucket.Put(ctx, key, r, size)
	b.done("put", began, err)
	if err == nil {
		b.bytes.WithLabelValues("put").Add(float64(size))
	}
	return err
}

// Get measures until the reader is there, and counts what is read from it.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	began := b.clock.Now()
	r, err := b.bucket.Get(ctx, key, off, n)
	b.done("get", began, err)
	if err != nil {
		return nil, err
	}
	return &reader{r: r, b: b, bytes: b.bytes.WithLabelValues("get")}, nil
}

type reader struct {
	r     io.ReadCloser
	b     *Bucket
	bytes prometheus.Counter
}

// Read counts.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.bytes.Add(float64(n))
	if err != nil && err != io.EOF {
		r.b.failed("get", err)
	}
	return n, err
}

// Close closes.
func (r *reader) Close() error { return r.r.Close() }

// List measures from the first step to the last, the caller's own time included.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		began := b.clock.Now()
		var last error
		defer func() { b.done("list", began, last) }()
		for o, err := range b.bucket.List(ctx, prefix, after) {
			last = err
			if !yield(o, err) {
				return
			}
		}
	}
}

// Delete measures a Delete.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	began := b.clock.Now()
	err := b.bucket.Delete(ctx, keys...)
	b.done("delete", began, err)
	return err
}
