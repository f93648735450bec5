package kinesis

import (
	"context"
	"errors"
	"time"

	"penstock/api/kinesis/shape"
	"penstock/auth"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// The most that one event holds: the service sends about as much.
const (
	eventLimit = 10_000
	eventBytes = 1 << 20
)

// subscribeToShard is KDS SubscribeToShard: records as events, each as soon as it is
// durable, for SubscriptionLife. A reader who does not read holds up nobody else: nothing
// is read ahead of what was sent.
func subscribeToShard(ctx context.Context, r *request, in *shape.SubscribeToShardInput, out *awsjson.Stream) error {
	st, c, err := r.consumer(in.ConsumerARN, "", "")
	if err != nil {
		return err
	}
	if c.Status != datastream.Active {
		return awsjson.NewError("ResourceInUseException", "Consumer %s with creation timestamp %d under stream: %s, account %s is not in ACTIVE status.",
			c.Name, c.Created.Unix(), st.Name(), st.Account())
	}
	start := starting{in.StartingPosition.Type, in.StartingPosition.SequenceNumber, in.StartingPosition.Timestamp}
	reached := func() bool {
		id, err := records.ParseShardID(in.ShardId)
		return err == nil && st.Reached(id, in.StartingPosition.Timestamp)
	}
	if err := start.check(r.s.c.Clock.Now(), reached); err != nil {
		return err
	}
	id, err := records.ParseShardID(in.ShardId)
	if err != nil {
		return noSuchShard(in.ShardId, st.Name(), st.Account())
	}
	log, err := st.Log()
	if err != nil {
		return streamNotFound(st.Name(), st.Account())
	}
	shard, ok := datastream.Find(log.Shards(), id)
	if !ok {
		return shardNotFound(id.String(), st.Name(), st.Account())
	}
	position, err := start.position(r, st, shard)
	if err != nil {
		return err
	}
	if err := r.paceShard(st, id, c.Name); err != nil {
		return err
	}
	sub, err := r.s.subs.take(ctx, subscriptionKey{c.ARN(), id}, r.s.c.Clock.Now(), r.s.c.Takeover)
	if err != nil {
		return awsjson.NewError("ResourceInUseException", "Another active subscription exists for this consumer: %s:%s:%s:%s", st.Account(), st.Name(), id, c.Name)
	}
	defer r.s.subs.release(sub)
	p, _ := parseARN(c.ARN())
	// It is known to who deregisters the consumer from here on; one that was quicker is seen.
	if c, err := consumerAt(st, p); err != nil || c.Status != datastream.Active {
		return consumerNotFound(p.consumer, st.Account())
	}
	held, release := r.s.c.Auth.HoldShared(sub.ctx, r.Principal, r.action, r.object, func() *auth.ResourcePolicy { return r.s.policyOf(st, p) }, r.context())
	defer release()
	r.s.metrics.subscriptions.Inc()
	defer r.s.metrics.subscriptions.Dec()
	r.s.c.Auth.Note(ctx, r.Principal, auth.Deed{Action: r.action, Object: r.object, Remote: r.remote, Detail: "start", Every: auth.ViewEvery})
	err = (&subscriber{r: r, ctx: held, st: st, consumer: c.Name, log: log, shard: id, position: position, out: out}).run()
	return r.endOf(held, err, st, c, id)
}

// endOf says in which words a subscription ends. nil: it ended as it should.
func (r *request) endOf(ctx context.Context, err error, st *datastream.Stream, c datastream.Consumer, id records.ShardID) error {
	why := context.Cause(ctx)
	switch {
	case errors.Is(why, errTakenOver):
		return awsjson.NewError("ResourceInUseException", "Another active subscription exists for this consumer: %s:%s:%s:%s", st.Account(), st.Name(), id, c.Name)
	case errors.Is(why, errDeregistered):
		return consumerNotFound(c.Name, st.Account())
	case fault.Is(why, fault.Denied), fault.Is(why, fault.Unauthentic):
		return r.denied(fault.Wrap(fault.Denied, "", "", why))
	case why != nil:
		return nil // the reader left, or the server stops
	case fault.Is(err, fault.NotFound):
		return streamNotFound(st.Name(), st.Account())
	}
	return err
}

// subscriber sends the events of one subscription.
type subscriber struct {
	r        *request
	ctx      context.Context
	st       *datastream.Stream
	consumer string
	log      *records.Log
	shard    records.ShardID
	position records.Position
	out      *awsjson.Stream
	event    pushed
}

// pushed is one event, written from where its records lie.
type pushed struct {
	shape.SubscribeToShardAnswer
	page *records.Page
}

// Size is about the length of the event.
func (p *pushed) Size(f awsjson.Format) int { return pageSize(p.page, f) }

// run sends until the subscription's life is over, the shard has ended or ctx is done.
func (s *subscriber) run() error {
	clock := s.r.s.c.Clock
	end := clock.Now().Add(s.r.s.c.SubscriptionLife)
	page := s.r.s.pages.get()
	defer s.r.s.pages.put(page)
	if err := s.out.Start(); err != nil {
		return nil // the reader left
	}
	silent := clock.Now() // since when nothing was sent
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := s.st.Read(s.ctx, s.shard, s.position, eventLimit, eventBytes, page); err != nil {
			return err
		}
		now := clock.Now()
		left := end.Sub(now)
		switch quiet := s.r.s.c.Heartbeat - now.Sub(silent); {
		case page.Ended || len(page.Records) > 0 || quiet <= 0:
			err := s.send(page)
			clear(page.Records) // who waits for more does not hold on to what there was
			if err != nil || page.Ended {
				return nil // the reader left, or there is no more
			}
			silent = now
			if left <= 0 {
				return nil
			}
		case left <= 0:
			return nil
		default:
			if err := s.wait(page.Next, min(quiet, left)); err != nil {
				return err
			}
		}
		s.position = page.Next
	}
}

// wait returns when there is something behind p, at the latest after d.
func (s *subscriber) wait(p records.Position, d time.Duration) error {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	err := s.st.Wait(ctx, s.shard, p)
	if ctx.Err() != nil {
		return s.ctx.Err()
	}
	return err
}

// send sends a page as one event; at the shard's end it names the children instead of a
// number to go on from.
func (s *subscriber) send(page *records.Page) error {
	e := &s.event
	e.page, e.N, e.View = page, len(page.Records), view(page)
	s.st.Progress(s.consumer, s.shard, page.Behind)
	e.MillisBehindLatest = page.Behind.Milliseconds()
	e.Continuation, e.ChildShards = e.Continuation[:0], nil
	if page.Ended {
		e.ChildShards = children(page.Children)
	} else {
		mark, err := s.log.Mark(s.shard, page.Next)
		if err != nil {
			return err
		}
		e.Continuation = mark.Append(e.Continuation)
	}
	return s.out.Send("SubscribeToShardEvent", e)
}
