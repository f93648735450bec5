package web

import (
	"strconv"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/quantity"
)

const (
	// producerMost is the longest window of one timeline by the producer's clock: it is drawn
	// from the heads, some 300,000 in a week.
	producerMost = 7 * quantity.Day
	// producerPieces bounds what such a timeline holds: a clock may jump at each fragment.
	producerPieces = 4096
	// producerStray is how far a producer's clock may miss the end of the fragment before
	// and still go on: sender reports are no exact science.
	producerStray = 500 * time.Millisecond
)

// jumped is the reason of a gap in which nothing is missing by the server's clock.
const jumped = "the producer's clock jumped"

// producerLine draws a timeline on the producer's clock from heads in the order in which
// they came. Where that clock was set back, spans overlap. It is a state machine without I/O.
type producerLine struct {
	view       *timelineView
	start, end time.Time
	resolution time.Duration
	prev       fragments.Head
}

// add takes the next head; false: there are too many pieces.
func (l *producerLine) add(h fragments.Head) bool {
	from, to := h.Producer, h.ProducerEnd()
	v := l.view
	n := len(v.Spans)
	missing := time.Duration(0)
	if n > 0 {
		missing = from.Sub(l.prev.ProducerEnd())
	}
	stray := max(producerStray, l.resolution)
	if n > 0 && missing < stray && missing > -producerStray && (h.Gap == fragments.CauseNone || missing < l.resolution) {
		s := &v.Spans[n-1]
		s.End, s.Fragments, s.Bytes = later(s.End, clipTime(to, l.start, l.end)), s.Fragments+1, s.Bytes+h.Size
		*s.ServerEnd = h.End.UTC()
		l.prev = h
		return true
	}
	if n+len(v.Gaps) >= producerPieces {
		return false
	}
	if n > 0 && missing > 0 {
		g := gapView{Start: clipTime(l.prev.ProducerEnd(), l.start, l.end), End: clipTime(from, l.start, l.end), Reason: h.Gap.String(), Detail: h.GapDetail}
		if g.Reason == "" {
			g.Reason = jumped
		}
		v.Gaps = append(v.Gaps, g)
	}
	began, ended := h.Start.UTC(), h.End.UTC()
	v.Spans = append(v.Spans, spanView{Start: clipTime(from, l.start, l.end), End: clipTime(to, l.start, l.end), Fragments: 1, Bytes: h.Size,
		ServerStart: &began, ServerEnd: &ended})
	l.prev = h
	return true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// clipTime is t, or the end of the window that it lies outside of.
func clipTime(t, from, to time.Time) time.Time {
	switch {
	case t.Before(from):
		t = from
	case t.After(to):
		t = to
	}
	return t.UTC()
}

// showProducerTimeline answers a timeline by the producer's clock.
func showProducerTimeline(c *call, start, end time.Time, resolution time.Duration) error {
	if end.Sub(start) > producerMost {
		return fault.New(fault.Invalid, "read timeline", c.stream.Name, "longer than "+quantity.Days(producerMost)+" by the producer's clock").
			WithHint("ask for a shorter window, or by the server's clock")
	}
	v := timelineView{Clock: clockProducer, Start: start.UTC(), End: end.UTC(), Spans: []spanView{}, Gaps: []gapView{}, Events: []eventView{}}
	line := producerLine{view: &v, start: start, end: end, resolution: resolution}
	for h, err := range c.s.c.Hub.Log(c.stream).SelectBy(c.r.Context(), fragments.ProducerClock, fragments.Range{Start: start, End: end}) {
		if err != nil {
			return err
		}
		if !line.add(h) {
			return fault.New(fault.Invalid, "read timeline", c.stream.Name, "the producer's clock jumps more than "+strconv.Itoa(producerPieces)+" times in that window").
				WithHint("ask for a shorter window")
		}
	}
	return c.json(v)
}

// The names of clocks in answers.
const (
	clockServer   = "server"
	clockProducer = "producer"
)

// byServer refuses the producer's clock to whoever may see a time span only, which is one
// of the server's: what a camera says of its time must not open more.
func (c *call) byServer() error {
	if clock := c.r.URL.Query().Get("clock"); clock == "" || clock == clockServer {
		return nil
	}
	return fault.New(fault.Denied, "read", c.stream.Name, "the token is bound to a time window, which is one of the server's clock").
		WithHint("leave clock=producer out")
}
