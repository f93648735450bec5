package playback

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what playback serves. All methods of its fields may be called at once.
type Metrics struct {
	// Requests counts answered requests by kind: playlist, part, segment, init, vod,
	// list, fragment, clip, still, socket.
	Requests *prometheus.CounterVec
	// Viewers is how many watch right now, by kind: hls (streams being packaged), socket
	// (subscriptions).
	Viewers *prometheus.GaugeVec
	// Skipped counts samples that viewers who fell behind did not get.
	Skipped prometheus.Counter
	// Stills counts stills by result: made, cached, failed, busy.
	Stills *prometheus.CounterVec
	// ClipBytes counts bytes of clips sent.
	ClipBytes prometheus.Counter
	// FirstByte is the time from a request to its first byte, by kind: clip, vod, still.
	FirstByte *prometheus.HistogramVec
}

// NewMetrics makes the metrics and registers them with r; with a nil r they count
// unseen. It panics when r already has them, as prometheus.MustRegister does.
func NewMetrics(r prometheus.Registerer) *Metrics {
	const ns, sub = "penstock", "playback"
	m := &Metrics{
		Requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub,
			Name: "requests_total", Help: "Answered playback requests by kind."}, []string{"kind"}),
		Viewers: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub,
			Name: "viewers", Help: "Streams packaged for HLS and WebSocket subscriptions now."}, []string{"kind"}),
		Skipped: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub,
			Name: "skipped_samples_total", Help: "Samples not sent because a viewer fell behind."}),
		Stills: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub,
			Name: "stills_total", Help: "Stills asked for by result."}, []string{"result"}),
		ClipBytes: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub,
			Name: "clip_bytes_total", Help: "Bytes of clips sent."}),
		FirstByte: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub,
			Name: "first_byte_seconds", Help: "From the request to the first byte of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}}, []string{"kind"}),
	}
	if r != nil {
		r.MustRegister(m.Requests, m.Viewers, m.Skipped, m.Stills, m.ClipBytes, m.FirstByte)
	}
	return m
}
