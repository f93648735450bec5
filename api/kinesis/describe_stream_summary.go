package kinesis

import (
	"time"

	"penstock/api/kinesis/shape"
	"penstock/streams/datastream"
)

// describeStreamSummary is KDS DescribeStreamSummary.
func describeStreamSummary(r *request, in *shape.DescribeStreamSummaryInput) (*shape.DescribeStreamSummaryOutput, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	i := st.Info()
	out := shape.StreamDescriptionSummary{
		StreamName: i.Name, StreamARN: st.ARN(), StreamId: i.StreamID, StreamStatus: string(i.Status), StreamModeDetails: mode(i),
		StreamCreationTimestamp: i.Created, RetentionPeriodHours: int32(i.Retention / time.Hour), EnhancedMonitoring: monitoring(i),
		EncryptionType: encryption(i), KeyId: i.KeyID, OpenShardCount: int32(st.OpenShards()),
		ConsumerCount: number(len(st.Consumers())), MaxRecordSizeInKiB: number(i.MaxRecord >> 10),
	}
	if i.Mode == datastream.OnDemand && i.Warm > 0 {
		out.WarmThroughput = warm(i)
	}
	return &shape.DescribeStreamSummaryOutput{StreamDescriptionSummary: out}, nil
}

func number(n int) *int32 {
	v := int32(n)
	return &v
}

// warm is reached as soon as it is asked for.
func warm(i *datastream.Info) *shape.WarmThroughputObject {
	return &shape.WarmThroughputObject{CurrentMiBps: number(i.Warm), TargetMiBps: number(i.Warm)}
}
