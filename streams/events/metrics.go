package events

import "github.com/prometheus/client_golang/prometheus"

// register has the sizes of the journal asked for when the metrics are.
func (j *Journal) register(r prometheus.Registerer) {
	gauge := func(name, help string, of func(*shelf) int) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_events_" + name, Help: help}, func() float64 {
			j.mu.Lock()
			defer j.mu.Unlock()
			n := 0
			for _, s := range j.shelves {
				n += of(s)
			}
			return float64(n)
		}))
	}
	gauge("stored", "Events of all streams.", func(s *shelf) int { return s.count })
	gauge("keeping", "Events that keep video beyond the retention of their streams.", func(s *shelf) int { return len(s.keeps) })
}
