package datastream

import (
	"context"
	"time"

	"penstock/internal/fault"
	"penstock/records"
)

// How an on-demand stream grows (KDS, "On-demand mode"): it has room for twice the peak
// seen, and a shard that takes more than half of what a shard can is split by itself.
const (
	hotBytes     = 500_000          // a second: a shard above is split
	hotRecords   = writeRecords / 2 // a second
	onDemandMost = 200              // shards that growth by itself goes to: 200 MiB/s
)

// load is what was put into one shard between two looks.
type load struct {
	shard          records.Shard
	bytes, records float64 // a second
}

// growth is what a look at a stream leads to. The zero value is nothing.
type growth struct {
	shards int             // open shards to go to, fewer after long quiet; 0: not by width
	split  records.ShardID // valid with at
	at     records.HashKey
	hot    bool // split it at
}

// grow decides about one stream: pure, from the load of its open shards.
func grow(open []load) growth {
	var bytes, count float64
	for _, l := range open {
		bytes += l.bytes
		count += l.records
	}
	if len(open) == 0 || len(open) >= onDemandMost {
		return growth{}
	}
	// Twice the peak, in steps of doubling, as a uniform reshard goes no further at once.
	need := max(2*bytes/writeBytes, 2*count/writeRecords)
	if need > float64(len(open)) {
		return growth{shards: min(2*len(open), onDemandMost)}
	}
	var worst load
	for _, l := range open {
		if l.bytes >= hotBytes || l.records >= hotRecords {
			if l.bytes/writeBytes+l.records/writeRecords > worst.bytes/writeBytes+worst.records/writeRecords {
				worst = l
			}
		}
	}
	at := records.Middle(worst.shard.From, worst.shard.To)
	// A shard of two keys or less, all of it one hot key, cannot be parted.
	if worst.bytes+worst.records == 0 || at.Compare(worst.shard.From.Next()) <= 0 || at.Compare(worst.shard.To) >= 0 {
		return growth{}
	}
	return growth{hot: true, split: worst.shard.ID, at: at}
}

// scaleLoop looks at the on-demand streams until ctx ends.
func (c *Catalogue) scaleLoop(ctx context.Context) {
	seen := map[*shardMeter]seenLoad{}
	last := c.c.Clock.Now()
	for c.pause(ctx, c.c.ScaleEvery) {
		now := c.c.Clock.Now()
		passed := now.Sub(last).Seconds()
		if last = now; passed <= 0 {
			continue
		}
		fresh := make(map[*shardMeter]seenLoad, len(seen))
		for _, s := range c.List("", "") {
			i := s.Info()
			// Those that cannot grow now are looked at too: all that they ever took would
			// be taken for the load of one look, once they can.
			load := s.loads(seen, fresh, passed)
			if i.Mode != OnDemand || i.Status != Active {
				continue
			}
			g := grow(load)
			if g == (growth{}) {
				g = s.shrink(ctx, now, load)
			}
			s.scale(ctx, g)
		}
		seen = fresh
	}
}

type seenLoad struct{ bytes, records int64 }

// loads measures the open shards since the last look. A shard never seen counts from the
// next look on.
func (s *Stream) loads(seen, fresh map[*shardMeter]seenLoad, passed float64) []load {
	var list []load
	for _, shard := range open(s.Shards()) {
		l := load{shard: shard}
		if m := s.meter.peek(shard.ID); m != nil {
			now := seenLoad{m.inBytes.Load(), m.inRecords.Load()}
			before := seen[m] // zero: made since the last look
			l.bytes, l.records = float64(now.bytes-before.bytes)/passed, float64(now.records-before.records)/passed
			fresh[m] = now
		}
		list = append(list, l)
	}
	return list
}

// scale begins what grow decided, like a user's change would; whoever else changes the
// stream at this moment wins, and the next look decides anew.
func (s *Stream) scale(ctx context.Context, g growth) {
	const op = "scale data stream"
	if g.shards == 0 && !g.hot {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scaleWait)
	defer cancel()
	before := s.OpenShards()
	err := s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		now := s.c.c.Clock.Now()
		if g.hot {
			t, err := s.split(op, i, g.split, g.at)
			if err == nil {
				s.peaks, _ = s.peaks.with(now, before+1) // what it grows to is kept like a peak
			}
			return t, err
		}
		if g.shards < before {
			s.peaks = nil // the days before count for no more than what is left
		}
		s.peaks, _ = s.peaks.with(now, g.shards)
		return &task{Op: opReshard, Shards: g.shards}, nil
	})
	if err != nil {
		if !fault.Is(err, fault.InUse) {
			s.c.log.Warn("an on-demand data stream does not change its shards", "stream", s.name, "err", err)
		}
		return
	}
	s.c.log.Info("an on-demand data stream changes its shards", "stream", s.name, "from", before, "to", s.OpenShards())
}

// scaleWait bounds how long one stream's growth holds up the look at the others.
const scaleWait = 5 * time.Second
