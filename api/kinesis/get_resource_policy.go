package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// getResourcePolicy is KDS GetResourcePolicy. Without one the answer is "{}".
func getResourcePolicy(r *request, in *shape.GetResourcePolicyInput) (*shape.GetResourcePolicyOutput, error) {
	st, p, err := r.resource(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	text := policyText(st, p)
	if text == "" {
		text = "{}"
	}
	return &shape.GetResourcePolicyOutput{Policy: text}, nil
}

// policyText is the policy of the resource at p as it was put.
func policyText(st *datastream.Stream, p place) string {
	if p.consumer == "" {
		return st.Info().Policy
	}
	c, err := st.Consumer(p.consumer)
	if err != nil {
		return ""
	}
	return c.Policy
}

func setPolicy(r *request, st *datastream.Stream, p place, text string) error {
	if p.consumer == "" {
		return refused(st.SetPolicy(r.ctx, text), st)
	}
	return refused(st.SetConsumerPolicy(r.ctx, p.consumer, text), st)
}

func resourcePolicyNotFound(arn string) *awsjson.Error {
	return awsjson.NewError("ResourceNotFoundException", "No resource policy found for resource ARN %s.", arn)
}
