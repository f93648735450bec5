package records

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// Log is the records of one stream. Its methods may be called at once.
type Log struct {
	store   *Store
	name    []byte // the id
	id      string
	lane    *owner
	created int64
	born    storage.LSN // entries before it are another stream's that had this id

	encrypted atomic.Bool
	secret    atomic.Bool // some record in the lane is encrypted: so will its segment be
	deleted   atomic.Bool
	warned    atomic.Bool  // warnAhead has spoken
	floor     atomic.Int64 // ms: what arrived before is gone for ever
	saved     atomic.Int64 // the floor that Meta knows
	kept      atomic.Int64 // the retention when it was last asked for

	route atomic.Pointer[routing] // who takes what is put; may be ahead of view
	view  atomic.Pointer[view]    // what is durable

	change sync.Mutex // one change of shards at a time; held while it becomes durable
	nextID ShardID    // under change
	stored uint32     // checksum of the map in the bucket; under owner.sealing

	mu       sync.Mutex // taken under change: the replacing of view, and:
	mapDirty bool       // Meta does not know the shards as they are
	segs     []*sealedSegment
}

// view is a log's shards at some instant. It never changes.
type view struct {
	shards []*shard // by ID
	shown  []Shard  // the same, as clients see them
}

func newLog(s *Store, id string, o *owner, created int64) *Log {
	l := &Log{store: s, id: id, name: []byte(id), lane: o, created: created}
	l.route.Store(&routing{})
	l.view.Store(&view{})
	return l
}

// adopt adds a shard before the log is in use.
func (l *Log) adopt(sh *shard) {
	sh.slot = l.store.slots.add(sh)
	v := l.view.Load()
	v.shards = append(v.shards, sh)
	v.shown = append(v.shown, sh.view())
	if sh.closed == 0 {
		r := append(*l.route.Load(), sh)
		l.route.Store(&r)
	}
	l.nextID = max(l.nextID, sh.id+1)
}

// unadopt gives the tags of shards back that nothing was put into.
func (l *Log) unadopt() {
	for _, sh := range l.view.Load().shards {
		l.store.slots.release(sh.slot)
	}
}

// settle puts the open shards in order, after the last adopt.
func (l *Log) settle() {
	r := l.route.Load().with(nil, nil)
	l.route.Store(&r)
}

// begun hears that the stream's first entry, or its last, is durable.
type begun struct{ lsn chan storage.LSN }

func (b begun) committed(lsn storage.LSN, _ []byte, _ int) { b.lsn <- lsn }

// place puts the entry that the stream begins or ends with into the lane.
func (l *Log) place(ctx context.Context, kind entryKind, shards uint32) error {
	b := begun{make(chan storage.LSN, 1)}
	tag := l.store.slots.add(b)
	h := header{size: entryFixed + len(l.id), kind: kind, count: shards, arrival: l.created * 1000, id: []byte(l.id)}
	t, err := l.lane.w.Put(ctx, tag, h.append(nil))
	if err != nil {
		l.store.slots.release(tag)
		return err
	}
	if _, err := t.Wait(ctx); err != nil {
		if t.Failed() {
			l.store.slots.release(tag)
		}
		return err // else the tag stays taken: the entry may yet be committed
	}
	l.store.slots.release(tag)
	if lsn := <-b.lsn; kind == kindCreate {
		l.born = lsn
	}
	return nil
}

// end tells everyone that the log is deleted.
func (l *Log) end() {
	l.deleted.Store(true)
	l.change.Lock() // no child appears unseen
	defer l.change.Unlock()
	for _, sh := range l.view.Load().shards {
		sh.mu.Lock()
		sh.moved = true
		sh.mu.Unlock()
		sh.rmu.Lock()
		sh.gone = true
		sh.signal()
		sh.rmu.Unlock()
		l.store.slots.bury(sh.slot)
	}
}

// notHere is the error of a log that was deleted, or of a shard that is not there.
func (l *Log) notHere(op string, id ShardID) error {
	if l.deleted.Load() {
		return fault.New(fault.NotFound, op, l.id, "the stream was deleted")
	}
	return fault.New(fault.NotFound, op, l.id+"/"+id.String(), "there is no such shard")
}

// find returns a shard that is durable and retained.
func (l *Log) find(op string, id ShardID) (*shard, error) {
	all := l.view.Load().shards
	i, ok := slices.BinarySearchFunc(all, id, func(sh *shard, id ShardID) int { return int(int64(sh.id) - int64(id)) })
	if !ok || l.deleted.Load() {
		return nil, l.notHere(op, id)
	}
	return all[i], nil
}

// horizon returns the arrival, in ms, before which nothing is shown now.
func (l *Log) horizon() int64 {
	keep := 24 * time.Hour
	if l.store.cfg.Retention != nil {
		keep = l.store.cfg.Retention(l.id)
	}
	if keep <= 0 {
		return l.floor.Load() // nobody knows: nothing more expires
	}
	now := l.store.expiry.Now()
	if was := l.kept.Swap(int64(keep)); was != 0 && was < int64(keep) {
		l.raise(now.Add(-time.Duration(was)).UnixMilli())
	}
	return max(l.floor.Load(), now.Add(-keep).UnixMilli())
}

// Horizon returns the time that records must have arrived at, or later, to be shown now.
func (l *Log) Horizon() time.Time { return msTime(l.horizon()) }

// raise moves the floor up, never down.
func (l *Log) raise(ms int64) {
	for {
		was := l.floor.Load()
		if ms <= was || l.floor.CompareAndSwap(was, ms) {
			return
		}
	}
}

// Shards returns all shards that still are retained, by ID. It is a snapshot that never
// changes, not to be modified. What it shows is durable.
func (l *Log) Shards() []Shard {
	shown := l.view.Load().shown
	h := l.horizon()
	for i := range shown {
		if shown[i].expired(h) {
			return slices.DeleteFunc(slices.Clone(shown), func(s Shard) bool { return s.expired(h) })
		}
	}
	return shown
}

// expired reports whether a shard closed before the horizon: it holds nothing any more.
func (s *Shard) expired(horizon int64) bool {
	return !s.Open() && s.Closed.UnixMilli() < horizon
}

// byID orders shards, for a search.
func byID(s Shard, id ShardID) int { return int(int64(s.ID) - int64(id)) }

// Shard returns one of Shards.
func (l *Log) Shard(id ShardID) (Shard, bool) {
	shown := l.view.Load().shown
	i, ok := slices.BinarySearchFunc(shown, id, byID)
	if !ok || shown[i].expired(l.horizon()) {
		return Shard{}, false
	}
	return shown[i], true
}

// Encrypted reports what Encrypt said last.
func (l *Log) Encrypted() bool { return l.encrypted.Load() }

// shardMap returns the shards as Meta keeps them: those that are durable.
func (l *Log) shardMap() *shardMap {
	v := l.view.Load()
	m := &shardMap{shards: make([]mapped, 0, len(v.shards))}
	for _, sh := range v.shards {
		sh.rmu.Lock()
		m.shards = append(m.shards, mapped{sh.def, sh.closed})
		sh.rmu.Unlock()
		m.next = max(m.next, sh.id+1)
	}
	return m
}
