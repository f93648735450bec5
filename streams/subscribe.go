package streams

import (
	"context"
	"sync"

	"penstock/internal/fault"
)

// subscriptions are those who hear of state changes.
type subscriptions struct {
	mu   sync.Mutex // taken after all others
	list map[*Subscription]struct{}
}

// tell notes that a stream's state changed.
func (s *subscriptions) tell(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.list {
		if _, waiting := sub.pending[id]; !waiting {
			sub.pending[id] = struct{}{}
			sub.order = append(sub.order, id)
		}
		select {
		case sub.wake <- struct{}{}:
		default:
		}
	}
}

// Subscription hears of streams whose state changed: status, tracks, producer, viewers
// at once, figures of live streams every 5 s. It never blocks the Hub: a stream that
// changes twice before Next is told once, as it then is.
type Subscription struct {
	h       *Hub
	pending map[string]struct{} // under subscriptions.mu, like order
	order   []string
	wake    chan struct{}
	closed  chan struct{}
}

// Subscribe begins to listen to state changes. Close it.
func (h *Hub) Subscribe() *Subscription {
	sub := &Subscription{h: h, pending: map[string]struct{}{}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	h.subs.mu.Lock()
	h.subs.list[sub] = struct{}{}
	h.subs.mu.Unlock()
	return sub
}

// Next waits for the next change. After Close: fault.Expired.
func (s *Subscription) Next(ctx context.Context) (State, error) {
	for {
		if id, ok := s.take(); ok {
			return s.h.State(id), nil
		}
		select {
		case <-s.wake:
		case <-s.closed:
			return State{}, fault.New(fault.Expired, "watch states", "", "the subscription was closed")
		case <-ctx.Done():
			return State{}, ctx.Err()
		}
	}
}

func (s *Subscription) take() (string, bool) {
	s.h.subs.mu.Lock()
	defer s.h.subs.mu.Unlock()
	if len(s.order) == 0 {
		return "", false
	}
	id := s.order[0]
	s.order = s.order[1:]
	delete(s.pending, id)
	return id, true
}

// Close ends the subscription; twice is fine.
func (s *Subscription) Close() {
	s.h.subs.mu.Lock()
	defer s.h.subs.mu.Unlock()
	if _, ok := s.h.subs.list[s]; ok {
		delete(s.h.subs.list, s)
		close(s.closed)
	}
}
