package fragments

import (
	"context"
	"time"

	"penstock/internal/fault"
)

// liveTail is how long after its newest fragment a stream counts as going on: the next
// fragment is being gathered.
const liveTail = 15 * time.Second

// Coverage answers what there is between start and end. A gap shorter than resolution is
// left out and its neighbours joined; 0 joins nothing. Of what is older than a few hours
// it reads the directories in the index rows only. A gap ends at the present at the
// latest.
func (l *Log) Coverage(ctx context.Context, start, end time.Time, resolution time.Duration) (Timeline, error) {
	if !start.Before(end) {
		return Timeline{}, fault.New(fault.Invalid, "read timeline", l.id, "the end is not after the start")
	}
	if err := l.load(ctx); err != nil {
		return Timeline{}, err
	}
	v := view{lo: start.UnixMicro(), hi: end.UnixMicro(), resolution: resolution.Microseconds()}
	horizon := l.horizonAt()
	v.lo = max(v.lo, horizon)
	if v.lo >= v.hi {
		return Timeline{}, nil
	}
	live := l.live()
	w, err := l.s.cat.window(ctx, l.id, Number(max(v.lo, 0)), v.hi)
	if err != nil {
		return Timeline{}, err
	}
	all, err := stretches(w, live)
	if err != nil {
		return Timeline{}, readFault("read timeline", l.id, err)
	}
	all = v.cut(all, w.damage)
	before, err := l.anyBefore(ctx, horizon, v.lo, live)
	if err != nil {
		return Timeline{}, err
	}
	t := v.draw(all, before)
	if err := l.closeTail(ctx, &t, v, before, live); err != nil {
		return Timeline{}, err
	}
	return t, nil
}

// stretches joins what rows and memory say, oldest first.
func stretches(w window, live []Head) ([]stretch, error) {
	var all []stretch
	for _, ix := range w.index {
		for _, p := range ix.parts {
			if p.last > ix.trimmed {
				all = joinStretches(all, p.stretches)
			}
		}
	}
	seen := Number(0)
	var entries []entry
	for _, r := range w.chunks {
		var err error
		entries, err = r.unpack(entries)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			all = addStretch(all, &entries[i].Head)
			seen = entries[i].Number
		}
	}
	for i := range live {
		if live[i].Number > seen {
			all = addStretch(all, &live[i])
		}
	}
	return all, nil
}

// view is the window of a Coverage, in µs.
type view struct {
	lo, hi     int64
	resolution int64
}

// cut clips stretches to the view and takes what is damaged out of them.
func (v view) cut(all []stretch, damage []damage) []stretch {
	var out []stretch
	for _, s := range all {
		if s.end <= v.lo {
			continue
		}
		for _, d := range damage {
			first := max(int64(d.first), s.start)
			if d.last <= s.start || first >= s.end {
				continue
			}
			if first > s.start {
				out = append(out, s.part(s.start, first))
			}
			rest := s.part(min(d.last, s.end), s.end)
			rest.cause, rest.detail = CauseDamaged, d.detail
			s = rest
		}
		if s.end > s.start {
			out = append(out, s)
		}
	}
	return out
}

// part is what lies between two instants of s; counts are in proportion.
func (s stretch) part(start, end int64) stretch {
	if whole := s.end - s.start; whole > 0 && end-start < whole {
		share := float64(end-start) / float64(whole)
		s.fragments, s.bytes = int(float64(s.fragments)*share+0.5), int64(float64(s.bytes)*share)
		if start > s.start {
			s.cause, s.detail = CauseNone, ""
		}
	}
	s.start, s.end = start, end
	return s
}

// draw makes spans and gaps; before says that there is media before the view.
func (v view) draw(all []stretch, before bool) Timeline {
	var t Timeline
	at, open := v.lo, before // the end of what came before, and whether there was anything
	for _, s := range all {
		gap := Gap{Start: micro(max(at, v.lo)), End: micro(min(s.start, v.hi)), Cause: s.cause, Detail: s.detail}
		if gap.Cause == CauseNone {
			gap.Cause = CauseUnknown
		}
		wide := s.start-at >= max(v.resolution, 1)
		if open && s.start > at && wide && gap.Start.Before(gap.End) {
			t.Gaps = append(t.Gaps, gap)
		}
		if s.start >= v.hi {
			return t
		}
		c := s.part(max(s.start, v.lo), min(s.end, v.hi))
		span := Span{Start: micro(c.start), End: micro(c.end), Fragments: c.fragments, Bytes: c.bytes}
		if n := len(t.Spans); n > 0 && !wide {
			t.Spans[n-1].End = span.End
			t.Spans[n-1].Fragments += span.Fragments
			t.Spans[n-1].Bytes += span.Bytes
		} else {
			t.Spans = append(t.Spans, span)
		}
		at, open = c.end, true
	}
	return t
}

// closeTail adds the gap from the last span to the end of the view: up to the next media
// when there is any, else up to the present.
func (l *Log) closeTail(ctx context.Context, t *Timeline, v view, before bool, live []Head) error {
	at := v.lo
	if n := len(t.Spans); n > 0 {
		at = t.Spans[n-1].End.UnixMicro()
	} else if !before {
		return nil
	}
	if n := len(t.Gaps); n > 0 {
		at = max(at, t.Gaps[n-1].End.UnixMicro())
	}
	if at >= v.hi {
		return nil
	}
	l.mu.Lock()
	last, absent, absence := l.last.End, l.absent, l.absence
	if absent == CauseNone {
		absent = l.resume // nothing came since the start, and nobody says why
	}
	l.mu.Unlock()
	gap := Gap{Start: micro(at), End: micro(v.hi), Cause: absent, Detail: absence}
	if last.UnixMicro() > v.hi {
		next, ok, err := l.next(ctx, v.hi, live)
		if err != nil {
			return err
		}
		if ok {
			gap.Cause, gap.Detail = next.Gap, next.GapDetail
		}
	} else {
		now := l.s.cfg.Clock.Now()
		if gap.End.After(now) {
			gap.End = now.Truncate(time.Microsecond).UTC()
		}
		if last.UnixMicro() > at {
			gap.Cause, gap.Detail = CauseDamaged, "" // there was something, and it is hidden
		} else if gap.End.Sub(gap.Start) < liveTail && absent == CauseNone {
			return nil
		}
	}
	if gap.Cause == CauseNone {
		gap.Cause = CauseUnknown
	}
	if gap.End.Sub(gap.Start).Microseconds() >= max(v.resolution, 1) {
		t.Gaps = append(t.Gaps, gap)
	}
	return nil
}

// next returns the first head that starts at or after an instant.
func (l *Log) next(ctx context.Context, at int64, live []Head) (Head, bool, error) {
	for h, err := range l.Select(ctx, Range{Start: micro(at), Limit: 1}) {
		return h, err == nil, err
	}
	for _, h := range live {
		if h.Start.UnixMicro() >= at {
			return h, true, nil
		}
	}
	return Head{}, false, nil
}

// anyBefore reports whether there is visible media that starts before an instant.
func (l *Log) anyBefore(ctx context.Context, horizon, at int64, live []Head) (bool, error) {
	if len(live) > 0 && live[0].Start.UnixMicro() < at && live[0].End.UnixMicro() > horizon {
		return true, nil
	}
	var n int
	err := l.s.cfg.Meta.Read().QueryRowContext(ctx, `SELECT
		EXISTS (SELECT 1 FROM fragments_chunks WHERE stream = ?1 AND first < ?2 AND last > ?3) +
		EXISTS (SELECT 1 FROM fragments_index WHERE stream = ?1 AND first < ?2 AND last > ?3)`, l.id, at, horizon).Scan(&n)
	return n > 0, readFault("read timeline", l.id, err)
}

func micro(us int64) time.Time { return time.UnixMicro(us).UTC() }
