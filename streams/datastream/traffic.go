package datastream

import (
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock/records"
)

const (
	// trafficEvery is how often rates are made anew, however often they are asked for.
	trafficEvery = time.Second
	// trafficStale is when counts are too old to make a rate of.
	trafficStale = 15 * time.Second
	// hotSample is how many records of a shard pass for one whose key is looked at.
	hotSample = 32
	// hotSlots is how many keys of a shard are counted: one that has more than a
	// sixteenth of the records cannot hide (Metwally et al., "Efficient computation of
	// frequent and top-k elements", 2005).
	hotSlots = 16
)

// Traffic is what goes through a shard in a second.
type Traffic struct {
	Shard              records.ShardID
	InRecords, InBytes float64
	OutRecords         float64
	OutBytes           float64
	WriteRefused       float64       // records over the shard's limits
	ReadRefused        float64       // calls over them
	Behind             time.Duration // of who read last; negative: nobody did
	HotKey             string        // the partition key with most records lately; "" none is known
	HotShare           float64       // its part of the records, 0 to 1, about
}

// Load is the traffic of a stream's shards.
type Load struct {
	Over   time.Duration // what the rates were counted over; 0: not known yet, ask again in a second
	Shards []Traffic     // those that were used since the start, by id
	PutP99 time.Duration // of the puts in that time, until they were durable; 0: there were none
}

// rates are made of the meter's counts for those who look.
type rates struct {
	mu    sync.Mutex
	at    time.Time
	seen  map[records.ShardID][6]int64
	last  Load
	puts  latencies
	taken [latencySteps]int64 // of puts, at the last look
}

// Load returns the rates of the stream's shards. It is made for people who look every few
// seconds; the first look only begins to count.
func (s *Stream) Load() Load {
	t := &s.meter.rates
	t.mu.Lock()
	defer t.mu.Unlock()
	now := s.c.c.Clock.Now()
	over := now.Sub(t.at)
	if over >= 0 && over < trafficEvery {
		return t.last
	}
	stale := over < 0 || over > trafficStale
	if stale {
		over = 0
	}
	next := Load{Over: over}
	seen := map[records.ShardID][6]int64{}
	for _, sh := range s.Shards() {
		m := s.meter.peek(sh.ID)
		if m == nil {
			continue
		}
		tr, totals := m.traffic(sh.ID), m.totals()
		seen[sh.ID] = totals
		if before, ok := t.seen[sh.ID]; over > 0 && (ok || len(t.seen) > 0) {
			rates := [6]*float64{&tr.InRecords, &tr.InBytes, &tr.OutRecords, &tr.OutBytes, &tr.WriteRefused, &tr.ReadRefused}
			for i, r := range rates {
				*r = float64(totals[i]-before[i]) / over.Seconds()
			}
		}
		tr.HotKey, tr.HotShare = m.hot.top(stale)
		next.Shards = append(next.Shards, tr)
	}
	next.PutP99 = t.puts.quantile(0.99, &t.taken, stale)
	t.at, t.seen, t.last = now, seen, next
	return next
}

func (m *shardMeter) totals() [6]int64 {
	return [6]int64{m.inRecords.Load(), m.inBytes.Load(), m.outRecords.Load(), m.outBytes.Load(), m.writeRefused.Load(), m.readRefused.Load()}
}

func (m *shardMeter) traffic(id records.ShardID) Traffic {
	return Traffic{Shard: id, Behind: time.Duration(m.behind.Load()) * time.Millisecond}
}

// hotKeys counts the partition keys that a shard gets most of, by samples.
type hotKeys struct {
	passed atomic.Uint64
	mu     sync.Mutex
	slots  [hotSlots]hotKey
	total  int
}

type hotKey struct {
	key   string
	count int
}

// note counts the keys of records that went into the shard. It never waits.
func (h *hotKeys) note(in []records.Input) {
	n := uint64(len(in))
	passed := h.passed.Add(n) - n
	first := (hotSample - passed%hotSample) % hotSample
	if first >= n || !h.mu.TryLock() {
		return
	}
	defer h.mu.Unlock()
	for i := first; i < n; i += hotSample {
		h.count(in[i].Key)
	}
}

func (h *hotKeys) count(key string) {
	h.total++
	least := 0
	for i := range h.slots {
		if h.slots[i].key == key && h.slots[i].count > 0 {
			h.slots[i].count++
			return
		}
		if h.slots[i].count < h.slots[least].count {
			least = i
		}
	}
	// The key may be a view of memory that is used again.
	h.slots[least].key = strings.Clone(key)
	h.slots[least].count++
}

// top returns the key with most records and its share, and lets what was counted fade;
// forget: what was counted is too old.
func (h *hotKeys) top(forget bool) (key string, share float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if forget {
		h.slots, h.total = [hotSlots]hotKey{}, 0
		return "", 0
	}
	if h.total == 0 {
		return "", 0
	}
	most := 0
	for i := range h.slots {
		if h.slots[i].count > h.slots[most].count {
			most = i
		}
	}
	key, share = h.slots[most].key, min(1, float64(h.slots[most].count)/float64(h.total))
	if h.total > 1000 {
		for i := range h.slots {
			h.slots[i].count /= 2
		}
		h.total /= 2
	}
	return key, share
}

// latencySteps is how many steps of a quarter of an octave from a microsecond up are
// told apart: up to about an hour.
const latencySteps = 128

// latencies counts how long calls took. The zero value is ready.
type latencies [latencySteps]atomic.Int64

func (l *latencies) observe(d time.Duration) { l[latencyStep(d)].Add(1) }

func latencyStep(d time.Duration) int {
	us := uint64(max(1, d.Microseconds()))
	octave := bits.Len64(us) - 1
	quarter := us << 2 >> octave & 3
	return min(octave*4+int(quarter), latencySteps-1)
}

// latencyOf is the upper end of a step.
func latencyOf(step int) time.Duration {
	octave, quarter := step/4, step%4
	return time.Duration((uint64(5+quarter)<<octave)/4) * time.Microsecond
}

// quantile returns the q-quantile of what was counted since taken, and moves taken on.
func (l *latencies) quantile(q float64, taken *[latencySteps]int64, forget bool) time.Duration {
	var counts [latencySteps]int64
	var sum int64
	for i := range l {
		n := l[i].Load()
		counts[i] = n - taken[i]
		taken[i] = n
		sum += counts[i]
	}
	if forget || sum == 0 {
		return 0
	}
	rank := int64(q * float64(sum))
	for i, n := range counts {
		if rank -= n; rank < 0 {
			return latencyOf(i)
		}
	}
	return latencyOf(latencySteps - 1)
}
