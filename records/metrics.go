package records

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the package counts.
type metrics struct {
	put, putBytes   prometheus.Counter
	read, readBytes prometheus.Counter
	refused         prometheus.Counter
	memory          prometheus.Counter // runs that were read, by where they were
	lane, segment   prometheus.Counter
	sealSeconds     prometheus.Histogram
	sealFailed      prometheus.Counter
	segments        *prometheus.CounterVec
	damaged         prometheus.Counter
	unsealed        prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return register(r, prometheus.NewCounter(prometheus.CounterOpts{Namespace: "penstock", Subsystem: "records", Name: name, Help: help}))
	}
	sources := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "penstock", Subsystem: "records", Name: "reads_total",
		Help: "Reads of a run of records, by where they were."}, []string{"source"}))
	return &metrics{
		put:       counter("put_records_total", "Records that were put into a lane."),
		putBytes:  counter("put_bytes_total", "Bytes of data and keys that were put into a lane."),
		read:      counter("read_records_total", "Records that were read."),
		readBytes: counter("read_bytes_total", "Bytes of data and keys that were read."),
		refused:   counter("refused_records_total", "Records that a limit refused."),
		memory:    sources.WithLabelValues("memory"),
		lane:      sources.WithLabelValues("lane"),
		segment:   sources.WithLabelValues("segment"),
		sealSeconds: register(r, prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "penstock", Subsystem: "records", Name: "seal_seconds",
			Help: "Time to move a lane file's worth of records to segments.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14)})),
		sealFailed: counter("seal_failures_total", "Attempts to move records to segments that failed and are made again."),
		segments: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "penstock", Subsystem: "records", Name: "segments_total",
			Help: "Segments, by what happened to them."}, []string{"event"})),
		damaged: counter("damage_total", "Ranges of stored records that were found damaged."),
		unsealed: register(r, prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "penstock", Subsystem: "records", Name: "sealing_behind",
			Help: "Lane files' worth of records that wait to be moved to segments."})),
	}
}

// register returns c, or the collector of its name that is registered already.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	var have prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &have) {
		if old, ok := have.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}
