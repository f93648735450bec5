package datastream

import (
	"sync"
	"sync/atomic"
	"time"

	"penstock/records"
)

// The limits of one shard of a provisioned stream (KDS, "Quotas and limits").
const (
	writeBytes   = 1 << 20 // a second
	writeRecords = 1000    // a second
	readBytes    = 2 << 20 // a second, of all readers that are not registered
	readCalls    = 5       // a second
)

// meter counts what goes through the shards of a stream, and holds back what is too much.
// A shard's counters are made when it is first used; nothing is allocated after that.
type meter struct {
	shards   atomic.Pointer[[]*shardMeter] // by index; grows, never shrinks
	mu       sync.Mutex                    // one growth at a time
	rates    rates
	progress progress
}

// shardMeter is one shard's. The buckets are times (GCRA): when the bucket would be full
// again, on the catalogue's clock.
type shardMeter struct {
	inBytes, inRecords, outBytes, outRecords atomic.Int64
	writeRefused, readRefused                atomic.Int64
	behind                                   atomic.Int64 // ms, of the last read; -1: none
	hot                                      hotKeys

	writeBytesFull, writeRecordsFull, readBytesFull, readCallsFull atomic.Int64
}

func (m *meter) at(id records.ShardID) *shardMeter {
	if list := m.shards.Load(); list != nil && int(id) < len(*list) {
		if s := (*list)[id]; s != nil {
			return s
		}
	}
	return m.grow(id)
}

// peek is at without making one.
func (m *meter) peek(id records.ShardID) *shardMeter {
	if list := m.shards.Load(); list != nil && int(id) < len(*list) {
		return (*list)[id]
	}
	return nil
}

func (m *meter) grow(id records.ShardID) *shardMeter {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*shardMeter
	if old := m.shards.Load(); old != nil {
		list = *old
	}
	if int(id) < len(list) && list[id] != nil {
		return list[id]
	}
	grown := make([]*shardMeter, max(len(list), int(id)+1))
	copy(grown, list)
	grown[id] = &shardMeter{}
	grown[id].behind.Store(-1)
	m.shards.Store(&grown)
	return grown[id]
}

// put counts what was stored, and what was refused.
func (m *meter) put(in []records.Input, out []records.Placed) {
	for i := 0; i < len(out); {
		shard, first, n, bytes, refused := out[i].Shard, i, 0, 0, 0
		for ; i < len(out) && out[i].Shard == shard; i++ {
			if out[i].Err != nil {
				refused++
				continue
			}
			n++
			bytes += len(in[i].Data) + len(in[i].Key)
		}
		if shard == records.NoShard {
			continue
		}
		s := m.at(shard)
		s.inRecords.Add(int64(n))
		s.inBytes.Add(int64(bytes))
		s.hot.note(in[first:i])
		if refused > 0 {
			s.writeRefused.Add(int64(refused))
		}
	}
}

// got counts a page that was read.
func (m *meter) got(shard records.ShardID, p *records.Page) {
	s := m.at(shard)
	s.outRecords.Add(int64(len(p.Records)))
	s.outBytes.Add(int64(pageBytes(p)))
	s.behind.Store(p.Behind.Milliseconds())
}

// admit is the stream's records.Gate: whether a shard takes so much more now. The bytes'
// bucket holds as much as the largest record that the stream takes.
func (s *Stream) admit(shard records.ShardID, n, bytes int) bool {
	m, now := s.meter.at(shard), s.c.now()
	cost := time.Duration(n) * time.Second / writeRecords
	if !take(&m.writeRecordsFull, now, cost, time.Second) {
		return false
	}
	burst := time.Duration(max(s.info.Load().MaxRecord, writeBytes)) * time.Second / writeBytes
	if !take(&m.writeBytesFull, now, time.Duration(bytes)*time.Second/writeBytes, burst) {
		m.writeRecordsFull.Add(-int64(cost))
		return false
	}
	return true
}

// mayRead takes one read call, unless the bytes of the reads before are not paid off.
func (m *shardMeter) mayRead(now time.Duration) bool {
	if time.Duration(m.readBytesFull.Load())-now < time.Second &&
		take(&m.readCallsFull, now, time.Second/readCalls, time.Second) {
		return true
	}
	m.readRefused.Add(1)
	return false
}

// charge puts what was read on the bill: an answer of 10 MiB blocks the shard for the
// seconds that it is worth.
func (m *shardMeter) charge(now time.Duration, bytes int) {
	for {
		full := m.readBytesFull.Load()
		next := max(full, int64(now)) + int64(time.Duration(bytes)*time.Second/readBytes)
		if m.readBytesFull.CompareAndSwap(full, next) {
			return
		}
	}
}

// take takes cost out of a bucket that holds burst, or nothing.
func take(bucket *atomic.Int64, now, cost, burst time.Duration) bool {
	for {
		full := bucket.Load()
		next := max(full, int64(now)) + int64(cost)
		if next-int64(now) > int64(burst) {
			return false
		}
		if bucket.CompareAndSwap(full, next) {
			return true
		}
	}
}
