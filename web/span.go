package web

import (
	"path"
	"strings"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/playback"
	"penstock/playback/export"
)

// What the doors of package playback show when a request names no start. A media token
// that is bound to a time span is asked about the same.
const (
	listUsual = time.Hour
	vodUsual  = time.Hour
	clipUsual = time.Minute
	// fragmentLongest is longer than any fragment lasts.
	fragmentLongest = time.Minute
)

func (c *call) window(usual time.Duration) (from, to time.Time, err error) {
	if err := c.byServer(); err != nil {
		return from, to, err
	}
	return playback.Window(c.r, c.s.c.Clock.Now(), usual, timelineMost)
}

func listSpan(c *call) (from, to time.Time, err error) { return c.window(listUsual) }
func vodSpan(c *call) (from, to time.Time, err error)  { return c.window(vodUsual) }
func clipSpan(c *call) (from, to time.Time, err error) { return c.window(clipUsual) }

// timelineSpan is narrowed to the token's: a page that shows a day need not know it.
func timelineSpan(c *call) (from, to time.Time, err error) {
	if from, to, err = c.window(quantity.Day); err != nil {
		return from, to, err
	}
	if from, to = c.within(from, to); !from.Before(to) {
		err = fault.New(fault.Denied, "read", c.stream.Name, "the token is bound to another time window")
	}
	return from, to, err
}

// within narrows a window to the span that the caller's media token is bound to. Of one
// that lies outside, nothing is left.
func (c *call) within(start, end time.Time) (time.Time, time.Time) {
	from, to, bound := c.principal.Window()
	if !bound {
		return start, end
	}
	if !from.IsZero() && start.Before(from) {
		start = from
	}
	if !to.IsZero() && end.After(to) {
		end = to
	}
	return start, end
}

// liveSpan is now, and as far back as the playlist lists.
func liveSpan(c *call) (from, to time.Time, err error) {
	text := c.r.URL.Query().Get("dvr")
	if text == "" {
		return from, to, nil
	}
	back, err := quantity.Duration(text)
	if err != nil || back <= 0 {
		return from, to, fault.New(fault.Invalid, "read", "dvr", "not a duration such as 30m or 6h")
	}
	to = c.s.c.Clock.Now()
	return to.Add(-back), to, nil
}

// keysSpan is that of a playlist on demand where a window is named, else the live one's.
func keysSpan(c *call) (from, to time.Time, err error) {
	if q := c.r.URL.Query(); q.Has("start") || q.Has("end") {
		return vodSpan(c)
	}
	return liveSpan(c)
}

// stillSpan is an instant. What is shown is the last frame before it, but not one from
// before the token's span.
func stillSpan(c *call) (from, to time.Time, err error) {
	if err := c.byServer(); err != nil {
		return from, to, err
	}
	at := c.s.c.Clock.Now()
	if text := c.r.URL.Query().Get("at"); text != "" && text != "now" {
		if at, err = playback.ParseTime(text, at); err != nil {
			return from, to, err
		}
	}
	lo, hi, _ := c.principal.Window()
	if lo.IsZero() || at.Before(lo) || !hi.IsZero() && at.After(hi) {
		return at, at, nil
	}
	h, err := playback.Before(c.r.Context(), c.s.c.Hub.Log(c.stream), at)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return from, to, err
	}
	if cur, ok := c.s.c.Hub.Current(c.stream.ID); ok && !at.Before(cur.Start) && at.Sub(cur.Start) < fragmentLongest {
		return at, at, nil
	}
	if err != nil || !h.End.After(lo) {
		return from, to, fault.New(fault.NotFound, "make still of", c.stream.Name, "there is no picture in the token's time span")
	}
	return at, at, nil
}

// fragmentSpan is the fragment's begin, which is its number. One that reaches into the
// token's span is of it.
func fragmentSpan(c *call) (from, to time.Time, err error) {
	file := c.r.PathValue("file")
	n, err := fragments.ParseNumber(strings.TrimPrefix(strings.TrimSuffix(file, path.Ext(file)), "init-"))
	if err != nil {
		return from, to, err
	}
	return c.fragmentSpan(n)
}

// keySpan is fragmentSpan of a key frame's fragment.
func keySpan(c *call) (from, to time.Time, err error) {
	n, _, err := export.ParseKey(c.r.PathValue("file"))
	if err != nil {
		return from, to, err
	}
	return c.fragmentSpan(n)
}

func (c *call) fragmentSpan(n fragments.Number) (from, to time.Time, err error) {
	at := time.UnixMicro(int64(n))
	lo, _, _ := c.principal.Window()
	if gap := lo.Sub(at); gap <= 0 || gap > fragmentLongest {
		return at, at, nil
	}
	for h, err := range c.s.c.Hub.Log(c.stream).Select(c.r.Context(), fragments.Range{Start: at, End: lo, Limit: 8}) {
		if err != nil {
			return from, to, err
		}
		if h.Number == n && h.End.After(lo) {
			return lo, lo, nil
		}
	}
	return at, at, nil
}
