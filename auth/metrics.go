package auth

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	failures   *prometheus.CounterVec
	denied     prometheus.Counter
	pollErrors prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_auth_failures_total",
			Help: "Callers who did not prove who they are, by kind of proof."}, []string{"proof"}),
		denied: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_auth_denied_total",
			Help: "Requests that policy refused."}),
		pollErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_auth_poll_errors_total",
			Help: "Looks for changed keys that the store did not answer."}),
	}
	if r != nil {
		r.MustRegister(m.failures, m.denied, m.pollErrors)
	}
	return m
}

func (m *metrics) failed(proof string) { m.failures.WithLabelValues(proof).Inc() }
