package datastream

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/records"
)

// Metrics lists the shard level metrics that can be switched on.
func Metrics() []string {
	return []string{"IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
		"WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds"}
}

// metric is how one of them is exported.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*shardMeter) float64
}

func exported() map[string]metric {
	return map[string]metric{
		"IncomingBytes":   {"incoming_bytes_total", "Bytes put, data and keys.", prometheus.CounterValue, func(m *shardMeter) float64 { return float64(m.inBytes.Load()) }},
		"IncomingRecords": {"incoming_records_total", "Records put.", prometheus.CounterValue, func(m *shardMeter) float64 { return float64(m.inRecords.Load()) }},
		"OutgoingBytes":   {"outgoing_bytes_total", "Bytes read, data and keys.", prometheus.CounterValue, func(m *shardMeter) float64 { return float64(m.outBytes.Load()) }},
		"OutgoingRecords": {"outgoing_records_total", "Records read.", prometheus.CounterValue, func(m *shardMeter) float64 { return float64(m.outRecords.Load()) }},
		"WriteProvisionedThroughputExceeded": {"write_throttled_records_total", "Records refused by the shard's limits.", prometheus.CounterValue,
			func(m *shardMeter) float64 { return float64(m.writeRefused.Load()) }},
		"ReadProvisionedThroughputExceeded": {"read_throttled_total", "Reads refused by the shard's limits.", prometheus.CounterValue,
			func(m *shardMeter) float64 { return float64(m.readRefused.Load()) }},
		"IteratorAgeMilliseconds": {"iterator_age_seconds", "How far the last read was behind the newest record.", prometheus.GaugeValue,
			func(m *shardMeter) float64 { return max(0, float64(m.behind.Load())/1000) }},
	}
}

// collector exports what the meters count: sums by stream always, shards where a user
// switched them on (EnableEnhancedMonitoring).
type collector struct{ c *Catalogue }

// Describe leaves the metrics undescribed: which there are changes with the streams.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the counters.
func (k *collector) Collect(out chan<- prometheus.Metric) {
	stream := []string{"account", "region", "stream"}
	shard := append(slices.Clone(stream), "shard")
	for name, m := range exported() {
		sum := prometheus.NewDesc("penstock_datastream_"+m.name, m.help, stream, nil)
		each := prometheus.NewDesc("penstock_datastream_shard_"+m.name, m.help, shard, nil)
		for _, s := range k.c.List("", "") {
			list := s.meter.shards.Load()
			if list == nil {
				continue
			}
			shown := slices.Contains(s.Info().Metrics, name)
			var total float64
			for i, sm := range *list {
				if sm == nil {
					continue
				}
				v := m.value(sm)
				if m.kind == prometheus.GaugeValue {
					total = max(total, v)
				} else {
					total += v
				}
				if shown {
					out <- prometheus.MustNewConstMetric(each, m.kind, v, s.account, s.region, s.name, records.ShardID(i).String())
				}
			}
			out <- prometheus.MustNewConstMetric(sum, m.kind, total, s.account, s.region, s.name)
		}
	}
}
