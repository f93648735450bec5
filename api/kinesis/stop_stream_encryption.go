package kinesis

import "penstock/api/kinesis/shape"

// stopStreamEncryption is KDS StopStreamEncryption. What is stored stays encrypted.
func stopStreamEncryption(r *request, in *shape.StopStreamEncryptionInput) error {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	if in.EncryptionType != "KMS" {
		return invalidArgument("EncryptionType %s cannot be stopped; use KMS.", in.EncryptionType)
	}
	return refused(st.Encrypt(r.ctx, ""), st)
}
