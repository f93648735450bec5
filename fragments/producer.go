package fragments

import (
	"context"
	"iter"
	"math"
	"sync"
	"time"

	"penstock/internal/fault"
)

// Clock says whose time a Range means.
type Clock uint8

// The clocks.
const (
	ServerClock   Clock = iota // this server's, which rises from fragment to fragment
	ProducerClock              // the producer's, which may jump, repeat itself, or be unknown
)

const (
	// bandWidth is how far a producer's clock may stray from the server's within one band: a
	// drift of 500 ppm makes a band of five hours and more.
	bandWidth = 10 * time.Second
	// bandsMost bounds the bands of a log. A producer whose clock jumps more often has wide
	// ones: they cost time, and answers stay right.
	bandsMost = 4096
)

// band is a stretch of a log in which the producer's clock kept its distance from the
// server's. All in µs.
type band struct {
	first, last int64 // server clock: the first one's start, the last one's end
	lo, hi      int64 // producer's minus the server's: least and most
}

// producerMap says where on the server's clock a producer's times lie. It is made from the
// heads when somebody asks, and goes on from there.
type producerMap struct {
	mu    sync.Mutex // held while heads are read; taken before Log.mu
	seen  Number
	bands []band // in order of first
}

// add takes the next head.
func (m *producerMap) add(h *Head) {
	m.seen = h.Number
	if h.Producer.IsZero() {
		return
	}
	start, end := h.Start.UnixMicro(), h.End.UnixMicro()
	off := h.Producer.UnixMicro() - start
	if n := len(m.bands); n > 0 {
		b := &m.bands[n-1]
		if lo, hi := min(b.lo, off), max(b.hi, off); hi-lo <= bandWidth.Microseconds() {
			b.last, b.lo, b.hi = end, lo, hi
			return
		}
	}
	if len(m.bands) == bandsMost {
		m.halve()
	}
	m.bands = append(m.bands, band{start, end, off, off})
}

// halve joins neighbours.
func (m *producerMap) halve() {
	n := 0
	for i := 0; i < len(m.bands); i += 2 {
		b := m.bands[i]
		if i+1 < len(m.bands) {
			o := m.bands[i+1]
			b = band{b.first, o.last, min(b.lo, o.lo), max(b.hi, o.hi)}
		}
		m.bands[n] = b
		n++
	}
	m.bands = m.bands[:n]
}

// windows returns where on the server's clock the producer's times [lo, hi) may lie, in
// order and apart from each other.
func (m *producerMap) windows(lo, hi int64) []interval {
	var out []interval
	for _, b := range m.bands {
		w := interval{max(b.first, sub(lo, b.hi)), min(b.last, sub(hi, b.lo))}
		if w.start >= w.end {
			continue
		}
		if n := len(out); n > 0 && w.start <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, w.end)
			continue
		}
		out = append(out, w)
	}
	return out
}

// sub is a-b that stays within what an int64 holds.
func sub(a, b int64) int64 {
	switch d := a - b; {
	case b > 0 && d > a:
		return math.MinInt64
	case b < 0 && d < a:
		return math.MaxInt64
	default:
		return d
	}
}

// learn reads the heads that came since it was last asked.
func (l *Log) learn(ctx context.Context) error {
	m := &l.producers
	for h, err := range l.Select(ctx, Range{After: m.seen}) {
		if err != nil {
			return err
		}
		m.add(&h)
	}
	return nil
}

// ProducerEnd is the producer's clock at the fragment's end; zero: unknown.
func (h Head) ProducerEnd() time.Time {
	if h.Producer.IsZero() {
		return time.Time{}
	}
	return h.Producer.Add(h.Duration())
}

// SelectBy is Select whose Range is meant by a clock. By the producer's it yields, still in
// order of numbers, the heads whose stretch of that clock overlaps the Range: more than one
// stretch of the log where the clock was set back, none of those whose time is unknown.
// The first question reads all heads of the log once; memory keeps where the clock strayed.
// fault.NotFound: the producer's time is known of nothing in the log.
func (l *Log) SelectBy(ctx context.Context, c Clock, r Range) iter.Seq2[Head, error] {
	if c == ServerClock {
		return l.Select(ctx, r)
	}
	return func(yield func(Head, error) bool) {
		lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
		if !r.Start.IsZero() {
			lo = r.Start.UnixMicro()
		}
		if !r.End.IsZero() {
			hi = r.End.UnixMicro()
		}
		windows, err := l.producerWindows(ctx, lo, hi)
		if err != nil {
			yield(Head{}, err)
			return
		}
		left := r.Limit
		for _, w := range windows {
			for h, err := range l.Select(ctx, Range{Start: micro(w.start), End: micro(w.end), After: r.After}) {
				if err != nil {
					yield(Head{}, err)
					return
				}
				if h.Producer.IsZero() || h.Producer.UnixMicro() >= hi || h.ProducerEnd().UnixMicro() <= lo {
					continue
				}
				r.After = h.Number
				if !yield(h, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
		}
	}
}

func (l *Log) producerWindows(ctx context.Context, lo, hi int64) ([]interval, error) {
	l.producers.mu.Lock()
	defer l.producers.mu.Unlock()
	if err := l.learn(ctx); err != nil {
		return nil, err
	}
	if len(l.producers.bands) == 0 {
		return nil, fault.New(fault.NotFound, "select by the producer's clock", l.id, "the producer told the time of nothing that is stored").
			WithHint("ask by the server's clock: leave clock=producer out; cameras tell theirs in RTCP sender reports")
	}
	return l.producers.windows(lo, hi), nil
}
