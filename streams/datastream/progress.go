package datastream

import (
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/records"
)

// Lag is how far a registered consumer is behind.
type Lag struct {
	Consumer string
	Shards   int           // that it reads now or has read since the start
	Behind   time.Duration // in the shard where it is farthest behind, with the time since it last read there
	Seen     time.Time     // when it last read anything; zero: never since the start
}

// progress is where consumers are, by name and shard.
type progress struct {
	mu sync.Mutex
	at map[string]map[records.ShardID]reading
}

type reading struct {
	behind time.Duration
	seen   time.Time
}

// Progress notes that a registered consumer has read a shard up to behind the newest
// record. It is quick: once for each answer.
func (s *Stream) Progress(consumer string, shard records.ShardID, behind time.Duration) {
	now := s.c.c.Clock.Now()
	p := &s.meter.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[string]map[records.ShardID]reading{}
	}
	of := p.at[consumer]
	if of == nil {
		of = map[records.ShardID]reading{}
		p.at[consumer] = of
	}
	of[shard] = reading{behind, now}
}

// Lags returns how far each registered consumer is behind, by name. A shard that was read
// to its end, or has expired, no longer counts; one that a consumer stopped reading is
// behind by the time since.
func (s *Stream) Lags() []Lag {
	now, shards := s.c.c.Clock.Now(), s.Shards()
	p := &s.meter.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []Lag{}
	known := map[string]bool{}
	for _, c := range s.Consumers() {
		known[c.Name] = true
		lag := Lag{Consumer: c.Name}
		for id, r := range p.at[c.Name] {
			sh, ok := Find(shards, id)
			if !ok || !sh.Open() && r.behind == 0 {
				delete(p.at[c.Name], id)
				continue
			}
			lag.Shards++
			behind := r.behind
			if idle := now.Sub(r.seen); idle > trafficStale {
				behind += idle
			}
			lag.Behind = max(lag.Behind, behind)
			if r.seen.After(lag.Seen) {
				lag.Seen = r.seen
			}
		}
		list = append(list, lag)
	}
	for name := range p.at {
		if !known[name] {
			delete(p.at, name)
		}
	}
	slices.SortFunc(list, func(a, b Lag) int { return strings.Compare(a.Consumer, b.Consumer) })
	return list
}
