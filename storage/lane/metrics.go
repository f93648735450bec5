package lane

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of Files.
type metrics struct {
	seconds, bodies, entries prometheus.Histogram
	bytes, torn, damage      prometheus.Counter
	broken                   prometheus.Gauge
}

func newMetrics(name string) *metrics {
	label := prometheus.Labels{"lane": name}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: label, Buckets: buckets})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: label})
	}
	return &metrics{
		seconds: histogram("penstock_lane_commit_seconds", "Time to write and sync a batch.",
			prometheus.ExponentialBuckets(0.00005, 2, 18)), // to about 6.5 s
		bodies: histogram("penstock_lane_commit_bytes", "Bytes of entries in a batch.",
			prometheus.ExponentialBuckets(256, 4, 10)), // to 64 MiB
		entries: histogram("penstock_lane_commit_entries", "Entries in a batch.",
			prometheus.ExponentialBuckets(1, 2, 13)),
		bytes:  counter("penstock_lane_bytes_total", "Bytes of entries that were made durable."),
		torn:   counter("penstock_lane_torn_bytes_total", "Bytes of unfinished batches that recovery cut off."),
		damage: counter("penstock_lane_damage_total", "Times that a damaged range was met."),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "penstock_lane_broken", ConstLabels: label,
			Help: "1 after a failed write or sync: the lane takes nothing more.",
		}),
	}
}

// register shows the metrics of f, and what is asked of it when they are read.
func (m *metrics) register(reg prometheus.Registerer, name string, f *Files) {
	if reg == nil {
		return
	}
	reg.MustRegister(m.seconds, m.bodies, m.entries, m.bytes, m.torn, m.damage, m.broken)
	gauge := func(metric, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metric, Help: help, ConstLabels: prometheus.Labels{"lane": name},
		}, value))
	}
	gauge("penstock_lane_files", "Log files of the lane.", func() float64 {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return float64(len(f.files))
	})
	gauge("penstock_lane_batches", "Batches that are kept.", func() float64 {
		first, next := f.Bounds()
		return float64(next - first)
	})
}

// commit notes a batch that is durable.
func (m *metrics) commit(took time.Duration, entries int, bytes int64) {
	m.seconds.Observe(took.Seconds())
	m.bodies.Observe(float64(bytes))
	m.entries.Observe(float64(entries))
	m.bytes.Add(float64(bytes))
}
