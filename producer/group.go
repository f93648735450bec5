package producer

import (
	"container/heap"
	"slices"
	"time"
)

// unit names what keeps its order: the records of one key, or, where aggregates are
// made, of one shard. At most one request carries records of a unit.
type unit struct {
	shard bool
	at    hash
}

// group is the records of a unit that wait, oldest first. It is in the queue, or in
// flight, or empty and forgotten.
type group struct {
	unit
	items    []*item
	bytes    int // upper bound of an aggregate of items
	when     time.Time
	place    int       // in the queue; -1: not there
	hold     time.Time // of the back-off: not before
	failures int
}

// queue is a heap of groups by when they are due.
type queue []*group

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].when.Before(q[j].when) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is heap.Interface's.
func (q *queue) Push(x any) {
	g := x.(*group)
	g.place = len(*q)
	*q = append(*q, g)
}

// Pop is heap.Interface's.
func (q *queue) Pop() any {
	old := *q
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	g.place = -1
	return g
}

// packed bounds what one record adds to an aggregate: its bytes, table entries' and
// fields' tags and lengths.
func packed(it *item) int { return len(it.Data) + len(it.Key) + len(it.Hash) + 32 }

// unitOf says with which records it must keep its order.
func (p *Producer) unitOf(it *item) unit {
	if p.shards != nil {
		return unit{shard: true, at: p.shards.of(it.hash).from}
	}
	if it.Hash != "" {
		return unit{at: hashOf(it.Key + "\x00" + it.Hash)}
	}
	return unit{at: it.hash}
}

// add queues it and reports whether the loop has to look again.
func (p *Producer) add(it *item) bool {
	if p.stale {
		p.waiting = append(p.waiting, it)
		return len(p.waiting) == 1
	}
	u := p.unitOf(it)
	g := p.groups[u]
	if g == nil {
		g = &group{unit: u, place: -1, items: []*item{it}, bytes: packed(it)}
		p.groups[u] = g
		p.enqueue(g)
		return g.place == 0 || p.c.AggregateBytes <= 0 && len(p.due) == p.c.RequestRecords
	}
	g.items = append(g.items, it)
	g.bytes += packed(it)
	if g.place >= 0 && g.bytes >= p.c.AggregateBytes && p.c.AggregateBytes > 0 {
		p.set(g)
		heap.Fix(&p.due, g.place)
		return g.place == 0
	}
	return false
}

// enqueue puts g where it belongs: in the queue, or, when it has nothing, nowhere.
func (p *Producer) enqueue(g *group) {
	if g.place >= 0 {
		return
	}
	if len(g.items) == 0 {
		delete(p.groups, g.unit)
		return
	}
	p.set(g)
	heap.Push(&p.due, g)
}

// set works out when g is due.
func (p *Producer) set(g *group) {
	switch {
	case p.flushing > 0, p.closed, p.c.AggregateBytes > 0 && g.bytes >= p.c.AggregateBytes, p.c.BufferedTime <= 0:
		g.when = g.items[0].put
	default:
		g.when = g.items[0].put.Add(p.c.BufferedTime)
	}
	if g.when.Before(g.hold) {
		g.when = g.hold
	}
}

// hurry makes everything due that no back-off holds.
func (p *Producer) hurry() {
	for _, g := range p.due {
		p.set(g)
	}
	heap.Init(&p.due)
}

// entry is what becomes one record on the wire: one item, or an aggregate of several of
// one group.
type entry struct {
	group *group
	items []*item
	size  int
}

// batch takes what is due at now, at most a request's worth. Nothing is due: when to
// look again, zero for not before a Put.
func (p *Producer) batch(now time.Time) (out []entry, again time.Time) {
	room := p.c.RequestBytes
	var full []*group // groups that do not fit any more
	for len(p.due) > 0 && len(out) < p.c.RequestRecords {
		g := p.due[0]
		if g.when.After(now) && (p.c.AggregateBytes > 0 || len(p.due)+len(out) < p.c.RequestRecords || g.hold.After(now)) {
			again = g.when
			break
		}
		p.expire(g, now)
		if len(g.items) == 0 {
			heap.Remove(&p.due, g.place)
			p.enqueue(g)
			continue
		}
		alone := g.items[0].alone
		if alone && len(out) > 0 {
			heap.Remove(&p.due, g.place)
			full = append(full, g)
			continue
		}
		took := false
		heap.Remove(&p.due, g.place)
		for len(g.items) > 0 && len(out) < p.c.RequestRecords {
			e := p.take(g, room)
			if len(e.items) == 0 {
				break
			}
			took, room = true, room-e.size
			out = append(out, e)
			if !p.c.Unordered || p.c.AggregateBytes > 0 || alone {
				break
			}
		}
		if !took {
			full = append(full, g)
			if room < p.c.RequestBytes/8 {
				break
			}
		}
		if alone && took {
			break
		}
	}
	for _, g := range full {
		p.enqueue(g)
		again = now
	}
	return out, again
}

// take removes from g what makes one entry of at most room bytes; it may be nothing.
func (p *Producer) take(g *group, room int) entry {
	e := entry{group: g}
	n, sum := 0, 0
	for _, it := range g.items {
		add := packed(it)
		if n > 0 && (p.c.AggregateBytes <= 0 || it.alone || g.items[0].alone || sum+add+32 > p.c.AggregateBytes || n >= aggregateRecordsMax) || n == 0 && it.size() > room || sum+add > room && n > 0 {
			break
		}
		n, sum = n+1, sum+add
	}
	e.items = slices.Clone(g.items[:n])
	e.size = sum
	if n == 1 {
		e.size = e.items[0].size()
	}
	clear(g.items[:n])
	g.items = g.items[n:]
	g.bytes -= sum
	return e
}

// aggregateRecordsMax bounds the records of one aggregate: readers hold a table of them.
const aggregateRecordsMax = 50_000

// expire gives up the records of g whose time is up. They are the oldest.
func (p *Producer) expire(g *group, now time.Time) {
	if p.c.Life < 0 {
		return
	}
	n := 0
	for n < len(g.items) && now.Sub(g.items[n].put) > p.c.Life {
		g.bytes -= packed(g.items[n])
		n++
	}
	if n > 0 {
		p.giveUp(g.items[:n])
		clear(g.items[:n])
		g.items = g.items[n:]
	}
}
