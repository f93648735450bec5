package kinesis

import (
	"errors"

	"penstock/api/kinesis/shape"
	"penstock/internal/fault"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// registerStreamConsumer is KDS RegisterStreamConsumer.
func registerStreamConsumer(r *request, in *shape.RegisterStreamConsumerInput) (*shape.RegisterStreamConsumerOutput, error) {
	st, err := r.stream("", in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	if err := tagCharacters(tagWords(in.Tags), "add", "to", st.Name(), st.Account()); err != nil {
		return nil, err
	}
	c, err := st.Register(r.ctx, in.ConsumerName, in.Tags)
	var refusal *datastream.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Reason == datastream.Taken:
		return nil, awsjson.NewError("ResourceInUseException", "Consumer %s under stream %s already exists for account %s.", in.ConsumerName, st.Name(), st.Account())
	case fault.Is(err, fault.NotFound):
		return nil, streamNotFound(st.Name(), st.Account())
	case err != nil:
		return nil, refused(err, st)
	}
	return &shape.RegisterStreamConsumerOutput{Consumer: shape.Consumer{ConsumerName: c.Name, ConsumerARN: c.ARN(),
		ConsumerStatus: string(c.Status), ConsumerCreationTimestamp: c.Created}}, nil
}
