package kinesis

import "penstock/api/kinesis/shape"

// listTagsForResource is KDS ListTagsForResource, of a stream or consumer.
func listTagsForResource(r *request, in *shape.ListTagsForResourceInput) (*shape.ListTagsForResourceOutput, error) {
	st, p, err := r.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	tags := st.Info().Tags
	if p.consumer != "" {
		c, err := consumerAt(st, p)
		if err != nil {
			return nil, err
		}
		tags = c.Tags
	}
	return &shape.ListTagsForResourceOutput{Tags: tagList(tags, "")}, nil
}
