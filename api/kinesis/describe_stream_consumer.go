package kinesis

import "penstock/api/kinesis/shape"

// describeStreamConsumer is KDS DescribeStreamConsumer.
func describeStreamConsumer(r *request, in *shape.DescribeStreamConsumerInput) (*shape.DescribeStreamConsumerOutput, error) {
	_, c, err := r.consumer(in.ConsumerARN, in.StreamARN, in.ConsumerName)
	if err != nil {
		return nil, err
	}
	return &shape.DescribeStreamConsumerOutput{ConsumerDescription: shape.ConsumerDescription{ConsumerName: c.Name, ConsumerARN: c.ARN(),
		ConsumerStatus: string(c.Status), ConsumerCreationTimestamp: c.Created, StreamARN: c.StreamARN()}}, nil
}
