package web

import (
	"context"
	"time"

	"penstock/auth"
	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/playback"
	"penstock/streams"
)

// timelineMost is the longest window of one timeline question.
const timelineMost = 3660 * quantity.Day

type timelineView struct {
	Clock string     `json:"clock"` // server or producer: by which start, end, spans and gaps are
	Start time.Time  `json:"start"`
	End   time.Time  `json:"end"`
	Spans []spanView `json:"spans"`
	Gaps  []gapView  `json:"gaps"`
	// Events are those that overlap the window, for who may see them; EventsMore: there are
	// more than these.
	Events     []eventView `json:"events"`
	EventsMore bool        `json:"events_more,omitempty"`
}

type spanView struct {
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Fragments int64     `json:"fragments"`
	Bytes     int64     `json:"bytes"`
	// ServerStart and ServerEnd are the same on the server's clock, in a timeline by the
	// producer's.
	ServerStart *time.Time `json:"server_start,omitempty"`
	ServerEnd   *time.Time `json:"server_end,omitempty"`
}

type gapView struct {
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail,omitempty"`
}

func showTimeline(c *call) error {
	now := c.s.c.Clock.Now()
	start, end, err := playback.Window(c.r, now, quantity.Day, timelineMost)
	if err != nil {
		return err
	}
	start, end = c.within(start, end)
	resolution := end.Sub(start) / 2000
	if text := c.r.URL.Query().Get("resolution"); text != "" {
		if resolution, err = quantity.Duration(text); err != nil {
			return fault.Wrap(fault.Invalid, "read resolution", "", err)
		}
	}
	clock, err := playback.Clock(c.w, c.r)
	if err != nil {
		return err
	}
	if clock == fragments.ProducerClock {
		return showProducerTimeline(c, start, end, resolution)
	}
	line, err := c.s.c.Hub.Log(c.stream).Coverage(c.r.Context(), start, end, resolution)
	if err != nil {
		return err
	}
	v := viewTimeline(line, start, end)
	if err := c.timelineEvents(c.r.Context(), &v); err != nil {
		return err
	}
	return c.json(v)
}

func viewTimeline(line fragments.Timeline, start, end time.Time) timelineView {
	v := timelineView{Clock: clockServer, Start: start.UTC(), End: end.UTC(), Spans: []spanView{}, Gaps: []gapView{}}
	for _, sp := range line.Spans {
		v.Spans = append(v.Spans, spanView{Start: sp.Start.UTC(), End: sp.End.UTC(), Fragments: int64(sp.Fragments), Bytes: sp.Bytes})
	}
	for _, g := range line.Gaps {
		v.Gaps = append(v.Gaps, gapView{g.Start.UTC(), g.End.UTC(), g.Cause.String(), g.Detail})
	}
	return v
}

func listFragments(c *call) error {
	return c.s.c.Export.ServeList(c.w, c.r, c.stream)
}

func showFragment(c *call) error {
	return c.s.c.Export.ServeFragment(c.w, c.r, c.stream, c.r.PathValue("file"))
}

func livePlaylist(c *call) error {
	return c.s.c.HLS.ServeLivePlaylist(c.w, c.r, c.stream)
}

func liveFile(c *call) error {
	return c.s.c.HLS.ServeLiveFile(c.w, c.r, c.stream, c.r.PathValue("file"))
}

func vodPlaylist(c *call) error {
	return c.s.c.HLS.ServeVOD(c.w, c.r, c.stream)
}

func masterPlaylist(c *call) error {
	return c.s.c.HLS.ServeMaster(c.w, c.r, c.stream)
}

func keyPlaylist(c *call) error {
	return c.s.c.HLS.ServeKeys(c.w, c.r, c.stream)
}

func showKey(c *call) error {
	return c.s.c.Export.ServeKey(c.w, c.r, c.stream, c.r.PathValue("file"))
}

func showClip(c *call) error {
	return c.s.c.Clip.ServeClip(c.w, c.r, c.stream)
}

func showStill(c *call) error {
	return c.s.c.Still.ServeStill(c.w, c.r, c.stream)
}

// liveSocket opens a socket on the stream of the path; each further stream that its
// caller adds is asked of auth as a request of its own would be.
func liveSocket(c *call) error {
	// A socket may add the same stream again and again: one line each for its start and end.
	ends := map[string]func(){}
	defer func() {
		for _, ended := range ends {
			ended()
		}
	}()
	ctx, end := context.WithCancel(c.r.Context())
	defer end()
	return c.s.c.Live.ServeSocket(c.w, c.r.WithContext(ctx), c.stream, func(_ context.Context, name string) (streams.Stream, error) {
		st, err := c.s.c.Catalogue.Get(c.principal.Account, name)
		if err != nil || c.may(auth.DescribeStream, st.ARN()) != nil {
			err := fault.New(fault.NotFound, "find stream", name, "no such stream")
			c.s.c.Auth.Note(c.r.Context(), c.principal, auth.Deed{Action: auth.GetMedia, Object: name, Remote: remoteHost(c.r), Err: err})
			return streams.Stream{}, err
		}
		err = c.may(auth.GetMedia, st.ARN())
		if err != nil {
			c.s.c.Auth.Note(c.r.Context(), c.principal, auth.Deed{Action: auth.GetMedia, Object: st.ARN(), Remote: remoteHost(c.r), Err: err})
		} else if ends[st.ID] == nil && st.ID != c.stream.ID {
			// What is withdrawn for one stream ends the socket; the page opens another, and
			// asks again for each.
			held, release := c.s.c.Auth.Hold(ctx, c.principal, auth.GetMedia, st.ARN(), c.context())
			context.AfterFunc(held, end)
			ended := c.watching(auth.GetMedia, st.ARN())
			ends[st.ID] = func() { release(); ended() }
		}
		return st, err
	})
}
