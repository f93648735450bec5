package kinesis

import "penstock/api/kinesis/shape"

// updateShardCount is KDS UpdateShardCount.
func updateShardCount(r *request, in *shape.UpdateShardCountInput) (*shape.UpdateShardCountOutput, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	before, err := st.Reshard(r.ctx, int(in.TargetShardCount))
	if err != nil {
		return nil, refused(err, st)
	}
	return &shape.UpdateShardCountOutput{StreamName: st.Name(), StreamARN: st.ARN(),
		CurrentShardCount: number(before), TargetShardCount: &in.TargetShardCount}, nil
}
