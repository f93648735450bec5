package streams

import (
	"context"

	"penstock/internal/fault"
)

// Watch tells of changes to the catalogue. It never blocks the catalogue: a stream
// that changes twice before Next is told once, as it then is.
type Watch struct {
	c       *Catalogue
	pending map[string]Change // under Catalogue.mu, like order
	order   []string          // ids of pending, oldest first
	wake    chan struct{}
	closed  chan struct{}
}

// Watch starts with a Created for each stream that is there. Close it.
func (c *Catalogue) Watch() *Watch {
	w := &Watch{c: c, pending: map[string]Change{}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.byID {
		w.pending[id] = Change{Created, *s}
		w.order = append(w.order, id)
	}
	c.watches[w] = struct{}{}
	return w
}

// tell adds ch to what each watch has yet to hear. mu is held.
func (c *Catalogue) tell(ch Change) {
	for w := range c.watches {
		id := ch.Stream.ID
		before, waiting := w.pending[id]
		if !waiting {
			w.order = append(w.order, id)
		} else if before.Kind == Created && ch.Kind == Updated {
			ch.Kind = Created
		}
		w.pending[id] = ch
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Next waits for the next change. After Close: fault.Expired.
func (w *Watch) Next(ctx context.Context) (Change, error) {
	for {
		if ch, ok := w.take(); ok {
			return ch, nil
		}
		select {
		case <-w.wake:
		case <-w.closed:
			return Change{}, fault.New(fault.Expired, "watch streams", "", "the watch was closed")
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

func (w *Watch) take() (Change, bool) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if len(w.order) == 0 {
		return Change{}, false
	}
	id := w.order[0]
	w.order = w.order[1:]
	ch := w.pending[id]
	delete(w.pending, id)
	return ch, true
}

// Close ends the watch; twice is fine.
func (w *Watch) Close() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if _, ok := w.c.watches[w]; ok {
		delete(w.c.watches, w)
		close(w.closed)
	}
}
