package kinesis

import (
	"slices"
	"strings"

	"penstock/api/kinesis/shape"
)

// listTagsForStream is KDS ListTagsForStream.
func listTagsForStream(r *request, in *shape.ListTagsForStreamInput) (*shape.ListTagsForStreamOutput, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	out := &shape.ListTagsForStreamOutput{Tags: tagList(st.Info().Tags, in.ExclusiveStartTagKey)}
	if in.Limit != nil && len(out.Tags) > int(*in.Limit) {
		out.Tags, out.HasMoreTags = out.Tags[:*in.Limit], true
	}
	return out, nil
}

// tagList is the tags behind a key, by key.
func tagList(tags map[string]string, after string) []shape.Tag {
	list := make([]shape.Tag, 0, len(tags))
	for k, v := range tags {
		if k > after || after == "" {
			list = append(list, shape.Tag{Key: k, Value: &v})
		}
	}
	slices.SortFunc(list, func(a, b shape.Tag) int { return strings.Compare(a.Key, b.Key) })
	return list
}
