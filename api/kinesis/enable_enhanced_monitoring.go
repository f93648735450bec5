package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/streams/datastream"
)

// enableEnhancedMonitoring is KDS EnableEnhancedMonitoring.
func enableEnhancedMonitoring(r *request, in *shape.EnableEnhancedMonitoringInput) (*shape.EnhancedMonitoringOutput, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	return setMonitoring(r, st, in.ShardLevelMetrics, true)
}

// setMonitoring switches shard level metrics, which /metrics then shows.
func setMonitoring(r *request, st *datastream.Stream, names []string, on bool) (*shape.EnhancedMonitoringOutput, error) {
	before, after, err := st.SetMetrics(r.ctx, names, on)
	if err != nil {
		return nil, refused(err, st)
	}
	return &shape.EnhancedMonitoringOutput{StreamName: st.Name(), StreamARN: st.ARN(),
		CurrentShardLevelMetrics: listed(before), DesiredShardLevelMetrics: listed(after)}, nil
}
