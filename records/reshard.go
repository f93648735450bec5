package records

import (
	"context"
	"database/sql"
	"fmt"
	"hash/crc32"
	"slices"

	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/lane"
)

// changing is a change of shards on its way to being durable.
type changing struct {
	log    *Log
	tag    uint64
	at     int64 // ms
	closed []*shard
	opened []*shard
}

// committed makes the change visible: the children are there, then the parents end. Who
// sees a shard's end is told at once which shards go on.
func (c *changing) committed(storage.LSN, []byte, int) {
	c.log.mu.Lock()
	was := c.log.view.Load()
	v := &view{shards: append(slices.Clone(was.shards), c.opened...), shown: slices.Clone(was.shown)}
	for _, sh := range c.closed {
		if i, ok := slices.BinarySearchFunc(v.shown, sh.id, byID); ok {
			v.shown[i].end(c.at)
		}
	}
	for _, sh := range c.opened {
		v.shown = append(v.shown, sh.view())
	}
	c.log.view.Store(v)
	c.log.mapDirty = true
	c.log.mu.Unlock()
	for _, sh := range c.closed {
		sh.rmu.Lock()
		sh.closed = c.at
		sh.signal()
		sh.rmu.Unlock()
	}
	c.log.store.slots.release(c.tag)
}

// Split closes a shard and opens two: up to the place before at, and from at. Nothing that
// is put meanwhile is lost or refused. It returns when that is durable. fault.NotFound: no
// such shard; fault.InUse: it is closed; fault.Invalid: at is not inside it (spec 6.4).
func (l *Log) Split(ctx context.Context, id ShardID, at HashKey) error {
	l.change.Lock()
	defer l.change.Unlock()
	sh, err := l.openShard("split", id)
	if err != nil {
		return err
	}
	if at.Compare(sh.from.Next()) <= 0 || at.Compare(sh.to) >= 0 {
		return fault.New(fault.Invalid, "split", l.id+"/"+id.String(),
			fmt.Sprintf("%s is not greater than %s and less than %s", at, sh.from.Next(), sh.to))
	}
	return l.apply(ctx, "split", []step{{split: sh, at: at}})
}

// Merge closes two shards, a ending where b begins, and opens one, as Split does.
// fault.NotFound: no such shard; fault.InUse: one is closed; fault.Invalid: they are not
// neighbours in this order (spec 6.5).
func (l *Log) Merge(ctx context.Context, a, b ShardID) error {
	l.change.Lock()
	defer l.change.Unlock()
	first, err := l.openShard("merge", a)
	if err != nil {
		return err
	}
	second, err := l.openShard("merge", b)
	if err != nil {
		return err
	}
	if a == b || first.to == MaxHashKey || first.to.Next() != second.from {
		return fault.New(fault.Invalid, "merge", l.id+"/"+a.String(), b.String()+" does not begin where it ends")
	}
	return l.apply(ctx, "merge", []step{{first: first, second: second}})
}

// openShard returns a shard that is open. Under change.
func (l *Log) openShard(op string, id ShardID) (*shard, error) {
	sh, err := l.find(op, id)
	if err != nil {
		return nil, err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.moved {
		return nil, fault.New(fault.InUse, op, l.id+"/"+id.String(), "the shard is closed")
	}
	return sh, nil
}

// step is one split, or one merge.
type step struct {
	split         *shard
	at            HashKey
	first, second *shard
}

// apply makes steps that concern different shards, all at one time, and returns when they
// are durable in the lane and in Meta. Under change.
func (l *Log) apply(ctx context.Context, op string, steps []step) error {
	if n := len(l.view.Load().shards) + 2*len(steps); n > MaxShards {
		return fault.New(fault.Invalid, op, l.id, fmt.Sprintf("%d shards, the closed ones included; the limit is %d", n, MaxShards))
	}
	c := &changing{log: l}
	for _, s := range steps {
		if s.split != nil {
			c.closed = append(c.closed, s.split)
		} else {
			c.closed = append(c.closed, s.first, s.second)
		}
	}
	slices.SortFunc(c.closed, func(a, b *shard) int { return int(int64(a.id) - int64(b.id)) })
	t, err := l.close(ctx, c, steps)
	if err != nil {
		return fault.Wrap(fault.KindOf(err), op, l.id, err)
	}
	// It is under way and will not be undone: whether the caller waits is not asked.
	ctx = context.WithoutCancel(ctx)
	if _, err := t.Wait(ctx); err != nil {
		if t.Failed() {
			l.undo(c)
		}
		return fault.Wrap(fault.KindOf(err), op, l.id, err)
	}
	if err := l.saveMap(ctx); err != nil {
		return fault.Wrap(fault.KindOf(err), op, l.id, err)
	}
	return nil
}

// close puts the change into the lane behind the last records of the shards that close,
// and sends what follows to the new ones.
func (l *Log) close(ctx context.Context, c *changing, steps []step) (lane.Ticket, error) {
	c.at = l.store.cfg.Clock.Now().UnixMilli()
	for _, sh := range c.closed {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		c.at = max(c.at, sh.clock)
	}
	e := change{at: c.at}
	for _, sh := range c.closed {
		e.closed = append(e.closed, sh.id)
	}
	id := l.nextID
	open := func(parent, adjacent ShardID, from, to HashKey) {
		e.opened = append(e.opened, def{id, parent, adjacent, from, to, c.at/1000 + 1})
		id++
	}
	for _, s := range steps {
		if s.split != nil {
			open(s.split.id, NoShard, s.split.from, s.at.Prev())
			open(s.split.id, NoShard, s.at, s.split.to)
		} else {
			open(s.first.id, s.second.id, s.first.from, s.second.to)
		}
	}
	for _, d := range e.opened {
		sh := newShard(l, d)
		sh.slot = l.store.slots.add(sh)
		c.opened = append(c.opened, sh)
	}
	c.tag = l.store.slots.add(c)
	payload := e.append(nil)
	h := header{kind: kindChange, count: uint32(len(e.opened)), first: uint64(e.opened[0].id), arrival: c.at, id: l.name, payload: crc32.Checksum(payload, castagnoli)}
	h.size = h.len() + len(payload)
	if l.deleted.Load() {
		c.release()
		return lane.Ticket{}, l.notHere("change shards", c.closed[0].id)
	}
	t, err := l.lane.w.Put(ctx, c.tag, h.append(nil), payload)
	if err != nil {
		c.release()
		return t, err
	}
	for _, sh := range c.opened {
		sh.birth = t
	}
	l.nextID = id
	for _, sh := range c.closed {
		sh.moved = true
	}
	r := l.route.Load().with(c.closed, c.opened)
	l.route.Store(&r)
	return t, nil
}

// undo takes a change back that was refused for lack of room: with it went everything
// that was put behind it. Under change.
func (l *Log) undo(c *changing) {
	for _, sh := range c.closed {
		sh.mu.Lock()
		sh.moved = l.deleted.Load()
		sh.mu.Unlock()
	}
	l.nextID -= ShardID(len(c.opened))
	r := l.route.Load().with(c.opened, c.closed)
	l.route.Store(&r)
	c.release()
}

// release gives back the tags of a change that is not in the lane.
func (c *changing) release() {
	for _, sh := range c.opened {
		c.log.store.slots.release(sh.slot)
	}
	c.log.store.slots.release(c.tag)
}

// saveMap writes the shards to Meta as they are when the write comes to its turn.
func (l *Log) saveMap(ctx context.Context) error {
	err := l.store.cfg.Meta.Write(ctx, l.writeMap)
	if err != nil {
		l.dirty()
	}
	return err
}

// dirty notes that Meta does not know the shards as they are.
func (l *Log) dirty() {
	l.mu.Lock()
	l.mapDirty = true
	l.mu.Unlock()
}

// writeMap is run by Meta's writer, so that no older map follows a newer one. If the
// transaction fails its caller calls dirty.
func (l *Log) writeMap(tx *sql.Tx) error {
	l.mu.Lock()
	l.mapDirty = false
	l.mu.Unlock()
	_, err := tx.Exec("UPDATE records_streams SET map = ? WHERE stream = ?", l.shardMap().encode(), l.id)
	return err
}

// roundingMost is how far, in keys, a bound that is there may lie from where an equal share
// begins and be taken for it. Who doubles three shards means their middles: without it, what
// division leaves over would make shards of a single key on the way.
const roundingMost = 1 << 16

// Reshard splits and merges until there are target open shards of equal width, but for
// rounding (spec 6.13). It splits once for each bound that is missing and merges once for
// each that is left over: to double splits alone, to halve merges alone. Each round of it is
// durable by itself; after an error it can be called again.
func (l *Log) Reshard(ctx context.Context, target int) error {
	if target < 1 || target > MaxShards/4 {
		return fault.New(fault.Invalid, "reshard", l.id, fmt.Sprintf("%d shards; 1 to %d are possible", target, MaxShards/4))
	}
	l.change.Lock()
	defer l.change.Unlock()
	bounds := make([]HashKey, target)
	open := *l.route.Load()
	for i := range bounds {
		bounds[i] = open.nearest(uniform(i, target))
	}
	for {
		if l.deleted.Load() {
			return l.notHere("reshard", 0)
		}
		steps := plan(*l.route.Load(), bounds)
		if len(steps) == 0 {
			return nil
		}
		if err := l.apply(ctx, "reshard", steps); err != nil {
			return err
		}
	}
}

// nearest returns where the shard begins that begins nearest to h, or h when none begins
// within roundingMost of it.
func (r routing) nearest(h HashKey) HashKey {
	best := h
	far := HashKey{Lo: roundingMost + 1}
	i, _ := slices.BinarySearchFunc(r, h, func(sh *shard, h HashKey) int { return sh.from.Compare(h) })
	for _, sh := range r[max(i-1, 0):min(i+1, len(r))] {
		if d := sh.from.distance(h); d.Compare(far) < 0 {
			best, far = sh.from, d
		}
	}
	return best
}

// plan returns the next round on the way from the open shards to those that begin at
// bounds: splits while a bound lies inside a shard, then merges of neighbours. A shard with
// several bounds inside is split at the middle one.
func plan(open routing, bounds []HashKey) []step {
	var splits, merges []step
	isBound := make(map[HashKey]bool, len(bounds))
	for _, b := range bounds {
		isBound[b] = true
	}
	at := func(h HashKey) int {
		i, _ := slices.BinarySearchFunc(bounds, h, HashKey.Compare)
		return i
	}
	for _, sh := range open {
		lo, hi := at(sh.from.Next()), at(sh.to)
		if hi < len(bounds) && bounds[hi] == sh.to {
			hi++ // a shard of the one last place
		}
		if sh.from != MaxHashKey && lo < hi {
			splits = append(splits, step{split: sh, at: bounds[(lo+hi)/2]})
		}
	}
	if len(splits) > 0 {
		return splits
	}
	for i := 0; i+1 < len(open); i++ {
		if !isBound[open[i+1].from] {
			merges = append(merges, step{first: open[i], second: open[i+1]})
			i++
		}
	}
	return merges
}

// Encrypt says whether records that are put from now on are encrypted. It returns when
// that is durable. fault.Unavailable: there are no keys.
func (l *Log) Encrypt(ctx context.Context, on bool) error {
	l.store.keys.forget(l.id)
	if on {
		if _, err := l.store.keys.of(ctx, l.id); err != nil {
			return fault.Wrap(fault.KindOf(err), "encrypt", l.id, err)
		}
	}
	err := l.store.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE records_streams SET encrypted = ? WHERE stream = ?", on, l.id)
		return err
	})
	if err != nil {
		return fault.Wrap(fault.KindOf(err), "encrypt", l.id, err)
	}
	l.encrypted.Store(on)
	return nil
}
