package fragments

import (
	"context"
	"math"
	"time"

	"penstock/internal/fault"
)

// Loss is what a policy would delete that is shown now. Bytes are those of the chunks
// that would go, and of the records where some of a chunk is left. The zero value is
// nothing.
type Loss struct {
	Fragments, Bytes int64
	First, Last      time.Time // server clock: where the oldest of it begins, the newest ends
}

// Preview tells what would be deleted that is shown now if the policy were p, Keeps
// included. It deletes nothing.
func (l *Log) Preview(ctx context.Context, p Policy) (Loss, error) {
	if err := l.load(ctx); err != nil {
		return Loss{}, err
	}
	var sum *losing
	err := again(func() error {
		v := l.look(0)
		next, err := l.foresee(ctx, p, v)
		if err != nil {
			return err
		}
		sum = &losing{l: l, was: v, next: next, sections: previewSections}
		return sum.run(ctx)
	})
	if err != nil {
		return Loss{}, err
	}
	return sum.loss(), nil
}

// foresee returns what a policy would show of what v does.
func (l *Log) foresee(ctx context.Context, p Policy, v sight) (sight, error) {
	now := l.s.expiry.Now()
	set, _ := holding(p.Keeps, now)
	next := sight{v.horizon, v.rehold(set)}
	if p.Age > 0 {
		next.horizon = max(next.horizon, now.Add(-p.Age).UnixMicro())
	}
	if p.Bytes > 0 {
		to, err := l.s.sizeHorizon(ctx, l, p.Bytes)
		if err != nil {
			return next, err
		}
		next.horizon = max(next.horizon, to)
	}
	return next, nil
}

// previewSections is how many hours a preview reads in which something is kept. In more of
// them it goes by the directory and counts in proportion.
const previewSections = 64

// losing adds up what one sight shows and the next does not.
type losing struct {
	l                *Log
	was, next        sight
	sections         int
	seen             Number
	entries          []entry
	fragments, bytes int64
	first, last      int64 // µs
}

func (s *losing) loss() Loss {
	out := Loss{Fragments: s.fragments, Bytes: s.bytes}
	if s.fragments > 0 {
		out.First, out.Last = micro(s.first), micro(s.last)
	}
	return out
}

func (s *losing) add(fragments int, bytes, first, last int64) {
	if fragments == 0 {
		return
	}
	if s.fragments == 0 {
		s.first = first
	}
	s.fragments += int64(fragments)
	s.bytes += bytes
	s.first, s.last = min(s.first, first), max(s.last, last)
}

// all reports whether everything between two instants is shown and would go.
func (s *losing) all(first, last int64) bool {
	return (first >= s.was.horizon || s.was.held.contains(first, last)) && !s.next.shows(first, last)
}

// none reports whether nothing between two instants goes.
func (s *losing) none(first, last int64) bool {
	return first >= s.next.horizon || !s.was.shows(first, last) || s.next.held.contains(first, last)
}

func (s *losing) run(ctx context.Context) error {
	live := s.l.live()
	lo, hi := s.was.oldest(), s.next.horizon
	if lo >= hi {
		return nil
	}
	w, err := s.l.window(ctx, Number(max(lo, 0)), hi, s.was)
	if err != nil {
		return err
	}
	for _, ix := range w.index {
		for _, p := range ix.parts {
			if p.last <= ix.trimmed || s.none(int64(p.first), p.last) {
				continue
			}
			if err := s.part(ctx, ix, p); err != nil {
				return err
			}
		}
	}
	for _, r := range w.chunks {
		if err := s.chunk(r.chunkRow); err != nil {
			return err
		}
	}
	last := s.seen
	for i := range live {
		if h := &live[i]; h.Number > last && s.was.head(h) && !s.next.head(h) {
			s.add(1, h.Size, h.Start.UnixMicro(), h.End.UnixMicro())
		}
	}
	s.seen = 0
	return s.kept(ctx, w)
}

// kept looks at what is kept where less would be.
func (s *losing) kept(ctx context.Context, w window) error {
	if len(s.was.held.minus(s.next.held).within(math.MinInt64, s.was.horizon)) == 0 {
		return nil
	}
	return w.kept.each(ctx, lastNumber, s.chunk)
}

// part adds what an hour loses: by its line in the directory, unless some of it stays.
func (s *losing) part(ctx context.Context, ix indexRow, p part) error {
	first := int64(p.first)
	if first >= ix.trimmed && s.all(first, p.last) {
		s.add(p.fragments, p.size, first, p.last)
		return nil
	}
	cut := first < s.was.horizon || p.last > s.next.horizon || first < ix.trimmed
	if s.sections == 0 && !cut {
		s.estimate(p)
		return nil
	}
	rows, err := s.l.s.section(ctx, ix, p)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable) {
		s.estimate(p)
		return nil
	}
	if err != nil {
		return err
	}
	if !cut {
		s.sections--
	}
	for _, r := range rows {
		if r.last > ix.trimmed {
			if err := s.chunk(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// estimate adds what an hour loses in proportion to the time.
func (s *losing) estimate(p part) {
	for _, st := range p.stretches {
		lost := shown(s.was, st.start, st.end) - shown(s.next, st.start, st.end)
		if whole := st.end - st.start; lost > 0 && whole > 0 {
			share := float64(lost) / float64(whole)
			s.add(int(float64(st.fragments)*share+0.5), int64(float64(st.bytes)*share), st.start, st.end)
		}
	}
}

// shown is how much of the time between two instants v shows.
func shown(v sight, start, end int64) int64 {
	split := min(max(v.horizon, start), end)
	return end - split + v.held.length(start, split)
}

// chunk adds what a chunk loses.
func (s *losing) chunk(r chunkRow) error {
	s.seen = max(s.seen, Number(r.last-1))
	first := int64(r.first)
	if s.none(first, r.last) {
		return nil
	}
	if s.all(first, r.last) {
		s.add(r.fragments, r.size, first, r.last)
		return nil
	}
	var err error
	if s.entries, err = r.unpack(s.entries); err != nil {
		return readFault("preview", r.key(s.l.id), err)
	}
	rest, lost, left := 0, 0, int64(0)
	for i := range s.entries {
		h := &s.entries[i].Head
		switch was, next := s.was.head(h), s.next.head(h); {
		case next:
			rest++
		case was:
			lost++
			left += s.entries[i].recordSize()
			s.add(1, 0, h.Start.UnixMicro(), h.End.UnixMicro())
		}
	}
	if rest == 0 && lost > 0 {
		left = r.size // the object goes
	}
	s.bytes += left
	return nil
}
