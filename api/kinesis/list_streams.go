package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/auth"
)

// listStreams is KDS ListStreams. It shows the streams that the caller may describe.
func listStreams(r *request, in *shape.ListStreamsInput) (*shape.ListStreamsOutput, error) {
	if err := r.account(); err != nil {
		return nil, err
	}
	after := in.ExclusiveStartStreamName
	if in.NextToken != "" {
		t, err := r.s.readToken("streams", in.NextToken)
		if err != nil {
			return nil, err
		}
		if t.where.account != r.Account || t.where.region != r.region {
			return nil, invalidArgument("Invalid NextToken.")
		}
		after = t.after
	}
	limit := describeDefault
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	out := &shape.ListStreamsOutput{StreamNames: []string{}, StreamSummaries: []shape.StreamSummary{}}
	for _, st := range r.s.c.Catalogue.List(r.Account, r.region) {
		if st.Name() <= after || !r.mayKnow(st.ARN()) {
			continue
		}
		if len(out.StreamNames) == limit {
			var err error
			out.HasMoreStreams = true
			out.NextToken, err = r.s.token("streams", token{where: place{account: r.Account, region: r.region}, after: out.StreamNames[limit-1]})
			return out, err
		}
		i := st.Info()
		out.StreamNames = append(out.StreamNames, i.Name)
		out.StreamSummaries = append(out.StreamSummaries, shape.StreamSummary{StreamName: i.Name, StreamARN: st.ARN(), StreamStatus: string(i.Status),
			StreamModeDetails: mode(i), StreamCreationTimestamp: i.Created})
	}
	return out, nil
}

// mayKnow reports whether the caller may see that a stream exists.
func (r *request) mayKnow(arn string) bool {
	for _, a := range []auth.Action{auth.DataDescribeStream, "kinesis:DescribeStreamSummary"} {
		if r.s.c.Auth.Explain(r.Principal, a, arn, r.context()).Allowed {
			return true
		}
	}
	return false
}
