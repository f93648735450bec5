// Package playback is what the rooms that serve media to people share: how they
// read times and windows from a request, the media token that URLs inside a
// playlist carry, and the metrics. Each way of watching is a sub-package.
//
// Nothing here asks who the caller is: a handler gets a request that package web
// has already admitted, and the stream that it is about. A handler returns an
// error only while nothing of the answer has been sent.
package playback

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/quantity"
)

// TokenMax bounds the media token that a playlist repeats in every URL.
const TokenMax = 2048

// Token returns the query suffix ("?token=...", or "") that relative URLs inside an
// answer to r need so that they are admitted as r was. It is safe inside a quoted
// playlist attribute.
func Token(r *http.Request) string {
	t := r.URL.Query().Get("token")
	if t == "" || len(t) > TokenMax {
		return ""
	}
	return "?token=" + url.QueryEscape(t)
}

// ParseTime reads an instant of server time: RFC 3339 ("2026-03-01T10:00:00.5Z"),
// "now", a negative duration before now ("-10m", "-2d"), or microseconds since 1970 in
// decimal, as fragment numbers are.
func ParseTime(s string, now time.Time) (time.Time, error) {
	bad := func(why string) (time.Time, error) {
		return time.Time{}, fault.New(fault.Invalid, "read time", strconv.Quote(clipText(s)), why).
			WithHint("use RFC 3339 such as 2026-03-01T10:00:00Z, or -10m")
	}
	switch {
	case s == "now":
		return now, nil
	case strings.HasPrefix(s, "-"):
		d, err := quantity.Duration(s[1:])
		if err != nil || now.Add(-d).UnixMicro() < 0 {
			return bad("not a duration before now")
		}
		return now.Add(-d), nil
	case isDigits(s):
		us, err := strconv.ParseInt(s, 10, 64)
		if err != nil || us > maxMicros {
			return bad("not microseconds since 1970")
		}
		return time.UnixMicro(us), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		// A plus sign of a zone offset that was not escaped arrives as a space.
		t, err = time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "+", 1))
	}
	if err != nil {
		return bad("not a time")
	}
	if us := t.UnixMicro(); us < 0 || us > maxMicros {
		return bad("outside the years 1970 to 2200")
	}
	return t, nil
}

// maxMicros is the year 2200: later instants come from mistakes, and overflow nanoseconds.
const maxMicros = 7_258_118_400_000_000

// Window reads start and end from the query of r. A missing end is now, a missing
// start is span before the end; an end in the future is kept. The window is never
// empty and never longer than most: fault.Invalid says so.
func Window(r *http.Request, now time.Time, span, most time.Duration) (start, end time.Time, err error) {
	q := r.URL.Query()
	end = now
	if s := q.Get("end"); s != "" {
		if end, err = ParseTime(s, now); err != nil {
			return start, end, err
		}
	}
	start = end.Add(-span)
	if s := q.Get("start"); s != "" {
		if start, err = ParseTime(s, now); err != nil {
			return start, end, err
		}
	}
	if !start.Before(end) {
		return start, end, fault.New(fault.Invalid, "read window", "", "the start is not before the end")
	}
	if end.Sub(start) > most {
		return start, end, fault.New(fault.Invalid, "read window", "", "longer than "+quantity.Days(most)).
			WithHint("ask for a shorter window")
	}
	return start, end, nil
}

// ClockHeader names the clock by which a request's times were meant: server or producer.
const ClockHeader = "X-Penstock-Clock"

// Clock reads whose clock the times of r are meant by, clock=server or clock=producer, and
// says so in the answer. Durations before now are before the server's.
func Clock(w http.ResponseWriter, r *http.Request) (fragments.Clock, error) {
	switch c := r.URL.Query().Get("clock"); c {
	case "", "server":
		w.Header().Set(ClockHeader, "server")
		return fragments.ServerClock, nil
	case "producer":
		w.Header().Set(ClockHeader, "producer")
		return fragments.ProducerClock, nil
	default:
		return 0, fault.New(fault.Invalid, "read clock", strconv.Quote(clipText(c)), "neither server nor producer")
	}
}

// Begin is when a fragment begins by a clock.
func Begin(h fragments.Head, c fragments.Clock) time.Time {
	if c == fragments.ProducerClock {
		return h.Producer
	}
	return h.Start
}

// End is when a fragment ends by a clock.
func End(h fragments.Head, c fragments.Clock) time.Time {
	if c == fragments.ProducerClock {
		return h.ProducerEnd()
	}
	return h.End
}

// ServerTime is the server's time at which a fragment's clock said t.
func ServerTime(h fragments.Head, c fragments.Clock, t time.Time) time.Time {
	return t.Add(h.Start.Sub(Begin(h, c)))
}

func isDigits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// clipText keeps what an error message repeats of a request short.
func clipText(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

// NoneMatch reports whether the caller already has what etag names (RFC 9110 §13.1.2).
func NoneMatch(r *http.Request, etag string) bool {
	for _, v := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		if v = strings.TrimPrefix(strings.TrimSpace(v), "W/"); v == etag || v == "*" {
			return true
		}
	}
	return false
}
