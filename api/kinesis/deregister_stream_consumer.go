package kinesis

import "penstock/api/kinesis/shape"

// deregisterStreamConsumer is KDS DeregisterStreamConsumer. Its subscriptions end.
func deregisterStreamConsumer(r *request, in *shape.DeregisterStreamConsumerInput) error {
	st, c, err := r.consumer(in.ConsumerARN, in.StreamARN, in.ConsumerName)
	if err != nil {
		return err
	}
	if err := st.Deregister(r.ctx, c.Name); err != nil {
		return refused(err, st)
	}
	r.s.subs.endConsumer(c.ARN())
	return nil
}
