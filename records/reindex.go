package records

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"penstock/internal/fault"
	"penstock/records/segment"
	"penstock/storage"
)

// Reindex throws away what Meta says about records and makes it again from the segments'
// footers and the lanes. The Store must not be running. What streams are called is not in
// them. Without the lanes, when only the bucket is left, new records go to new lanes.
func Reindex(ctx context.Context, cfg Config, report func(Finding)) (Report, error) {
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	s := &Store{cfg: cfg.withDefaults(), keys: newKeyring(cfg.withDefaults()), met: newMetrics(nil), logs: map[string]*Log{}}
	s.src = segment.NewSource(segment.SourceConfig{Bucket: s.cfg.Bucket, Cache: s.cfg.CacheBytes, Keys: s.keys.named})
	c := &checking{s: s, report: report}
	if report == nil {
		c.report = func(Finding) {}
	}
	err := c.reindex(ctx)
	return c.sum, errors.Join(fault.Wrap(fault.KindOf(err), "reindex records in", s.cfg.Dir, err), s.Close())
}

func (c *checking) reindex(ctx context.Context) error {
	if err := c.s.cfg.Meta.Apply(ctx, schema()); err != nil {
		return err
	}
	found, top, err := c.footers(ctx)
	if err != nil {
		return err
	}
	for n := range max(c.s.cfg.Lanes, top+1) {
		err := c.s.openLane(ctx, n, 0)
		for fault.Is(err, fault.Denied) && c.s.epoch < 1<<40 { // the epoch was lost with the rest
			c.s.epoch = 2*c.s.epoch + 1
			err = c.s.lanes[n].lane.Fence(ctx, c.s.epoch)
		}
		if err != nil {
			return err
		}
	}
	for _, o := range c.s.lanes {
		if err := c.unsealed(ctx, o, found); err != nil {
			return err
		}
	}
	c.moveFromLost(found)
	ids := make([]string, 0, len(found))
	for id, st := range found {
		ids = append(ids, id)
		c.sum.Records += st.waiting
	}
	slices.Sort(ids)
	return c.s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error { return c.rewrite(tx, found, ids) })
}

// rebuilt is a stream as its segments and its lane show it.
type rebuilt struct {
	lane      int
	born      storage.LSN // the last LSN that is in segments
	encrypted bool
	segs      []segment.Info
	waiting   int64 // records in the lane alone
	shards    map[ShardID]*mapped
	far       map[ShardID]reached
}

// footers reads all segments. A segment that a merge had replaced is left out, and so
// deleted later. top is the highest lane that there was.
func (c *checking) footers(ctx context.Context) (found map[string]*rebuilt, top int, err error) {
	found = map[string]*rebuilt{}
	for f, err := range segment.List(ctx, c.s.cfg.Bucket, "") {
		if fault.Is(err, fault.Invalid) {
			c.find(Finding{"", f.Object.Key, -1, err.Error() + "; it is left alone", false})
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		r, err := c.s.src.Open(ctx, f.Object.Key, f.Object.Size)
		if isDamage(err) {
			c.find(Finding{f.Name.Stream, f.Object.Key, -1, err.Error() + "; it is left out: put the object back from a copy and reindex again", false})
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		st := found[f.Name.Stream]
		if st == nil {
			st = &rebuilt{shards: map[ShardID]*mapped{}, far: map[ShardID]reached{}}
			found[f.Name.Stream] = st
		}
		st.segs = append(st.segs, r.Info())
		top = max(top, int(f.Name.Lane))
	}
	for id, st := range found {
		c.arrange(id, st)
	}
	err = c.maps(ctx, func(id string, lane int, m *shardMap) {
		st := found[id]
		if st == nil {
			st = &rebuilt{far: map[ShardID]reached{}}
			found[id] = st
			c.sum.Streams++
		}
		if len(st.segs) == 0 { // all expired, or not yet sealed: the lane tells
			st.lane, top = lane, max(top, lane)
		}
		st.shards = make(map[ShardID]*mapped, len(m.shards))
		for i := range m.shards {
			st.shards[m.shards[i].id] = &m.shards[i]
		}
	})
	return found, top, err
}

// arrange puts a stream's segments in order, leaves out what others replaced, and learns
// of its shards.
func (c *checking) arrange(id string, st *rebuilt) {
	slices.SortFunc(st.segs, func(a, b segment.Info) int {
		x, y := a.Name, b.Name
		if x.Lane != y.Lane {
			return int(x.Lane) - int(y.Lane)
		}
		if x.Level != y.Level {
			return int(y.Level) - int(x.Level)
		}
		return int(int64(x.Last) - int64(y.Last))
	})
	var kept []segment.Info
	for _, g := range st.segs {
		if slices.ContainsFunc(kept, func(k segment.Info) bool {
			return k.Name.Lane == g.Name.Lane && k.Name.Level > g.Name.Level && k.Name.First <= g.Name.First && g.Name.Last <= k.Name.Last
		}) {
			c.find(Finding{id, g.Name.Key(), -1, "a merged segment replaced it; it is deleted", true})
			continue
		}
		kept = append(kept, g)
	}
	slices.SortFunc(kept, func(a, b segment.Info) int {
		if a.Name.Lane != b.Name.Lane {
			return int(a.Name.Lane) - int(b.Name.Lane)
		}
		return int(int64(a.Name.Last) - int64(b.Name.Last))
	})
	st.segs = kept
	for i := range kept {
		g := &kept[i]
		st.lane, st.born, st.encrypted = int(g.Name.Lane), storage.LSN(g.Name.Last), g.KeyID != ""
		for k := range g.Shards {
			st.learn(&g.Shards[k])
		}
		c.sum.Segments++
		c.sum.Records += g.Records
		c.sum.Bytes += g.Size
	}
	c.sum.Streams++
}

// learn takes what a segment says about a shard.
func (st *rebuilt) learn(r *segment.Range) {
	id := ShardID(r.ID)
	if b := r.About; len(b) == 1+defSize+8 && b[0] == blobVersion {
		m := &mapped{def: readDef(b[1:])}
		m.closed = int64(binary.LittleEndian.Uint64(b[1+defSize:]))
		if m.id == id && m.created == r.Created {
			st.shards[id] = m
		}
	}
	if st.shards[id] == nil {
		st.shards[id] = &mapped{def: def{id: id, parent: NoShard, adjacent: NoShard, created: r.Created}, closed: r.LastArrival}
	}
	if f := st.far[id]; r.Last > f.index {
		st.far[id] = reached{id: id, index: r.Last, at: max(f.at, r.LastArrival)}
	}
}

// unsealed learns of streams that begin or end in a lane.
func (c *checking) unsealed(ctx context.Context, o *owner, found map[string]*rebuilt) error {
	first, _ := o.lane.Bounds()
	for b, err := range o.lane.Replay(ctx, first) {
		var d *storage.Damage
		if errors.As(err, &d) {
			c.find(Finding{"", d.File, d.Offset, d.Error(), false})
			continue
		}
		if err != nil {
			return err
		}
		err = entries(b.Body, func(h *header, _ []byte) error {
			id := string(h.id)
			switch st := found[id]; {
			case h.kind == kindDelete && st != nil:
				delete(found, id)
				c.sum.Streams--
				c.find(Finding{id, fmt.Sprintf("lane %d, batch %d", o.no, b.LSN), -1, "the stream was deleted", true})
			case h.kind == kindCreate && st == nil:
				st = &rebuilt{lane: o.no, born: b.LSN, shards: map[ShardID]*mapped{}, far: map[ShardID]reached{}}
				for _, d := range firstShards(int(h.count), h.arrival/1000) {
					st.shards[d.id] = &mapped{def: d}
				}
				found[id] = st
				c.sum.Streams++
			case h.kind == kindRecords && st != nil && st.lane == o.no && b.LSN > st.born:
				st.waiting += int64(h.count)
			}
			return nil
		})
		if err != nil {
			return fault.Wrap(fault.Internal, "read lane", fmt.Sprintf("batch %d", b.LSN), err)
		}
	}
	return nil
}

// moveFromLost gives streams whose lane is lost a new one.
func (c *checking) moveFromLost(found map[string]*rebuilt) {
	for id, st := range found {
		if _, next := c.s.lanes[st.lane].lane.Bounds(); st.born > 0 && next <= st.born {
			c.find(Finding{id, fmt.Sprintf("lane %d", st.lane), -1, fmt.Sprintf("what was put behind batch %d is lost with the lane", st.born), false})
			st.lane, st.born = len(c.s.lanes), 0
		}
	}
}

// rewrite is the transaction that makes the rows anew.
func (c *checking) rewrite(tx *sql.Tx, found map[string]*rebuilt, ids []string) error {
	for _, q := range []string{"DELETE FROM records_lanes", "DELETE FROM records_streams", "DELETE FROM records_segments", "DELETE FROM records_owner"} {
		if _, err := tx.Exec(q); err != nil {
			return err
		}
	}
	if _, err := tx.Exec("INSERT INTO records_owner (one, epoch) VALUES (1, ?)", int64(c.s.epoch)); err != nil {
		return err
	}
	for _, o := range c.s.lanes {
		first, _ := o.lane.Bounds()
		if _, err := tx.Exec("INSERT INTO records_lanes (lane, sealed) VALUES (?, ?)", o.no, int64(first)); err != nil {
			return err
		}
	}
	for _, id := range ids {
		st := found[id]
		m := c.shardsOf(id, st)
		var far []reached
		for _, sh := range m.shards {
			r := st.far[sh.id]
			r.id, r.least = sh.id, r.index+1+jump // no number that was given is given again
			far = append(far, r)
		}
		created := int64(maxCreated)
		for _, sh := range m.shards {
			created = min(created, sh.created)
		}
		_, err := tx.Exec("INSERT INTO records_streams (stream, lane, born, created, encrypted, map, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
			id, st.lane, int64(st.born), created, st.encrypted, m.encode(), encodeState(far))
		if err != nil {
			return err
		}
		for i := range st.segs {
			if err := announce(tx, st.segs[i].Name); err != nil {
				return err
			}
			if err := newSealed(&st.segs[i]).record(tx, &st.segs[i], segmentLive); err != nil {
				return err
			}
		}
	}
	return nil
}

// shardsOf returns a stream's shards so that the open ones cover the hash space once: a
// parent whose children are there is closed, and what nobody covers gets a new shard.
func (c *checking) shardsOf(id string, st *rebuilt) *shardMap {
	m := &shardMap{}
	for _, sh := range st.shards {
		if sh.to == (HashKey{}) && sh.from == sh.to { // nothing told of its part of the hash space
			c.find(Finding{id, sh.id.String(), -1, "nothing tells which part of the hash space it had; it is closed", true})
		}
		m.shards = append(m.shards, *sh)
		m.next = max(m.next, sh.id+1)
	}
	slices.SortFunc(m.shards, func(a, b mapped) int { return int(int64(a.id) - int64(b.id)) })
	var open []*mapped // by From; newer ones before older where they overlap
	for i := len(m.shards) - 1; i >= 0; i-- {
		sh := &m.shards[i]
		if sh.closed != 0 {
			continue
		}
		for k := i + 1; k < len(m.shards); k++ {
			if n := &m.shards[k]; n.to != (HashKey{}) && sh.from.Compare(n.to) <= 0 && n.from.Compare(sh.to) <= 0 {
				sh.closed = (n.created-1)*1000 + 999
				break
			}
		}
		if sh.closed == 0 {
			open = append(open, sh)
		}
	}
	slices.SortFunc(open, func(a, b *mapped) int { return a.from.Compare(b.from) })
	now := c.s.cfg.Clock.Now().Truncate(time.Second).Unix()
	at, full := HashKey{}, false
	var added []mapped
	fill := func(to HashKey) {
		c.find(Finding{id, m.next.String(), -1, fmt.Sprintf("nothing tells of an open shard from %v to %v; a new one is opened", at, to), true})
		added = append(added, mapped{def: def{id: m.next, parent: NoShard, adjacent: NoShard, from: at, to: to, created: now}})
		m.next++
	}
	for _, sh := range open {
		if at.Compare(sh.from) < 0 {
			fill(sh.from.Prev())
		}
		at, full = sh.to.Next(), sh.to == MaxHashKey
	}
	if !full {
		fill(MaxHashKey)
	}
	m.shards = append(m.shards, added...)
	return m
}
