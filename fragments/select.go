package fragments

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"penstock/internal/fault"
)

// live is what no row lists yet, in order of numbers.
func (l *Log) live() []Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Head
	for _, c := range l.chunks {
		for i := range c.entries {
			out = append(out, c.entries[i].Head)
		}
	}
	for _, p := range l.unwritten() {
		out = append(out, p.f.Head)
	}
	return out
}

// Select yields the heads in r in order of their numbers. What is damaged is left out.
// It ends after an error.
func (l *Log) Select(ctx context.Context, r Range) iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) {
		if err := l.load(ctx); err != nil {
			yield(Head{}, err)
			return
		}
		s := selection{l: l, start: math.MinInt64, hi: math.MaxInt64, after: r.After, left: math.MaxInt, yield: yield}
		if !r.Start.IsZero() {
			s.start = r.Start.UnixMicro()
		}
		if !r.End.IsZero() {
			s.hi = r.End.UnixMicro()
		}
		if r.Limit > 0 {
			s.left = r.Limit
		}
		if err := again(func() error { return s.run(ctx) }); err != nil {
			yield(Head{}, err)
		}
	}
}

// selection is a Select at work.
type selection struct {
	l      *Log
	start  int64 // µs
	sight  sight
	lo, hi int64 // µs: the start as far as anything is shown from there on
	after  Number
	left   int
	damage []damage
	hid    bool  // the fragment before is damaged
	past   bool  // something before the horizon is held
	end    int64 // of the fragment before, µs
	shown  bool  // it is shown
	seen   Number
	over   bool
	yield  func(Head, error) bool

	entries []entry // memory for the next chunk's
}

func (s *selection) run(ctx context.Context) error {
	// Memory first: what moves from there into a row meanwhile is then found twice, not
	// never, and put skips the second.
	live := s.l.live()
	s.sight = s.l.look(0)
	s.lo = max(s.start, s.sight.oldest())
	if s.past = s.sight.past(s.lo); !s.past {
		s.lo = max(s.lo, s.sight.horizon)
	}
	w, err := s.l.window(ctx, max(Number(max(s.lo, 0)), s.after, s.seen), s.hi, s.sight)
	if err != nil {
		return err
	}
	s.damage = w.damage
	for _, ix := range w.index {
		for _, p := range ix.parts {
			if s.over || s.skips(p.first, p.last) {
				continue
			}
			if err := s.section(ctx, w.kept, ix, p); err != nil {
				return err
			}
		}
	}
	for _, r := range w.chunks {
		if err := s.kept(ctx, w.kept, r.first); err != nil {
			return err
		}
		if err := s.chunk(r.chunkRow); err != nil {
			return err
		}
	}
	if err := s.kept(ctx, w.kept, lastNumber); err != nil {
		return err
	}
	for i := range live {
		s.put(&live[i])
	}
	return nil
}

// skips reports whether nothing of a chunk or an hour is asked for.
func (s *selection) skips(first Number, last int64) bool {
	return last <= s.lo || int64(first) >= s.hi || last <= int64(s.after) || s.past && !s.sight.shows(int64(first), last)
}

// section yields an hour. One that cannot be read hides only itself.
func (s *selection) section(ctx context.Context, kept *keptRows, ix indexRow, p part) error {
	rows, err := s.l.s.section(ctx, ix, p)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("select fragments: %w", ctx.Err())
		}
		if errors.Is(err, errMoved) {
			return err
		}
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable) {
			s.l.s.cfg.Logger.Error("an hour's index cannot be read; penstock reindex makes it anew",
				"stream", s.l.id, "object", ix.key, "offset", p.off, "err", err)
			s.hid = true
			return nil
		}
		return err
	}
	for _, r := range rows {
		if r.last <= ix.trimmed {
			continue
		}
		if err := s.kept(ctx, kept, r.first); err != nil {
			return err
		}
		if err := s.chunk(r); err != nil {
			return err
		}
	}
	return nil
}

// kept yields what is kept that begins before a number.
func (s *selection) kept(ctx context.Context, rows *keptRows, n Number) error {
	for !s.over {
		r, ok, err := rows.before(ctx, n)
		if err != nil || !ok {
			return err
		}
		if err := s.chunk(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *selection) chunk(r chunkRow) error {
	if s.over || s.skips(r.first, r.last) {
		return nil
	}
	entries, err := r.unpack(s.entries)
	s.entries = entries
	if err != nil {
		return readFault("read index", r.key(s.l.id), err)
	}
	for i := range entries {
		s.put(&entries[i].Head)
	}
	return nil
}

// put yields h when it is asked for.
func (s *selection) put(h *Head) {
	if s.over || h.Number <= s.seen {
		return
	}
	s.seen = h.Number
	expired := s.past && s.expired(h)
	if hidden(s.damage, h) {
		s.hid = true
		return
	}
	out := *h
	switch {
	case out.Gap != CauseNone:
	case s.hid:
		out.Gap = CauseDamaged
	case expired:
		out.Gap = CauseExpired
	}
	s.hid = false
	if s.past && !s.shown {
		return
	}
	if h.End.UnixMicro() <= s.lo || h.Number <= s.after {
		return
	}
	if h.Start.UnixMicro() >= s.hi {
		s.over = true
		return
	}
	s.left--
	if !s.yield(out, nil) || s.left == 0 {
		s.over = true
	}
}

// expired notes whether h is shown, and reports whether retention took what was before it.
func (s *selection) expired(h *Head) bool {
	start := h.Start.UnixMicro()
	took := !s.shown
	if s.end != start { // the one before is not known
		took = !s.sight.held.overlaps(start-1, start)
	}
	s.end, s.shown = h.End.UnixMicro(), s.sight.head(h)
	return took && start <= s.sight.horizon && s.sight.held[0].start < start
}

// hidden reports whether h is known to be damaged.
func hidden(all []damage, h *Head) bool {
	for i := range all {
		if h.Number >= all[i].first && h.Start.UnixMicro() < all[i].last {
			return true
		}
	}
	return false
}

// Find returns the head of the fragment that covers the instant t, or the first one after
// t when none does. fault.NotFound: there is none from t on.
func (l *Log) Find(ctx context.Context, t time.Time) (Head, error) {
	for h, err := range l.Select(ctx, Range{Start: t, Limit: 1}) {
		return h, err
	}
	return Head{}, fault.New(fault.NotFound, "find fragment", l.id, "there is none at or after "+t.UTC().Format(time.RFC3339))
}

// First returns the oldest fragment's head; false: the log is empty or cannot be read.
func (l *Log) First(ctx context.Context) (Head, bool) {
	h, err := l.Find(ctx, time.UnixMicro(1))
	return h, err == nil
}

// Last returns the newest fragment's head, durable or not; false: the log is empty or
// cannot be read, or retention took all of it.
func (l *Log) Last(ctx context.Context) (Head, bool) {
	if err := l.load(ctx); err != nil {
		return Head{}, false
	}
	return l.Newest()
}

// Newest is Last as far as memory knows it: false also where nothing has asked the log
// anything yet. It never waits for a disk.
func (l *Log) Newest() (Head, bool) {
	v := l.look(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.last.Number > 0 && v.head(&l.last)
}

// Totals are the size of a log.
type Totals struct {
	Fragments int64
	Bytes     int64 // of the chunks that hold them
	Kept      int64 // of Bytes, what only a Keep holds: retention went over it
}

// Totals returns how much the log holds, give or take the chunk that retention cuts.
func (l *Log) Totals(ctx context.Context) (Totals, error) {
	t, err := l.s.cat.sums(ctx, l.id)
	if err != nil {
		return t, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.chunks {
		t.Fragments += int64(len(c.entries) + len(c.flying))
		t.Bytes += c.size
	}
	return t, nil
}
