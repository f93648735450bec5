package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/streams"
)

const (
	// heartbeat keeps an idle event stream open through proxies.
	heartbeat = 15 * time.Second
	// eventTimeout is how long one event may take to leave; then the reader is gone.
	eventTimeout = 30 * time.Second
)

// showEvents sends changes as server-sent events: `stream` with a stream's view, `deleted`
// with its name, `mark` with an event that was added or changed, `unmark` with the stream
// and id of one that is gone. The console starts from GET /v1/streams, and the events of
// what it shows, and applies these; a lost connection is mended by reading both again.
func showEvents(c *call) error {
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	if c.r.Method == http.MethodHead {
		return nil // the headers are the answer, and end
	}
	flush := http.NewResponseController(c.w)
	states, changes, marks := c.s.c.Hub.Subscribe(), c.s.c.Catalogue.Watch(), c.s.c.Events.Watch()
	defer states.Close()
	defer changes.Close()
	defer marks.Close()
	ctx, end := context.WithCancel(c.r.Context())
	defer end()
	c.r = c.r.WithContext(ctx)
	out := make(chan event)
	send := func(e event) bool {
		select {
		case out <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		for {
			state, err := states.Next(ctx)
			if err != nil {
				return
			}
			st, err := c.s.c.Catalogue.ByID(state.ID)
			if err == nil && c.sees(st) && !send(event{"stream", c.s.view(c.r.Context(), st)}) {
				return
			}
		}
	}()
	go func() {
		for {
			ch, err := changes.Next(ctx)
			if err != nil {
				return
			}
			if !c.sees(ch.Stream) {
				continue
			}
			e := event{"stream", nil}
			if ch.Kind == streams.Deleted {
				e = event{"deleted", map[string]string{"name": ch.Stream.Name}}
			} else {
				e.data = c.s.view(c.r.Context(), ch.Stream)
			}
			if !send(e) {
				return
			}
		}
	}()
	go func() {
		defer end()
		c.marks(ctx, marks, send)
	}()
	c.w.WriteHeader(http.StatusOK)
	if err := flush.Flush(); err != nil {
		return fault.Wrap(fault.Internal, "send events", "", err)
	}
	return c.pump(out, flush)
}

type event struct {
	name string
	data any
}

// pump writes events until the caller leaves. Errors of writing mean just that.
func (c *call) pump(out <-chan event, flush *http.ResponseController) error {
	beat := c.s.c.Clock.NewTimer(heartbeat)
	defer beat.Stop()
	for {
		var err error
		var due event
		select {
		case <-c.r.Context().Done():
			return nil
		case <-beat.C:
		case due = <-out:
		}
		_ = flush.SetWriteDeadline(time.Now().Add(eventTimeout))
		if due.name == "" {
			_, err = fmt.Fprint(c.w, ": still here\n\n")
		} else {
			err = writeEvent(c.w, due)
		}
		beat.Reset(heartbeat)
		if err != nil || flush.Flush() != nil {
			return nil
		}
	}
}

func writeEvent(w http.ResponseWriter, e event) error {
	text, err := json.Marshal(e.data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.name, text)
	return err
}

// sees reports whether the caller may know of st.
func (c *call) sees(st streams.Stream) bool {
	return st.Account == c.principal.Account && c.may(auth.DescribeStream, st.ARN()) == nil
}
