package events

import (
	"context"
	"sync"

	"penstock/internal/fault"
)

// watchMax bounds the changes that a Watch holds for a reader who does not come.
const watchMax = 4096

// Change is an event that was added or changed, or that is gone.
type Change struct {
	Event Event // as it is now; Gone: Stream and ID alone
	Gone  bool
}

// watches are those who hear of changes.
type watches struct {
	mu   sync.Mutex // taken after all others
	list map[*Watch]struct{}
}

// key names an event.
type key struct{ stream, id string }

// Watch tells of changes from when it was made. It never holds the journal up: an event
// that changes twice before Next is told once, as it then is.
type Watch struct {
	all     *watches
	pending map[key]Change // under watches.mu, like order and behind
	order   []key
	behind  bool
	wake    chan struct{}
	closed  chan struct{}
}

// Watch begins to listen to changes. Close it.
func (j *Journal) Watch() *Watch {
	w := &Watch{all: &j.watches, pending: map[key]Change{}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	j.watches.mu.Lock()
	defer j.watches.mu.Unlock()
	if j.watches.list == nil {
		j.watches.list = map[*Watch]struct{}{}
	}
	j.watches.list[w] = struct{}{}
	return w
}

// tell adds a change to what each watch has yet to hear.
func (ws *watches) tell(ch Change) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	k := key{ch.Event.Stream, ch.Event.ID}
	for w := range ws.list {
		if _, waiting := w.pending[k]; !waiting {
			if len(w.order) >= watchMax {
				w.behind = true
				continue
			}
			w.order = append(w.order, k)
		}
		w.pending[k] = ch
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Next waits for the next change. fault.Expired: the watch was closed, or its reader was
// so far behind that changes are missing; read the list again.
func (w *Watch) Next(ctx context.Context) (Change, error) {
	for {
		ch, ok, err := w.take()
		if ok || err != nil {
			return ch, err
		}
		select {
		case <-w.wake:
		case <-w.closed:
			return Change{}, fault.New(fault.Expired, "watch events", "", "the watch was closed")
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

func (w *Watch) take() (Change, bool, error) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	if w.behind {
		return Change{}, false, fault.New(fault.Expired, "watch events", "", "the reader is too far behind")
	}
	if len(w.order) == 0 {
		return Change{}, false, nil
	}
	k := w.order[0]
	w.order = w.order[1:]
	ch := w.pending[k]
	delete(w.pending, k)
	return ch, true, nil
}

// Close ends the watch; twice is fine.
func (w *Watch) Close() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	if _, ok := w.all.list[w]; ok {
		delete(w.all.list, w)
		close(w.closed)
	}
}
