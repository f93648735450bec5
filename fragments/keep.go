package fragments

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"penstock/internal/varint"
)

// Keep is a stretch of a log that outlives its retention.
type Keep struct {
	Start time.Time // server clock
	End   time.Time // server clock; zero: it goes on
	Until time.Time // when it ends to hold; zero: never
}

// Policy is what a log keeps. The zero value is everything, for ever.
type Policy struct {
	Age time.Duration // 0: no limit of age
	// Bytes bounds the stored chunks; what only a Keep holds does not count. The newest
	// fragment stays. It counts from the next sweep on. 0: no limit of size.
	Bytes int64
	// Keeps are sorted by Start and may overlap. Nobody changes them after they are handed
	// out; a policy that hands out the same slice again is not looked through again. What
	// was not shown when a Keep was made stays hidden: a Keep brings nothing back.
	Keeps []Keep
}

// interval is a stretch of time in µs that contains its start and not its end.
type interval struct{ start, end int64 }

// intervals are sorted and do not touch. They are not changed once others have them.
type intervals []interval

// after returns the index of the first interval that ends after an instant.
func (s intervals) after(at int64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].end > at })
}

// overlaps reports whether something of s lies between two instants.
func (s intervals) overlaps(start, end int64) bool {
	i := s.after(start)
	return i < len(s) && s[i].start < end
}

// contains reports whether all between two instants lies in s.
func (s intervals) contains(start, end int64) bool {
	i := s.after(start)
	return i < len(s) && s[i].start <= start && s[i].end >= end
}

// add appends an interval that begins no earlier than the last one.
func (s intervals) add(v interval) intervals {
	if v.start >= v.end {
		return s
	}
	if n := len(s); n > 0 && v.start <= s[n-1].end {
		s[n-1].end = max(s[n-1].end, v.end)
		return s
	}
	return append(s, v)
}

// within returns what of s lies between two instants.
func (s intervals) within(start, end int64) intervals {
	var out intervals
	for _, v := range s[s.after(start):] {
		if v.start >= end {
			break
		}
		out = out.add(interval{max(v.start, start), min(v.end, end)})
	}
	return out
}

// both returns what lies in s and in o.
func (s intervals) both(o intervals) intervals {
	var out intervals
	for i, k := 0, 0; i < len(s) && k < len(o); {
		out = out.add(interval{max(s[i].start, o[k].start), min(s[i].end, o[k].end)})
		if s[i].end < o[k].end {
			i++
		} else {
			k++
		}
	}
	return out
}

// minus returns what lies in s and not in o.
func (s intervals) minus(o intervals) intervals {
	var out intervals
	for _, v := range s {
		for _, w := range o[o.after(v.start):] {
			if w.start >= v.end {
				break
			}
			out = out.add(interval{v.start, w.start})
			v.start = w.end
		}
		out = out.add(v)
	}
	return out
}

// length is how long s is between two instants.
func (s intervals) length(start, end int64) (n int64) {
	for _, v := range s.within(start, end) {
		n += v.end - v.start
	}
	return n
}

// append packs s: docs/format/index.md.
func (s intervals) append(b []byte) []byte {
	b = varint.AppendUint(b, len(s))
	end := int64(0)
	for _, v := range s {
		b = varint.AppendInt(b, v.start-end)
		b = varint.AppendUint(b, v.end-v.start)
		end = v.end
	}
	return b
}

// readIntervals reads what append wrote.
func readIntervals(b []byte) (intervals, error) {
	if len(b) == 0 {
		return nil, nil
	}
	c := &varint.Cursor{B: b}
	n := c.Count(2)
	out := make(intervals, 0, n)
	end := int64(math.MinInt64)
	at := int64(0)
	for range n {
		start := at + c.Int()
		length := c.Int63()
		if start <= end || length == 0 || start > math.MaxInt64-length {
			c.Fail = true
			break
		}
		end = start + length
		at = end
		out = append(out, interval{start, end})
	}
	return out, c.Err()
}

// holding joins the keeps that hold at an instant; till is when the next of them ends to.
func holding(keeps []Keep, now time.Time) (set intervals, till time.Time) {
	byStart := func(a, b Keep) int { return cmp.Compare(a.Start.UnixMicro(), b.Start.UnixMicro()) }
	if !slices.IsSortedFunc(keeps, byStart) {
		keeps = slices.SortedStableFunc(slices.Values(keeps), byStart)
	}
	for _, k := range keeps {
		if !k.Until.IsZero() {
			if !k.Until.After(now) {
				continue
			}
			if till.IsZero() || k.Until.Before(till) {
				till = k.Until
			}
		}
		v := interval{max(k.Start.UnixMicro(), 0), math.MaxInt64}
		if !k.End.IsZero() {
			v.end = k.End.UnixMicro()
		}
		set = set.add(v)
	}
	return set, till
}

// sight is what is shown of a log.
type sight struct {
	horizon int64     // µs: what ends after it
	held    intervals // and what lies in these, in part at least
}

// shows reports whether something between two instants may be shown.
func (v sight) shows(start, end int64) bool {
	return end > v.horizon || len(v.held) > 0 && v.held.overlaps(start, end)
}

// head reports whether a fragment is shown.
func (v sight) head(h *Head) bool {
	end := h.End.UnixMicro()
	return end > v.horizon || len(v.held) > 0 && v.held.overlaps(h.Start.UnixMicro(), end)
}

// oldest is the instant before which nothing is shown.
func (v sight) oldest() int64 {
	if len(v.held) > 0 {
		return min(v.horizon, v.held[0].start)
	}
	return v.horizon
}

// past reports whether an instant lies before the horizon and something may be held there.
func (v sight) past(at int64) bool {
	return len(v.held) > 0 && at < v.horizon && v.held[0].start < v.horizon
}

// keeps reports whether something between two instants is held before the horizon.
func (v sight) keeps(start, end int64) bool {
	return len(v.held) > 0 && start < v.horizon && v.held.overlaps(start, min(end, v.horizon))
}

// rehold is what v holds once the keeps are set: before the horizon only what they held
// already, so that nothing comes back.
func (v sight) rehold(set intervals) intervals {
	if len(v.held) == 0 && len(set) > 0 && set[0].start >= v.horizon {
		return set
	}
	out := v.held.both(set).within(math.MinInt64, v.horizon)
	for _, w := range set.within(v.horizon, math.MaxInt64) {
		out = out.add(w)
	}
	return out
}

// sameKeeps reports whether a policy handed out the same slice again.
func sameKeeps(a, b []Keep) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// look asks the policy, moves the horizon on, at least to an instant in µs, and returns
// what is shown from now on.
func (l *Log) look(to int64) sight {
	now := l.s.expiry.Now()
	for {
		l.mu.Lock()
		policy, turn := l.policy, l.turn
		l.mu.Unlock()
		var p Policy
		if policy != nil {
			p = policy()
		}
		l.mu.Lock()
		// Where somebody else asked meanwhile, what they heard may be newer.
		ok := l.turn == turn
		if ok && policy != nil {
			l.heed(p, now)
		}
		if ok {
			l.horizon = max(l.horizon, to)
		}
		v := sight{l.horizon, l.held}
		l.mu.Unlock()
		if ok || to <= v.horizon {
			return v
		}
	}
}

// heed has the log keep what its policy says now; mu is held.
func (l *Log) heed(p Policy, now time.Time) {
	l.turn++
	l.limit = p.Bytes
	// First what is held, then the horizon: what it passes is what is held at that moment.
	if !l.asked || !sameKeeps(p.Keeps, l.keeps) || !l.till.IsZero() && !now.Before(l.till) {
		var set intervals
		set, l.till = holding(p.Keeps, now)
		l.keeps = p.Keeps
		l.held = sight{l.horizon, l.held}.rehold(set)
	}
	l.asked = true
	if p.Age > 0 {
		l.horizon = max(l.horizon, now.Add(-p.Age).UnixMicro())
	}
}

// Horizon returns the instant before which nothing is shown but what is kept; it never
// moves back. Call it just before a longer retention or a Keep takes effect, so that what
// has expired by then stays so; a Keep begins there at the earliest.
func (l *Log) Horizon() time.Time { return micro(l.look(0).horizon) }
