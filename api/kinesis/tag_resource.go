package kinesis

import "penstock/api/kinesis/shape"

// tagResource is KDS TagResource, of a stream or consumer.
func tagResource(r *request, in *shape.TagResourceInput) error {
	st, p, err := r.resource(in.ResourceARN)
	if err != nil {
		return err
	}
	words := make([]string, 0, 2*len(in.Tags))
	for k, v := range in.Tags {
		words = append(words, k, v)
	}
	if err := tagCharacters(words, "add", "to", st.Name(), st.Account()); err != nil {
		return err
	}
	if p.consumer != "" {
		return refused(st.TagConsumer(r.ctx, p.consumer, in.Tags, nil), st)
	}
	return refused(st.SetTags(r.ctx, in.Tags, nil), st)
}
