package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/streams/datastream"
)

// updateStreamMode is KDS UpdateStreamMode. The shards stay as they are.
func updateStreamMode(r *request, in *shape.UpdateStreamModeInput) error {
	p, err := r.locate("", in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	st, err := r.admit(p)
	if err != nil {
		return err
	}
	mode, warm := datastream.Mode(in.StreamModeDetails.StreamMode), 0
	if in.WarmThroughputMiBps != nil && *in.WarmThroughputMiBps > 0 {
		if err := r.mayWarm(mode, p); err != nil {
			return err
		}
		warm = int(*in.WarmThroughputMiBps)
	}
	return refused(st.SetMode(r.ctx, mode, warm), st)
}
