package kinesis

import "penstock/api/kinesis/shape"

// updateStreamWarmThroughput is KDS UpdateStreamWarmThroughput.
func updateStreamWarmThroughput(r *request, in *shape.UpdateStreamWarmThroughputInput) (*shape.UpdateStreamWarmThroughputOutput, error) {
	p, err := r.locate(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	st, err := r.admit(p)
	if err != nil {
		return nil, err
	}
	if err := r.mayWarm(st.Info().Mode, p); err != nil {
		return nil, err
	}
	if err := st.SetWarm(r.ctx, int(in.WarmThroughputMiBps)); err != nil {
		return nil, refused(err, st)
	}
	return &shape.UpdateStreamWarmThroughputOutput{StreamName: st.Name(), StreamARN: st.ARN(), WarmThroughput: warm(st.Info())}, nil
}
