package datastream

import (
	"context"
	"math/bits"
	"slices"
	"time"

	"penstock/records"
)

// peakDays is how many days an on-demand stream keeps room for twice its peak (KDS,
// "On-demand mode").
const peakDays = 30

// peak is how many shards the traffic of a day asked for.
type peak struct {
	Day    int64 `json:"day"` // since 1970
	Shards int   `json:"shards"`
}

// peaks is the newest peakDays days on which a stream was looked at and the one that is not
// over, oldest first. Days without a look do not count: neither a server that was away nor
// a clock that leaps makes a stream smaller.
type peaks []peak

// with returns p with what a look at now asks for, and whether that says anything new.
func (p peaks) with(now time.Time, shards int) (peaks, bool) {
	day := now.Unix() / (24 * 60 * 60)
	if n := len(p); n > 0 && (day == p[n-1].Day || day == p[n-1].Day-1) { // the clock may have been corrected
		if shards <= p[n-1].Shards {
			return p, false
		}
		p = slices.Clone(p)
		p[n-1].Shards = shards
		return p, true
	}
	p = append(slices.Clone(p), peak{day, shards})
	return p[max(0, len(p)-peakDays-1):], true
}

// most is the largest.
func (p peaks) most() int {
	n := 0
	for _, d := range p {
		n = max(n, d.Shards)
	}
	return n
}

// room returns how many shards are enough for what was seen: the open ones, or a half, a
// quarter and so on of them that has room for twice the traffic and makes no shard hot.
func room(open []load) int {
	n := len(open)
	for n > OnDemandShards && suffices(open, half(n)) {
		n = half(n)
	}
	return n
}

// half is the step down: never below what a stream begins with.
func half(n int) int { return max((n+1)/2, OnDemandShards) }

// suffices reports whether n shards of equal width have room for twice the traffic, none
// of them hot.
func suffices(open []load, n int) bool {
	sums := make([]load, n)
	var bytes, count float64
	for _, l := range open {
		// Which of n takes the shard, or its greater part.
		at, _ := bits.Mul64(records.Middle(l.shard.From, l.shard.To).Hi, uint64(n))
		sums[at].bytes += l.bytes
		sums[at].records += l.records
		bytes += l.bytes
		count += l.records
	}
	if 2*bytes/writeBytes > float64(n) || 2*count/writeRecords > float64(n) {
		return false
	}
	return !slices.ContainsFunc(sums, func(l load) bool { return l.bytes >= hotBytes || l.records >= hotRecords })
}

// shrink notes what a look at a stream asks for, and decides whether so little was asked
// for so long that half of its shards, or fewer, are enough.
func (s *Stream) shrink(ctx context.Context, now time.Time, open []load) growth {
	if len(open) <= OnDemandShards {
		return growth{}
	}
	need := room(open)
	s.mu.Lock()
	s.busy = need
	first := len(s.peaks) == 0
	if first {
		need = len(open) // nobody knows what was before
	}
	days, fresh := s.peaks.with(now, need)
	s.mu.Unlock()
	if fresh {
		err := s.change(ctx, "note traffic", func(*Info) (*task, error) {
			s.peaks = days
			return nil, nil
		})
		if err != nil {
			s.c.log.Warn("the traffic of an on-demand data stream could not be noted", "stream", s.name, "err", err)
			return growth{}
		}
	}
	if n := fewer(len(open), max(days.most(), s.Info().Warm)); n < len(open) {
		return growth{shards: n}
	}
	return growth{}
}

// fewer halves n for as long as need shards are left.
func fewer(n, need int) int {
	for n > OnDemandShards && half(n) >= need {
		n = half(n)
	}
	return n
}

// release returns how many shards are left when what neither warm nor the last look asks
// for is given back; 0: nothing is. The caller holds s.mu.
func (s *Stream) release(warm int) int {
	open := s.OpenShards()
	if s.busy == 0 {
		return 0
	}
	n := max(OnDemandShards, warm, s.busy)
	if n >= open {
		return 0
	}
	s.peaks, _ = peaks(nil).with(s.c.c.Clock.Now(), n)
	return n
}
