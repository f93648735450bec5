package kinesis

import "penstock/api/kinesis/shape"

// decreaseStreamRetentionPeriod is KDS DecreaseStreamRetentionPeriod. It holds at once.
func decreaseStreamRetentionPeriod(r *request, in *shape.DecreaseStreamRetentionPeriodInput) error {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	return setRetention(r, st, in.RetentionPeriodHours, false)
}
