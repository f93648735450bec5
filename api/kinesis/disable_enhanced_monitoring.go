package kinesis

import "penstock/api/kinesis/shape"

// disableEnhancedMonitoring is KDS DisableEnhancedMonitoring.
func disableEnhancedMonitoring(r *request, in *shape.DisableEnhancedMonitoringInput) (*shape.EnhancedMonitoringOutput, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	return setMonitoring(r, st, in.ShardLevelMetrics, false)
}
