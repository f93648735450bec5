package streams

import "github.com/prometheus/client_golang/prometheus"

// collector makes the metrics from the Hub's own counters when they are asked for, so
// that no sample pays for them.
type collector struct{ hub *Hub }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penstock_streams_"+name, help, append([]string{"account", "stream"}, labels...), nil)
}

// Describe sends nothing: the set of streams is not fixed.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of each stream.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	live := desc("live", "1 while media arrives, else 0.")
	bytes := desc("received_bytes_total", "Media received, in bytes.")
	samples := desc("received_samples_total", "Samples received.")
	jumps := desc("timestamp_jumps_total", "Jumps of the producer's time stamps that were bridged.")
	viewers := desc("viewers", "Live listeners.")
	lost := desc("lost_samples_total", "Samples or packets that were dropped or lost, by reason.", "reason")
	bitrate := desc("bitrate_bits_per_second", "Bit rate over the last seconds.")
	now := c.hub.clock.Now()
	for _, st := range c.hub.all() {
		st.mu.Lock()
		v := st.stateLocked(now)
		f := &st.figures
		nb, ns, nj := f.bytes, f.samples, f.jumps
		account, name := st.account, st.name
		st.mu.Unlock()
		if name == "" {
			continue
		}
		send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, kind, value, append([]string{account, name}, labels...)...)
		}
		isLive := 0.0
		if v.Status == Live {
			isLive = 1
		}
		send(live, prometheus.GaugeValue, isLive)
		send(bytes, prometheus.CounterValue, float64(nb))
		send(samples, prometheus.CounterValue, float64(ns))
		send(jumps, prometheus.CounterValue, float64(nj))
		send(viewers, prometheus.GaugeValue, float64(v.Viewers))
		send(bitrate, prometheus.GaugeValue, v.Bitrate)
		for reason, n := range v.Lost {
			send(lost, prometheus.CounterValue, float64(n), string(reason))
		}
	}
}
