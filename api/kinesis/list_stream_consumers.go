package kinesis

import "penstock/api/kinesis/shape"

// listStreamConsumers is KDS ListStreamConsumers.
func listStreamConsumers(r *request, in *shape.ListStreamConsumersInput) (*shape.ListStreamConsumersOutput, error) {
	st, err := r.stream("", in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	if err := madeAt(st, in.StreamCreationTimestamp); err != nil {
		return nil, err
	}
	after := ""
	if in.NextToken != "" {
		t, err := r.s.readToken("consumers", in.NextToken)
		if err != nil {
			return nil, err
		}
		if t.id != st.ID() {
			return nil, invalidArgument("NextToken is not of stream %s.", st.Name())
		}
		after = t.after
	}
	limit := describeDefault
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	out := &shape.ListStreamConsumersOutput{Consumers: []shape.Consumer{}}
	for _, c := range st.Consumers() {
		if c.Name <= after {
			continue
		}
		if len(out.Consumers) == limit {
			last := out.Consumers[limit-1].ConsumerName
			out.NextToken, err = r.s.token("consumers", token{id: st.ID(), where: place{account: st.Account(), region: st.Region(), stream: st.Name()}, after: last})
			return out, err
		}
		out.Consumers = append(out.Consumers, shape.Consumer{ConsumerName: c.Name, ConsumerARN: c.ARN(),
			ConsumerStatus: string(c.Status), ConsumerCreationTimestamp: c.Created})
	}
	return out, nil
}
