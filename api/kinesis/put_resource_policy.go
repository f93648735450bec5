package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/auth"
)

// putResourcePolicy is KDS PutResourcePolicy. What auth cannot enforce is refused: a
// condition or principal that is not understood must not open the stream further.
func putResourcePolicy(r *request, in *shape.PutResourcePolicyInput) error {
	st, p, err := r.resource(in.ResourceARN)
	if err != nil {
		return err
	}
	if _, err := auth.ParseResourcePolicy(in.ResourceARN, []byte(in.Policy)); err != nil {
		return invalidArgument("The resource policy is not valid: %s", shortCause(err))
	}
	return setPolicy(r, st, p, in.Policy)
}
