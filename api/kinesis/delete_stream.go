package kinesis

import "penstock/api/kinesis/shape"

// deleteStream is KDS DeleteStream.
func deleteStream(r *request, in *shape.DeleteStreamInput) error {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	return refused(st.Delete(r.ctx, in.EnforceConsumerDeletion != nil && *in.EnforceConsumerDeletion), st)
}
