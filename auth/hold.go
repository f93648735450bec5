package auth

import (
	"context"
	"errors"

	"penstock/internal/fault"
)

// hold is something that goes on for as long as it stays allowed: a viewer's
// connection, a producer's session.
type hold struct {
	principal Principal
	action    Action
	resource  string
	context   Context
	shared    func() *ResourcePolicy // nil: the resource has no policy of its own
	cancel    context.CancelCauseFunc
}

func (h *hold) policy() *ResourcePolicy {
	if h.shared == nil {
		return nil
	}
	return h.shared()
}

// Hold authorizes something that lasts. The context it returns ends, with the refusal
// as context.Cause, within Config.Poll and a little of the moment when p may no longer
// do it: key removed, password changed, signed out, token expired, policy's dates over.
// When p may not do it now, the context has ended already. Call stop when done. Run must
// be running.
func (a *Authority) Hold(ctx context.Context, p Principal, action Action, resource string, c Context) (held context.Context, stop context.CancelFunc) {
	return a.HoldShared(ctx, p, action, resource, nil, c)
}

// HoldShared is Hold for a resource that may have a policy of its own: shared returns the
// present one, or nil; it is asked again and again and must be quick.
func (a *Authority) HoldShared(ctx context.Context, p Principal, action Action, resource string, shared func() *ResourcePolicy, c Context) (held context.Context, stop context.CancelFunc) {
	held, cancel := context.WithCancelCause(ctx)
	h := &hold{principal: p, action: action, resource: resource, context: c, shared: shared, cancel: cancel}
	a.mu.Lock()
	a.holds[h] = struct{}{}
	a.mu.Unlock()
	// Asked after it is registered, so that no change falls between.
	if err := a.AuthorizeShared(p, action, resource, h.policy(), c); err != nil {
		cancel(err)
	}
	return held, func() {
		a.mu.Lock()
		delete(a.holds, h)
		a.mu.Unlock()
		cancel(context.Canceled)
	}
}

// recheck asks again for the holds that which picks, and ends those now refused.
func (a *Authority) recheck(which func(*hold) bool) {
	for _, h := range a.picked(which) {
		c := h.context // its Time, when zero, becomes now
		if d, _ := a.ask(&h.principal, h.action, h.resource, h.policy(), &c); !d.Allowed {
			h.cancel(fault.New(fault.Denied, string(h.action), h.resource, d.worded(&h.principal, h.action).Reason))
		}
	}
}

// end ends the holds that which picks.
func (a *Authority) end(which func(*hold) bool, reason string) {
	for _, h := range a.picked(which) {
		h.cancel(fault.New(fault.Unauthentic, string(h.action), h.resource, reason))
	}
}

func (a *Authority) picked(which func(*hold) bool) []*hold {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*hold
	for h := range a.holds {
		if which(h) {
			list = append(list, h)
		}
	}
	return list
}

// Revocation names a person or key that was removed or may do something else now.
type Revocation struct {
	Principal string // Principal.ID
}

// Revocations is a subscription to them. It never blocks the Authority: a principal
// that changes twice before Next is told once.
type Revocations struct {
	a       *Authority
	pending map[string]struct{} // under Authority.mu
	wake    chan struct{}
	closed  chan struct{}
}

// Revoked subscribes to revocations. Close it. Doors that keep a stream open have
// Hold, which needs no subscription.
func (a *Authority) Revoked() *Revocations {
	r := &Revocations{a: a, pending: map[string]struct{}{}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	a.mu.Lock()
	a.watchers[r] = struct{}{}
	a.mu.Unlock()
	return r
}

// Next waits for a revocation.
func (r *Revocations) Next(ctx context.Context) (Revocation, error) {
	for {
		r.a.mu.Lock()
		for id := range r.pending {
			delete(r.pending, id)
			r.a.mu.Unlock()
			return Revocation{id}, nil
		}
		r.a.mu.Unlock()
		select {
		case <-r.wake:
		case <-r.closed:
			return Revocation{}, errors.New("subscription closed")
		case <-ctx.Done():
			return Revocation{}, ctx.Err()
		}
	}
}

// Close ends the subscription; twice is fine.
func (r *Revocations) Close() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	if _, ok := r.a.watchers[r]; ok {
		delete(r.a.watchers, r)
		close(r.closed)
	}
}

// announce tells subscribers and holds what a new directory changed.
func (a *Authority) announce(old, now *directory) {
	var gone []string
	for id, p := range old.people {
		if n := now.people[id]; n == nil || n.generation != p.generation || n.role != p.role {
			gone = append(gone, id)
		}
	}
	for id, k := range old.keys {
		if n := now.keys[id]; n == nil || n.generation != k.generation {
			gone = append(gone, id)
		}
	}
	a.recheck(func(*hold) bool { return true })
	if len(gone) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for r := range a.watchers {
		for _, id := range gone {
			r.pending[id] = struct{}{}
		}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}
