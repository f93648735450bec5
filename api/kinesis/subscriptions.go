package kinesis

import (
	"context"
	"errors"
	"sync"
	"time"

	"penstock/records"
)

// Why a subscription is ended from outside.
type ending string

// Error names it.
func (e ending) Error() string { return string(e) }

const (
	errTakenOver    ending = "another subscription took over"
	errDeregistered ending = "the consumer was deregistered"
)

type subscriptionKey struct {
	consumer string // ARN
	shard    records.ShardID
}

// subscription is one SubscribeToShard answer under way.
type subscription struct {
	key    subscriptionKey
	since  time.Time
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// subscriptions lets one subscription of a consumer read a shard at a time.
type subscriptions struct {
	mu   sync.Mutex
	held map[subscriptionKey]*subscription
}

// take begins a subscription. One that is there already is safe for a while, then the new
// one takes over.
func (s *subscriptions) take(ctx context.Context, key subscriptionKey, now time.Time, safe time.Duration) (*subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.held[key]; old != nil {
		if now.Sub(old.since) < safe && old.ctx.Err() == nil {
			return nil, errors.New("another subscription is under way")
		}
		old.cancel(errTakenOver)
	}
	sub := &subscription{key: key, since: now}
	sub.ctx, sub.cancel = context.WithCancelCause(ctx)
	s.held[key] = sub
	return sub, nil
}

// release ends a subscription.
func (s *subscriptions) release(sub *subscription) {
	s.mu.Lock()
	if s.held[sub.key] == sub {
		delete(s.held, sub.key)
	}
	s.mu.Unlock()
	sub.cancel(nil)
}

// endConsumer ends all subscriptions of a consumer.
func (s *subscriptions) endConsumer(arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, sub := range s.held {
		if key.consumer == arn {
			sub.cancel(errDeregistered)
		}
	}
}
