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
	v := view{hi: end.UnixMicro(), resolution: resolution.Microseconds()}
	live := l.live()
	var all []stretch
	err := again(func() error {
		v.lo, v.sight = start.UnixMicro(), l.look(0)
		if v.past = v.sight.past(v.lo); !v.past {
			v.lo = max(v.lo, v.sight.horizon)
		}
		if v.lo >= v.hi {
			return nil
		}
		w, err := l.window(ctx, Number(max(v.lo, 0)), v.hi, v.sight)
		if err == nil {
			all, err = l.stretches(ctx, w, v, live)
		}
		if err == nil {
			all = v.cut(all, w.damage)
		}
		return err
	})
	if err != nil {
		return Timeline{}, readFault("read timeline", l.id, err)
	}
	if v.lo >= v.hi {
		return Timeline{}, nil
	}
	before, err := l.anyBefore(ctx, v, live)
	if err != nil {
		return Timeline{}, err
	}
	t := v.draw(all, before)
	if err := l.closeTail(ctx, &t, v, before, live); err != nil {
		return Timeline{}, err
	}
	return t, nil
}

// drawing joins what rows and memory say, oldest first.
type drawing struct {
	view    view
	all     []stretch
	seen    Number
	entries []entry // memory for the next chunk's
}

// head adds a fragment.
func (d *drawing) head(h *Head) {
	if h.Number > d.seen && (!d.view.past || d.view.sight.head(h)) {
		d.all = addStretch(d.all, h)
	}
	d.seen = max(d.seen, h.Number)
}

// chunk adds what is shown of a chunk.
func (d *drawing) chunk(r chunkRow) error {
	if d.view.past && !d.view.sight.shows(int64(r.first), r.last) {
		return nil
	}
	var err error
	if d.entries, err = r.unpack(d.entries); err != nil {
		return err
	}
	for i := range d.entries {
		d.head(&d.entries[i].Head)
	}
	return nil
}

// stretches joins what a window and memory say, oldest first.
func (l *Log) stretches(ctx context.Context, w window, v view, live []Head) ([]stretch, error) {
	d := &drawing{view: v}
	for _, ix := range w.index {
		for _, p := range ix.parts {
			if p.last <= ix.trimmed || v.past && !v.sight.shows(int64(p.first), p.last) {
				continue
			}
			if err := l.part(ctx, d, w.kept, ix, p); err != nil {
				return nil, err
			}
		}
	}
	for _, r := range w.chunks {
		if err := w.kept.each(ctx, r.first, d.chunk); err != nil {
			return nil, err
		}
		if err := d.chunk(r.chunkRow); err != nil {
			return nil, err
		}
	}
	if err := w.kept.each(ctx, Number(v.hi), d.chunk); err != nil {
		return nil, err
	}
	for i := range live {
		d.head(&live[i])
	}
	return d.all, nil
}

// part adds an hour, by its line in the directory unless something of it is kept that does
// not stand there.
func (l *Log) part(ctx context.Context, d *drawing, kept *keptRows, ix indexRow, p part) error {
	v := d.view
	if err := kept.each(ctx, p.first, d.chunk); err != nil {
		return err
	}
	if !v.past || !v.sight.keeps(int64(p.first), p.last) {
		lines := p.stretches
		if v.past && int64(p.first) < v.sight.horizon {
			lines = nil
			for _, s := range p.stretches {
				if s.end > v.sight.horizon {
					lines = append(lines, s.part(max(s.start, v.sight.horizon), s.end))
				}
			}
		}
		d.all = joinStretches(d.all, lines)
		d.seen = max(d.seen, Number(p.last-1))
		return nil
	}
	rows, err := l.s.section(ctx, ix, p)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable) {
		return nil // Select tells
	}
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.last <= ix.trimmed {
			continue
		}
		if err := kept.each(ctx, r.first, d.chunk); err != nil {
			return err
		}
		if err := d.chunk(r); err != nil {
			return err
		}
	}
	return nil
}

// view is the window of a Coverage, in µs.
type view struct {
	lo, hi     int64
	resolution int64
	sight      sight
	past       bool // lo lies before the horizon, and something may be kept there
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
		wide := s.start-at >= max(v.resolution, 1)
		if open && s.start > at && wide {
			t.Gaps = append(t.Gaps, v.gaps(max(at, v.lo), min(s.start, v.hi), s.cause, s.detail)...)
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

// gaps are what lies between two instants without media. What is missing before the horizon
// and is not all kept was taken by retention; whatever else was missing there is forgotten.
func (v view) gaps(start, end int64, cause Cause, detail string) []Gap {
	if cause == CauseNone {
		cause = CauseUnknown
	}
	whole := []Gap{{Start: micro(start), End: micro(end), Cause: cause, Detail: detail}}
	split := min(v.sight.horizon, end)
	if start >= end {
		return nil
	}
	if start >= split || v.sight.held.contains(start, split) {
		return whole
	}
	least := max(v.resolution, 1)
	switch {
	case end-split < least && split-start >= end-split:
		split = end
	case split-start < least:
		return whole
	}
	out := []Gap{{Start: micro(start), End: micro(split), Cause: CauseExpired}}
	if split < end {
		out = append(out, Gap{Start: micro(split), End: micro(end), Cause: cause, Detail: detail})
	}
	return out
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
	end := v.hi
	if last.UnixMicro() > v.hi {
		next, ok, err := l.next(ctx, v.hi, live)
		if err != nil {
			return err
		}
		if ok {
			absent, absence = next.Gap, next.GapDetail
		}
	} else {
		end = min(end, l.s.cfg.Clock.Now().UnixMicro())
		if last.UnixMicro() > max(at, v.sight.horizon) {
			absent, absence = CauseDamaged, "" // there was something, and it is hidden
		} else if end-at < liveTail.Microseconds() && absent == CauseNone {
			return nil
		}
	}
	if end-at >= max(v.resolution, 1) {
		t.Gaps = append(t.Gaps, v.gaps(at, end, absent, absence)...)
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

// anyBefore reports whether there is visible media that starts before the view.
func (l *Log) anyBefore(ctx context.Context, v view, live []Head) (bool, error) {
	horizon, at := v.sight.horizon, v.lo
	if v.sight.past(0) {
		for _, err := range l.Select(ctx, Range{End: micro(at), Limit: 1}) {
			return err == nil, err
		}
		return false, nil
	}
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
