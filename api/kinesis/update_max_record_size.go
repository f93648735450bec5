package kinesis

import "penstock/api/kinesis/shape"

// updateMaxRecordSize is KDS UpdateMaxRecordSize.
func updateMaxRecordSize(r *request, in *shape.UpdateMaxRecordSizeInput) error {
	st, err := r.stream("", in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	return refused(st.SetMaxRecord(r.ctx, int(in.MaxRecordSizeInKiB)<<10), st)
}
