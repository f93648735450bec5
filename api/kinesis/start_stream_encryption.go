package kinesis

import "penstock/api/kinesis/shape"

// startStreamEncryption is KDS StartStreamEncryption. KeyId is shown as given; the key is
// the stream's own, made here and sealed under the server's master key.
func startStreamEncryption(r *request, in *shape.StartStreamEncryptionInput) error {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	if in.EncryptionType != "KMS" {
		return invalidArgument("EncryptionType %s cannot be started; use KMS.", in.EncryptionType)
	}
	return refused(st.Encrypt(r.ctx, in.KeyId), st)
}
