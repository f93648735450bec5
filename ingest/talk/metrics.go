package talk

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/ingest/camera"
)

// metrics count calls and what was not heard.
type metrics struct {
	calls   *prometheus.CounterVec
	dropped prometheus.Counter
}

func newMetrics(i *Intercom, reg prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_ingest_talk_calls_total",
			Help: "Cameras that were called to talk to them, by what came of it: ok, or the cause of a failure."}, []string{"result"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_ingest_talk_dropped_frames_total",
			Help: "Frames of voice, of 20 ms, that came faster than a camera could be sent them."}),
	}
	if reg != nil {
		open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_ingest_talk_calls",
			Help: "Cameras that are being talked to."}, func() float64 {
			i.mu.Lock()
			defer i.mu.Unlock()
			return float64(len(i.busy))
		})
		reg.MustRegister(m.calls, m.dropped, open)
	}
	return m
}

func (m *metrics) called(err error) {
	result := "ok"
	if tr := camera.TroubleOf(err); tr != nil {
		result = tr.Cause.String()
	}
	m.calls.WithLabelValues(result).Inc()
}
