package kinesis

import "penstock/api/kinesis/shape"

// deleteResourcePolicy is KDS DeleteResourcePolicy.
func deleteResourcePolicy(r *request, in *shape.DeleteResourcePolicyInput) error {
	st, p, err := r.resource(in.ResourceARN)
	if err != nil {
		return err
	}
	if policyText(st, p) == "" {
		return resourcePolicyNotFound(in.ResourceARN)
	}
	return setPolicy(r, st, p, "")
}
