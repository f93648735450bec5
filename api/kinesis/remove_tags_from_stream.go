package kinesis

import "penstock/api/kinesis/shape"

// removeTagsFromStream is KDS RemoveTagsFromStream. A tag that is not there is no error.
func removeTagsFromStream(r *request, in *shape.RemoveTagsFromStreamInput) error {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	if err := tagCharacters(in.TagKeys, "remove", "from", st.Name(), st.Account()); err != nil {
		return err
	}
	return refused(st.SetTags(r.ctx, nil, in.TagKeys), st)
}
