package hls

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/playback"
)

const (
	// pastLongest is the farthest that a live playlist reaches back: at two seconds a
	// segment a first answer is a quarter of a megabyte an hour before compression, and
	// delta updates are small.
	pastLongest = 24 * time.Hour
	// pastMost bounds the segments before the window that one packager remembers: 24 h
	// of the shortest fragments.
	pastMost = 90_000
)

// pastSegment is a listed segment older than the window. Its media is in the log.
type pastSegment struct {
	number   fragments.Number // 0: it cannot be had
	start    time.Time
	duration time.Duration
	init     string // URI of its initialization section without ".mp4"
	breaks   bool
}

// past is what comes before a window for those who ask to seek back in a live playlist.
// Sequence numbers count back from the window's first segment, without holes.
type past struct {
	keep     time.Duration // how far back; 0: nobody asked
	reached  time.Time     // the log was looked at back to here
	segments []pastSegment // oldest first
	section  [2]string     // the window's name of the newest one's initialization section, and its URI
}

// parsePast reads the dvr parameter: how far back the playlist reaches.
func parsePast(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("dvr")
	if text == "" {
		return 0, nil
	}
	d, err := quantity.Duration(text)
	if err != nil || d <= 0 {
		return 0, fault.New(fault.Invalid, "read", "dvr", "not a duration such as 30m or 6h")
	}
	return min(d, pastLongest), nil
}

// retire keeps what leaves the window, when somebody seeks back; it follows w.trim's count
// of discontinuities.
func (p *past) retire(s *segment) {
	if p.keep == 0 {
		return
	}
	if p.section[0] != s.init {
		// The window's own sections are forgotten some day, the log's are not.
		p.section = [2]string{s.init, "live/init-" + s.init}
		if s.number != 0 {
			p.section[1] = initURI(s.number)
		}
	}
	p.segments = append(p.segments, pastSegment{number: s.number, start: s.start, duration: s.duration, init: p.section[1], breaks: s.breaks})
	end := s.start.Add(s.duration)
	n := 0
	for n < len(p.segments) && (end.Sub(p.segments[n].start) > p.keep || len(p.segments)-n > pastMost) {
		n++
	}
	if n > 64 || n == len(p.segments) { // moved seldom
		p.segments = slices.Clone(p.segments[n:])
	}
}

func initURI(n fragments.Number) string { return "fragments/init-" + strconv.FormatUint(uint64(n), 10) }

// oldest is where the known segments begin.
func (w *window) oldest() (time.Time, bool) {
	switch {
	case len(w.past.segments) > 0:
		return w.past.segments[0].start, true
	case len(w.segments) > 0:
		return w.segments[0].start, true
	case w.open != nil:
		return w.open.start, true
	}
	return time.Time{}, false
}

// newest is where the listed segments end.
func (w *window) newest() (time.Time, bool) {
	if n := len(w.segments); n > 0 {
		return w.segments[n-1].start.Add(w.segments[n-1].duration), true
	}
	if n := len(w.past.segments); n > 0 {
		return w.past.segments[n-1].start.Add(w.past.segments[n-1].duration), true
	}
	return time.Time{}, false
}

// prepend puts fragments of the log before all that is known, as long as their durations
// fit the target, which never changes. heads may reach into what is known: that tells
// whether a break lies between. Where the first of what was known turns out to follow
// one, the discontinuity sequence makes up for its new tag.
func (w *window) prepend(heads []fragments.Head) {
	n := len(heads)
	from, ok := w.oldest()
	for ok && n > 0 && heads[n-1].End.After(from.Add(touch)) {
		n--
	}
	older, known := heads[:n], heads[n:]
	for i := len(older) - 1; i >= 0; i-- {
		if math.Round(older[i].End.Sub(older[i].Start).Seconds()) > w.target.Seconds() {
			older = older[i+1:]
			break
		}
	}
	if len(older) == 0 {
		return
	}
	list := make([]pastSegment, 0, len(older)+len(w.past.segments))
	init := ""
	for i, h := range older {
		if i == 0 || h.Run != older[i-1].Run {
			init = initURI(h.Number)
		}
		list = append(list, pastSegment{number: h.Number, start: h.Start, duration: h.End.Sub(h.Start), init: init,
			breaks: i > 0 && playback.Breaks(older[i-1], h)})
	}
	last := older[len(older)-1]
	if !ok || from.Sub(last.End) > touch || len(known) > 0 && playback.Breaks(last, known[0]) {
		w.breakFirst()
	}
	w.past.segments = append(list, w.past.segments...)
}

// breakFirst puts a discontinuity before the oldest known segment.
func (w *window) breakFirst() {
	s := w.open
	switch {
	case len(w.past.segments) > 0:
		w.past.segments[0].breaks = true
		return
	case len(w.segments) > 0:
		s = w.segments[0]
	case s == nil:
		w.carry = true
		return
	}
	if !s.breaks {
		s.breaks = true
		w.breaks -= min(w.breaks, 1)
	}
}

// renderPast writes the playlist with what is known of the time since d before the end.
func (w *window) renderPast(b []byte, skip bool, d time.Duration) []byte {
	list, breaks := w.pastOf(d)
	skipped := 0
	if skip {
		skipped = w.skippable()
		if age := w.duration(); age <= skipTargets*w.target {
			// The window is shorter than the skip boundary: some of the past must be listed too.
			for skipped = len(list); skipped > 0 && age <= skipTargets*w.target; skipped-- {
				age += list[skipped-1].duration
			}
		} else {
			skipped += len(list)
		}
	}
	b = w.renderTop(b, w.firstNumber()-uint64(len(list)), breaks, skipped)
	init := ""
	for _, s := range list[min(skipped, len(list)):] {
		b = s.append(b, &init)
	}
	return w.renderSegments(b, max(0, skipped-len(list)))
}

// pastOf is what of the past lies within d before the end, and the discontinuity sequence
// of a playlist that begins with it.
func (w *window) pastOf(d time.Duration) (list []pastSegment, breaks uint64) {
	list, breaks = w.past.segments, w.breaks
	if end, ok := w.newest(); ok {
		since := end.Add(-d)
		first, _ := slices.BinarySearchFunc(list, since, func(s pastSegment, t time.Time) int { return s.start.Compare(t) })
		list = list[first:]
	}
	for _, s := range list {
		if s.breaks {
			breaks -= min(breaks, 1)
		}
	}
	return list, breaks
}

// duration is that of all in the window.
func (w *window) duration() time.Duration {
	d := w.openDuration()
	for _, s := range w.segments {
		d += s.duration
	}
	return d
}

func (s pastSegment) append(b []byte, init *string) []byte {
	if s.breaks {
		b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	}
	if *init != s.init {
		*init = s.init
		b = append(append(append(b, `#EXT-X-MAP:URI="`...), s.init...), ".mp4"+tokenMark+"\"\n"...)
	}
	b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
	b = append(s.start.UTC().AppendFormat(b, timestampStyle), '\n')
	if s.number == 0 {
		b = append(b, "#EXT-X-GAP\n"...)
	}
	b = append(b, "#EXTINF:"...)
	b = append(appendSeconds(b, s.duration), ",\nfragments/"...)
	return append(strconv.AppendUint(b, uint64(s.number), 10), ".m4s"+tokenMark+"\n"...)
}

// reach makes the window know the stream's fragments back to d before now.
func (p *packager) reach(ctx context.Context, d time.Duration) error {
	if keep := p.st.Retention; keep > 0 {
		d = min(d, keep)
	}
	since := p.s.c.Clock.Now().Add(-d)
	p.mu.Lock()
	w := p.win
	w.past.keep = max(w.past.keep, d)
	until, ok := w.oldest()
	if !ok {
		until = p.s.c.Clock.Now()
	}
	known := !w.past.reached.IsZero() && !since.Before(w.past.reached) || !since.Before(until)
	p.mu.Unlock()
	if known {
		return nil
	}
	_, err, _ := p.reads.Do("past", func() (any, error) {
		var heads []fragments.Head
		for h, err := range p.log.Select(context.WithoutCancel(ctx), fragments.Range{Start: since, End: until.Add(touch)}) {
			if err != nil {
				return nil, err
			}
			if heads = append(heads, h); len(heads) > 2*pastMost {
				heads = slices.Clone(heads[pastMost:])
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.win != w {
			return nil, nil // it began anew meanwhile: the next request asks again
		}
		w.prepend(heads[max(0, len(heads)-pastMost):])
		w.past.reached = since
		p.wake()
		return nil, nil
	})
	return err
}
