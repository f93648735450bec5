package rtsp

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/ingest/rtpin"
)

// metrics are what /metrics shows of the door.
type metrics struct {
	reg     prometheus.Registerer
	all     []prometheus.Collector
	refused prometheus.Counter
	packets prometheus.Counter
	lost    *prometheus.CounterVec
}

func newMetrics(s *Server) *metrics {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_rtsp_" + name, Help: help}, f)
	}
	m := &metrics{reg: s.c.Registerer,
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_rtsp_signin_failures_total",
			Help: "Requests with wrong credentials."}),
		packets: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_rtsp_packets_total",
			Help: "RTP packets received."}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_rtsp_drops_total",
			Help: "Packets and access units that did not become samples, by reason."}, []string{"reason"}),
	}
	m.all = []prometheus.Collector{m.refused, m.packets, m.lost,
		gauge("connections", "Open RTSP connections.", func() float64 { return float64(s.gate.room.Inside()) }),
		gauge("producers", "Sessions that record.", func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(len(s.pushes))
		}),
		gauge("readers", "Sessions that play.", func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(len(s.players))
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "penstock_rtsp_reads_total",
			Help: "System calls that read RTSP connections."}, func() float64 {
			st := s.poller.Stats()
			return float64(st.Reads + st.Empty)
		}),
	}
	if m.reg != nil {
		for _, c := range m.all {
			_ = m.reg.Register(c) // a second server in one process shares what is there
		}
	}
	return m
}

func (m *metrics) remove() {
	if m.reg != nil {
		for _, c := range m.all {
			m.reg.Unregister(c)
		}
	}
}

// add takes what happened to a session between two looks.
func (m *metrics) add(was, now rtpin.Stats) {
	m.packets.Add(float64(now.Packets - was.Packets))
	for _, r := range []struct {
		reason string
		n      uint64
	}{
		{"network", now.Lost - was.Lost}, {"late", now.Late - was.Late}, {"malformed", now.Malformed - was.Malformed},
		{"unknown_payload", now.Unknown - was.Unknown}, {"damaged", now.Damaged - was.Damaged},
		{"too_big", now.TooBig - was.TooBig}, {"no_parameter_sets", now.NoConfig - was.NoConfig},
		{"storage_behind", now.Refused - was.Refused},
	} {
		if r.n > 0 {
			m.lost.WithLabelValues(r.reason).Add(float64(r.n))
		}
	}
}
