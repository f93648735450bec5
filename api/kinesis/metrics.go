package kinesis

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/fault"
	"penstock/wire/awsjson"
)

// metrics counts answers. The metrics of an operation are found once, not per request.
type metrics struct {
	ok            sync.Map // operation → *operationMetrics, of answers without exception
	answers       *prometheus.CounterVec
	took          *prometheus.HistogramVec
	subscriptions prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_kinesis_answers_total",
			Help: "Answers by operation and exception; an empty exception is success."}, []string{"operation", "exception"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "penstock_kinesis_answer_seconds",
			Help: "Time from the request's headers to the end of its answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}, []string{"operation"}),
		subscriptions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "penstock_kinesis_subscriptions", Help: "SubscribeToShard answers under way."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.answers, m.took, m.subscriptions} {
		if err := r.Register(c); err != nil {
			return nil, fault.Wrap(fault.Invalid, "register metrics", "kinesis", err)
		}
	}
	return m, nil
}

// operationMetrics are the metrics of an operation's successes.
type operationMetrics struct {
	answers prometheus.Counter
	took    prometheus.Observer
}

func (m *metrics) of(operation string) *operationMetrics {
	if known, ok := m.ok.Load(operation); ok {
		return known.(*operationMetrics)
	}
	known, _ := m.ok.LoadOrStore(operation, &operationMetrics{m.answers.WithLabelValues(operation, ""), m.took.WithLabelValues(operation)})
	return known.(*operationMetrics)
}

// observe counts an answer, and logs what an operator should know of.
func (s *Server) observe(c *awsjson.Call, o awsjson.Outcome) {
	m := s.metrics.of(c.Operation) // the model's, or empty: bounded
	if o.Type == "" {
		m.answers.Inc()
	} else {
		s.metrics.answers.WithLabelValues(c.Operation, o.Type).Inc()
	}
	if c.Operation != "SubscribeToShard" {
		m.took.Observe(float64(o.Took) / float64(time.Second))
	}
	if o.Status >= 500 && o.Err != nil && c.Request.Context().Err() == nil {
		s.complaints.log(s.c.Logger, s.c.Clock.Now(), c.Operation, c.RequestID, o.Err)
	}
}
