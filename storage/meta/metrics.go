package meta

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	commit prometheus.Histogram
	writes prometheus.Counter
	failed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "penstock_meta_commit_seconds",
			Help:    "Time from the begin of a metadata transaction until it was durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		writes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_meta_writes_total", Help: "Metadata writes that were committed; several share a commit.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_meta_failed_commits_total", Help: "Metadata transactions that failed as a whole.",
		}),
	}
	for _, c := range m.all() {
		if reg != nil {
			reg.MustRegister(c)
		}
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.commit, m.writes, m.failed}
}

func (m *metrics) unregister(reg prometheus.Registerer) {
	for _, c := range m.all() {
		if reg != nil {
			reg.Unregister(c)
		}
	}
}

func (m *metrics) observe(d time.Duration, writes int, err error) {
	m.commit.Observe(d.Seconds())
	if err != nil {
		m.failed.Inc()
		return
	}
	m.writes.Add(float64(writes))
}
