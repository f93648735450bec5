package pull

import "github.com/prometheus/client_golang/prometheus"

// metrics count calls and what became of them.
type metrics struct {
	calls    prometheus.Counter
	knocks   prometheus.Counter
	failures *prometheus.CounterVec
}

func newMetrics(s *Supervisor, reg prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_ingest_pull_calls_total",
			Help: "Conversations that were begun with cameras, first ones and reconnects."}),
		knocks: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_ingest_pull_knocks_total",
			Help: "Tries whether a camera that was gone accepts connections again."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_ingest_pull_failures_total",
			Help: "Calls that failed and conversations that ended, by cause."}, []string{"cause"}),
	}
	if reg == nil {
		return m
	}
	playing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_ingest_pull_cameras_playing",
		Help: "Cameras that agreed to send media."}, func() float64 { return float64(s.count(true)) })
	all := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_ingest_pull_cameras",
		Help: "Cameras that are kept."}, func() float64 { return float64(s.count(false)) })
	reg.MustRegister(m.calls, m.knocks, m.failures, playing, all)
	return m
}

// count returns how many cameras are kept, or play.
func (s *Supervisor) count(playing bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !playing {
		return len(s.pulled)
	}
	n := 0
	for _, p := range s.pulled {
		if c := p.call.Load(); c != nil && c.began.Load() != 0 {
			n++
		}
	}
	return n
}
