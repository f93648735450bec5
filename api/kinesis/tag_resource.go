package kinesis

import "penstock/api/kinesis/shape"

// tagResource is KDS TagResource, of a stream or consumer.
func tagResource(r *request, in *shape.TagResourceInput) error {
	st, p, err := r.resource(in.ResourceARN)
	if err != nil {
		return err
	}
	if err := tagCharacters(tagWords(in.Tags), "add", "to", st.Name(), st.Account()); err != nil {
		return err
	}
	if p.consumer != "" {
		return refused(st.TagConsumer(r.ctx, p.consumer, in.Tags, nil), st)
	}
	return refused(st.SetTags(r.ctx, in.Tags, nil), st)
}
