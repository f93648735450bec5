package fragments

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a Store's counters; they work without a registry too.
type metrics struct {
	bytes     prometheus.Counter
	fragments prometheus.Counter
	lost      *prometheus.CounterVec
	lostBytes *prometheus.CounterVec
	sync      prometheus.Histogram
	write     prometheus.Histogram
	persist   prometheus.Histogram
	upload    prometheus.Histogram
	failures  *prometheus.CounterVec
	deleted   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Store) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_fragments_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_fragments_" + name, Help: help}, []string{label})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "penstock_fragments_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 13)})
	}
	m := &metrics{
		bytes:     counter("stored_bytes_total", "Bytes of media that became durable."),
		fragments: counter("stored_total", "Fragments that became durable."),
		lost:      vec("lost_total", "Fragments that were not stored, by reason.", "reason"),
		lostBytes: vec("lost_bytes_total", "Bytes of media that were not stored, by reason.", "reason"),
		sync:      histogram("sync_seconds", "How long a chunk file's sync took."),
		write:     histogram("write_seconds", "How long one write to a chunk file took."),
		persist:   histogram("persist_seconds", "From a fragment's arrival in the log until it was durable."),
		upload:    histogram("upload_seconds", "How long it took to hand a sealed chunk to the bucket."),
		failures:  vec("failures_total", "Failed writes, syncs, seals and uploads, by step.", "step"),
		deleted:   counter("deleted_objects_total", "Objects deleted by retention or because the disk was full."),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, v func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_fragments_" + name, Help: help},
			func() float64 { return v(s.Status()) })
	}
	reg.MustRegister(m.bytes, m.fragments, m.lost, m.lostBytes, m.sync, m.write, m.persist, m.upload, m.failures, m.deleted,
		gauge("backlog_bytes", "Bytes of media that are not yet durable.", func(s Status) float64 { return float64(s.Backlog) }),
		gauge("budget_bytes", "The bound on the backlog.", func(s Status) float64 { return float64(s.Budget) }),
		gauge("spool_bytes", "Bytes of sealed chunks that wait for the bucket.", func(s Status) float64 { return float64(s.Spool) }),
		gauge("chunk_bytes", "Bytes of all stored chunks.", func(s Status) float64 { return float64(s.Bytes) }),
		gauge("kept_bytes", "Bytes of stored chunks that only a keep holds.", func(s Status) float64 { return float64(s.Kept) }),
		gauge("disk_full", "1 while the disk is full.", func(s Status) float64 {
			if s.FullSince.IsZero() {
				return 0
			}
			return 1
		}))
	return m
}

func (m *metrics) observe(h prometheus.Histogram, d time.Duration) { h.Observe(d.Seconds()) }

func (m *metrics) lose(reason string, fragments int, bytes int64) {
	m.lost.WithLabelValues(reason).Add(float64(fragments))
	m.lostBytes.WithLabelValues(reason).Add(float64(bytes))
}
