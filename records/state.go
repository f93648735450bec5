package records

import (
	"slices"
	"sort"
	"sync"
	"time"

	"penstock/storage"
	"penstock/storage/lane"
)

// shard is a shard at work.
type shard struct {
	def
	log  *Log
	slot uint64 // the tag of its entries in the lane

	// Numbering: held while an entry is put, so that the order of the numbers is that of
	// the lane. Nothing is waited for under it but room in the lane.
	mu     sync.Mutex
	next   uint64      // the index of the next record
	clock  int64       // ms: no later record arrives before this
	moved  bool        // closed: records go to its children
	least  uint64      // next was this when the shard was opened
	ticket lane.Ticket // of the newest entry
	birth  lane.Ticket // of the change that opened it; zero: durable since the start

	// What readers see: that which is durable. Never held together with mu, except mu first.
	rmu    sync.Mutex
	newest uint64        // index of the newest record
	last   int64         // its arrival, ms
	closed int64         // ms; 0: open
	gone   bool          // deleted, or expired after it was closed
	refs   []ref         // sealed records, oldest first
	exts   []ext         // records that are not sealed, oldest first
	wake   chan struct{} // closed at the next change; nil: nobody waits

	// Under rmu too: what was sealed, for the database.
	sealed   uint64 // index of the newest sealed record
	sealedAt int64  // its arrival, or the shard's first ms
}

// ext is where records that are not sealed lie: entries of one commit.
type ext struct {
	first   uint64 // index of the first record
	arrival int64  // of the first record
	lsn     storage.LSN
	off     uint32 // in the commit's body
	len     uint32 // the bytes; between the shard's entries may lie others' when they are short
	count   uint32 // records
}

// ref is a segment that holds records of a shard.
type ref struct {
	seg         *sealedSegment
	first, last uint64 // indexes
	until       int64  // arrival of the last, ms
}

const (
	extMost = 256 << 10 // bytes that an ext grows to, so that one read stays small
	extGap  = 4 << 10   // bytes of others' entries that an ext may span
)

func newShard(l *Log, d def) *shard {
	return &shard{def: d, log: l, next: 1, least: 1, clock: d.created * 1000, sealedAt: d.created * 1000}
}

// publish makes an entry of records visible: it is durable.
func (sh *shard) publish(h *header, lsn storage.LSN, off int) {
	if h.flags&flagSealed != 0 && !sh.log.secret.Load() {
		sh.log.secret.Store(true)
	}
	sh.rmu.Lock()
	sh.extend(ext{first: h.first, arrival: h.arrival, lsn: lsn, off: uint32(off), len: uint32(h.size), count: h.count})
	sh.newest, sh.last = h.first+uint64(h.count)-1, h.arrival
	sh.signal()
	sh.rmu.Unlock()
}

// extend adds e, to the last ext where that is close by.
func (sh *shard) extend(e ext) {
	if n := len(sh.exts); n > 0 {
		l := &sh.exts[n-1]
		end := l.off + l.len
		if l.lsn == e.lsn && e.off-end <= extGap && e.off+e.len-l.off <= extMost && l.first+uint64(l.count) == e.first {
			l.len, l.count = e.off+e.len-l.off, l.count+e.count
			return
		}
	}
	sh.exts = append(sh.exts, e)
}

// signal wakes all who wait. Under rmu.
func (sh *shard) signal() {
	if sh.wake != nil {
		close(sh.wake)
		sh.wake = nil
	}
}

// waiter returns a channel that the next change closes. Under rmu.
func (sh *shard) waiter() chan struct{} {
	if sh.wake == nil {
		sh.wake = make(chan struct{})
	}
	return sh.wake
}

// has reports whether a record at or behind p is visible. Under rmu.
func (sh *shard) has(p Position) bool {
	return sh.newest > 0 && sh.newest >= p.index && sh.last >= p.at
}

// view returns the shard as clients see it. Under rmu.
func (sh *shard) view() Shard {
	v := Shard{
		ID: sh.id, Parent: sh.parent, Adjacent: sh.adjacent, From: sh.from, To: sh.to,
		Start:  newSeq(sh.created, sh.id, 0, sh.created),
		Opened: time.Unix(sh.created, 0).UTC(),
	}
	if sh.closed != 0 {
		v.end(sh.closed)
	}
	return v
}

// end closes the shard at ms.
func (s *Shard) end(ms int64) {
	s.Closed = time.UnixMilli(ms).UTC()
	s.End = newSeq(s.Start.created(), s.ID, EndIndex, ms/1000)
}

// routing is who takes which part of the hash space: the open shards by From.
type routing []*shard

// find returns the place of the shard that takes h.
func (r routing) find(h HashKey) int {
	if len(r) == 1 {
		return 0
	}
	return sort.Search(len(r), func(i int) bool { return r[i].from.Compare(h) > 0 }) - 1
}

// with returns r without closed and with opened.
func (r routing) with(closed, opened []*shard) routing {
	out := make(routing, 0, len(r)-len(closed)+len(opened))
	drop := make(map[*shard]bool, len(closed))
	for _, sh := range closed {
		drop[sh] = true
	}
	for _, sh := range r {
		if !drop[sh] {
			out = append(out, sh)
		}
	}
	out = append(out, opened...)
	slices.SortFunc(out, func(a, b *shard) int { return a.from.Compare(b.from) })
	return out
}
