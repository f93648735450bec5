package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/playback"
	"penstock/streams"
	"penstock/streams/events"
)

// timelineEvents is how many events one timeline shows.
const timelineEvents = 1000

// eventView is an event as the native API shows it.
type eventView struct {
	ID        string          `json:"id"`
	Stream    string          `json:"stream"`
	Kind      string          `json:"kind"`
	Label     string          `json:"label"`
	Start     time.Time       `json:"start"`
	End       *time.Time      `json:"end"` // null: it goes on
	Open      bool            `json:"open"`
	Before    string          `json:"before"`
	After     string          `json:"after"`
	Keep      string          `json:"keep"`       // 30d, forever, or empty
	KeptFrom  *time.Time      `json:"kept_from"`  // null: it keeps no video
	KeptTo    *time.Time      `json:"kept_to"`    // null: it keeps none, or goes on
	KeptUntil *time.Time      `json:"kept_until"` // null: for ever, or it goes on, or it keeps none
	By        string          `json:"by"`
	Data      json.RawMessage `json:"data"`
}

type eventsView struct {
	Events []eventView `json:"events"`
	Next   string      `json:"next,omitempty"`
}

func viewEvent(st streams.Stream, e events.Event) eventView {
	return eventView{ID: e.ID, Stream: st.Name, Kind: e.Kind, Label: e.Label, Start: e.Start.UTC(), End: instant(e.End), Open: e.Open(),
		Before: quantity.Days(e.Before), After: quantity.Days(e.After), Keep: e.Keep.String(),
		KeptFrom: instant(e.KeptFrom), KeptTo: instant(e.KeptTo()), KeptUntil: instant(e.KeptUntil), By: e.By, Data: e.Data}
}

func viewEvents(st streams.Stream, list []events.Event) []eventView {
	out := make([]eventView, 0, len(list))
	for _, e := range list {
		out = append(out, viewEvent(st, e))
	}
	return out
}

// newEventBody is an event that is to be added. Times are RFC 3339, now, or -10m.
type newEventBody struct {
	ID     string          `json:"id"` // so that a second try adds nothing
	Kind   string          `json:"kind"`
	Label  string          `json:"label"`
	Start  string          `json:"start"`
	End    string          `json:"end"`
	Open   bool            `json:"open"`
	Before *string         `json:"before"`
	After  *string         `json:"after"`
	Keep   string          `json:"keep"`
	Data   json.RawMessage `json:"data"`
}

// event reads the body. Nothing of it is trusted.
func (b newEventBody) event(now time.Time) (n events.New, err error) {
	n = events.New{ID: b.ID, Kind: b.Kind, Label: b.Label, Open: b.Open, Before: events.RollUsual, After: events.RollUsual, Data: b.Data}
	if n.Kind == "" {
		n.Kind = "mark"
	}
	if n.Start, err = moment(b.Start, now); err != nil {
		return n, err
	}
	if n.End, err = moment(b.End, now); err != nil {
		return n, err
	}
	for text, into := range map[*string]*time.Duration{b.Before: &n.Before, b.After: &n.After} {
		if text == nil {
			continue
		}
		if *into, err = quantity.Duration(*text); err != nil {
			return n, fault.Wrap(fault.Invalid, "read before and after of event", "", err)
		}
	}
	n.Keep, err = events.ParseTerm(b.Keep)
	return n, err
}

// moment reads an instant; an empty text is none.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return playback.ParseTime(text, now)
}

func addEvent(c *call) error {
	var body newEventBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	n, err := body.event(c.s.c.Clock.Now())
	if err != nil {
		return err
	}
	n.Stream, n.By, n.Owner = c.stream.ID, c.principal.Name, owner(c.principal)
	if n.Keep == 0 {
		c.every = auth.ViewEvery // a detector adds thousands: one line says that it does
	} else if err := c.may(auth.KeepVideo, c.stream.ARN()); err != nil {
		return err
	} else if err := c.s.keeping.take(n.Owner, c.s.c.Clock.Now()); err != nil {
		return err
	}
	e, made, err := c.s.c.Events.Add(c.r.Context(), n)
	if err != nil {
		return err
	}
	if n.Keep != 0 {
		c.object = c.eventObject(e.ID)
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
		c.w.Header().Set("Location", "/v1/streams/"+c.stream.Name+"/events/"+e.ID)
	}
	c.s.answer(c.w, status, viewEvent(c.stream, e))
	return nil
}

// owner is who a principal is, for good: a name may be given to another.
func owner(p auth.Principal) string { return strconv.Itoa(int(p.Kind)) + ":" + p.ID }

// eventObject names an event in the audit log.
func (c *call) eventObject(id string) string { return c.stream.ARN() + "/event/" + id }

func listEvents(c *call) error {
	q := c.r.URL.Query()
	limit, err := number(q.Get("limit"), events.ListMax)
	if err != nil {
		return err
	}
	ask := events.Query{Stream: c.stream.ID, Kind: q.Get("kind"), After: q.Get("next"), Limit: limit}
	switch text := q.Get("order"); text {
	case "", "asc":
	case "desc":
		ask.Newest = true
	default:
		return fault.New(fault.Invalid, "read order", fmt.Sprintf("%.40q", text), "it is asc or desc")
	}
	now := c.s.c.Clock.Now()
	if ask.Start, err = moment(q.Get("start"), now); err != nil {
		return err
	}
	if ask.End, err = moment(q.Get("end"), now); err != nil {
		return err
	}
	if !ask.Start.IsZero() && !ask.End.IsZero() && !ask.Start.Before(ask.End) {
		return fault.New(fault.Invalid, "read window", "", "the start is not before the end")
	}
	page, err := c.s.c.Events.List(c.r.Context(), ask)
	if err != nil {
		return err
	}
	return c.json(eventsView{viewEvents(c.stream, page.Events), page.Next})
}

func showEvent(c *call) error {
	e, err := c.s.c.Events.Get(c.r.Context(), c.stream.ID, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(viewEvent(c.stream, e))
}

// eventPatch changes what it names and leaves the rest.
type eventPatch struct {
	Label *string          `json:"label"`
	End   *string          `json:"end"` // now, RFC 3339, or -10s: ends one that goes on
	Keep  *string          `json:"keep"`
	Data  *json.RawMessage `json:"data"`
}

// ownEvent finds the event of the path, if the caller may change it: whoever made it may,
// and who may change everybody's.
func (c *call) ownEvent() (events.Event, error) {
	id := c.r.PathValue("id")
	c.object = c.eventObject(id)
	e, err := c.s.c.Events.Get(c.r.Context(), c.stream.ID, id)
	if err != nil || e.Owner == owner(c.principal) {
		return e, err
	}
	return e, c.may(auth.ChangeEvent, c.stream.ARN())
}

func changeEvent(c *call) error {
	var body eventPatch
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	e, err := c.ownEvent()
	if err != nil {
		return err
	}
	patch := events.Patch{Label: body.Label, Data: body.Data}
	if body.End != nil {
		end, err := playback.ParseTime(*body.End, c.s.c.Clock.Now())
		if err != nil {
			return err
		}
		patch.End = &end
	}
	if body.Keep != nil {
		keep, err := events.ParseTerm(*body.Keep)
		if err != nil {
			return err
		}
		if keep != 0 {
			if err := c.may(auth.KeepVideo, c.stream.ARN()); err != nil {
				return err
			}
		}
		patch.Keep = &keep
	}
	if err := c.paced(e, body.Keep != nil); err != nil {
		return err
	}
	if e, err = c.s.c.Events.Change(c.r.Context(), c.stream.ID, e.ID, patch); err != nil {
		return err
	}
	return c.json(viewEvent(c.stream, e))
}

// paced counts a change of an event that keeps video, or will. Of one that keeps none one
// line in a while says that it was changed, as of adding.
func (c *call) paced(e events.Event, keep bool) error {
	if keep || e.Keep != 0 {
		return c.s.keeping.take(owner(c.principal), c.s.c.Clock.Now())
	}
	c.every, c.object = auth.ViewEvery, ""
	return nil
}

func deleteEvent(c *call) error {
	e, err := c.ownEvent()
	if err != nil {
		return err
	}
	if err := c.paced(e, false); err != nil {
		return err
	}
	if err := c.s.c.Events.Delete(c.r.Context(), c.stream.ID, e.ID); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// timelineEvents adds the events of a window to a timeline, for those who may see them, if
// the caller wants any: who asks for the timelines of a wall of cameras does not.
func (c *call) timelineEvents(ctx context.Context, v *timelineView) error {
	v.Events = []eventView{}
	switch text := c.r.URL.Query().Get("events"); text {
	case "", "true":
	case "false":
		return nil
	default:
		return fault.New(fault.Invalid, "read events", fmt.Sprintf("%.40q", text), "it is true or false")
	}
	if c.may(auth.ListEvents, c.stream.ARN()) != nil {
		return nil
	}
	page, err := c.s.c.Events.List(ctx, events.Query{Stream: c.stream.ID, Start: v.Start, End: v.End, Limit: timelineEvents})
	if err != nil {
		return err
	}
	v.Events, v.EventsMore = viewEvents(c.stream, page.Events), page.Next != ""
	return nil
}

// marks sends each change of an event that the caller may see. It ends, and then the
// whole answer does, when the caller is too far behind to hear of all.
func (c *call) marks(ctx context.Context, watch *events.Watch, send func(event) bool) {
	for {
		ch, err := watch.Next(ctx)
		if err != nil {
			return
		}
		st, err := c.s.c.Catalogue.ByID(ch.Event.Stream)
		if err != nil || !c.sees(st) || c.may(auth.ListEvents, st.ARN()) != nil {
			continue
		}
		e := event{"mark", viewEvent(st, ch.Event)}
		if ch.Gone {
			e = event{"unmark", map[string]string{"stream": st.Name, "id": ch.Event.ID}}
		}
		if !send(e) {
			return
		}
	}
}
