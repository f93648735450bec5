package kinesis

import "penstock/api/kinesis/shape"

// untagResource is KDS UntagResource, of a stream or consumer.
func untagResource(r *request, in *shape.UntagResourceInput) error {
	st, p, err := r.resource(in.ResourceARN)
	if err != nil {
		return err
	}
	if p.consumer != "" {
		return refused(st.TagConsumer(r.ctx, p.consumer, nil, in.TagKeys), st)
	}
	return refused(st.SetTags(r.ctx, nil, in.TagKeys), st)
}
