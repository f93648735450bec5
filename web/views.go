package web

import (
	"context"
	"sync"
	"time"

	"penstock/auth"
)

const (
	// viewSilence is how long a viewer by many requests asks for nothing before the view
	// has ended: longer than a player's buffer lasts.
	viewSilence = time.Minute
	// viewsMax bounds the views that are remembered; past it each leaves a line at most
	// every auth.ViewEvery, and none for its end.
	viewsMax = 10_000
)

// viewer tells views apart: who watches what, how, from where.
type viewer struct {
	principal, object, remote string
	action                    auth.Action
}

// viewing is a view under way.
type viewing struct {
	principal   auth.Principal
	begin, last time.Time
}

// views follows those who watch by many requests, a playlist and its segments, so that
// the audit log has the start and the end of each. Its methods may be called at once.
type views struct {
	mu   sync.Mutex
	open map[viewer]*viewing
}

// watch notes a request of a view; begun is what to write of the view that it starts,
// ended of one that it finds to be over.
func (v *views) watch(k viewer, p auth.Principal, now time.Time) (begun, ended *auth.Deed) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if seen := v.open[k]; seen != nil {
		if now.Sub(seen.last) < viewSilence {
			seen.last = now
			return nil, nil
		}
		ended = k.end(seen)
		*seen = viewing{p, now, now}
		return k.deed("start"), ended
	}
	if len(v.open) >= viewsMax {
		d := k.deed("view")
		d.Every = auth.ViewEvery
		return d, nil
	}
	if v.open == nil {
		v.open = map[viewer]*viewing{}
	}
	v.open[k] = &viewing{p, now, now}
	return k.deed("start"), nil
}

func (k viewer) deed(detail string) *auth.Deed {
	return &auth.Deed{Action: k.action, Object: k.object, Remote: k.remote, Detail: detail}
}

// end is the line of a view that lasted until its last request.
func (k viewer) end(w *viewing) *auth.Deed {
	return k.deed("stop after " + w.last.Sub(w.begin).Round(time.Second).String())
}

// sweep writes the end of each view that was silent since before, and forgets it.
func (v *views) sweep(before time.Time, write func(auth.Principal, auth.Deed)) {
	type line struct {
		p auth.Principal
		d *auth.Deed
	}
	var lines []line
	v.mu.Lock()
	for k, w := range v.open {
		if w.last.Before(before) {
			lines = append(lines, line{w.principal, k.end(w)})
			delete(v.open, k)
		}
	}
	v.mu.Unlock()
	for _, l := range lines {
		write(l.p, *l.d)
	}
}

// viewed notes a request of a viewer by many requests.
func (c *call) viewed(rt route) {
	k := viewer{principal: c.principal.ARN(), object: c.stream.ARN(), remote: remoteHost(c.r), action: rt.Action}
	begun, ended := c.s.views.watch(k, c.principal, c.s.c.Clock.Now())
	for _, d := range []*auth.Deed{ended, begun} {
		if d != nil {
			c.s.c.Auth.Note(c.r.Context(), c.principal, *d)
		}
	}
}

// followViews ends views that fell silent until ctx ends, and then all of them.
func (s *Server) followViews(ctx context.Context) {
	write := func(p auth.Principal, d auth.Deed) { s.c.Auth.Note(context.WithoutCancel(ctx), p, d) }
	for ctx.Err() == nil {
		timer := s.c.Clock.NewTimer(viewSilence / 4)
		select {
		case <-timer.C:
			s.views.sweep(s.c.Clock.Now().Add(-viewSilence), write)
		case <-ctx.Done():
			timer.Stop()
		}
	}
	s.views.sweep(s.c.Clock.Now().Add(time.Hour), write)
}
