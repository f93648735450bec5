package records

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"slices"

	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/lane"
)

// putting is what one Put works with; it is used again by another.
type putting struct {
	order []uint64 // place in the routing <<32 | place in the request
	head  []byte
	rows  []byte
	parts [][]byte
	open  []byte // rows that are about to be encrypted
	bind  []byte

	tickets []lane.Ticket // one for each commit
}

// Put stores records and returns when all that were placed are durable and visible. Each
// goes to the open shard that its hash falls into; within a shard the order is that of in.
// out is filled in the order of in and must be as long: a record has a Seq or an Err.
//
// The error is for the whole call: fault.Invalid (a limit of this package; an After that
// its shard never gave), fault.NotFound (the stream was deleted), fault.Unavailable (the
// disk is nearly full, or Run has ended), or the lane's failure. After an error some
// records may be stored and some not.
func (l *Log) Put(ctx context.Context, in []Input, out []Placed, gate Gate) error {
	if err := l.admit(in, out); err != nil {
		return err
	}
	p, ok := l.store.puttings.Get().(*putting)
	if !ok {
		p = new(putting)
	}
	defer func() {
		clear(p.parts) // the caller's data is not to be kept from the collector
		clear(p.tickets)
		l.store.puttings.Put(p)
	}()
	var key *named
	if l.encrypted.Load() {
		var err error
		if key, err = l.store.keys.of(ctx, l.id); err != nil {
			return fault.Wrap(fault.KindOf(err), "put", l.id, err)
		}
	}
	if err := l.put(ctx, p, key, in, out, gate); err != nil {
		return err
	}
	// Of several commits a later one can be stored where an earlier was refused for lack of
	// room, so each is waited for; most often it is one.
	for _, t := range p.tickets {
		if _, err := t.Wait(ctx); err != nil {
			return fault.Wrap(fault.KindOf(err), "put", l.id, err)
		}
	}
	return nil
}

// admit checks what needs no shard.
func (l *Log) admit(in []Input, out []Placed) error {
	switch {
	case len(in) > MaxInputs:
		return fault.New(fault.Invalid, "put", l.id, fmt.Sprintf("%d records at once, the limit is %d", len(in), MaxInputs))
	case len(out) < len(in):
		return fault.New(fault.Internal, "put", l.id, "there is no room for the answers")
	case l.deleted.Load():
		return l.notHere("put", 0)
	case l.store.tight.Load():
		return fault.New(fault.Unavailable, "put", l.id, "the disk is nearly full").
			WithHint("free space on the disk or shorten the retention of a stream; puts go on by themselves then")
	}
	for i := range in {
		if len(in[i].Data) > MaxData || len(in[i].Key) > MaxKey {
			return fault.New(fault.Invalid, "put", l.id,
				fmt.Sprintf("record %d has %d bytes of data and %d of key, the limits are %d and %d", i, len(in[i].Data), len(in[i].Key), MaxData, MaxKey))
		}
	}
	return nil
}

// put places all records in the lane.
func (l *Log) put(ctx context.Context, p *putting, key *named, in []Input, out []Placed, gate Gate) error {
	p.tickets = p.tickets[:0]
	for i := range in {
		out[i] = Placed{}
	}
	for todo := len(in); todo > 0; {
		route, before := l.route.Load(), todo
		r := *route
		p.order = p.order[:0]
		for i := range in {
			if out[i].Err != nil || !out[i].Seq.IsZero() {
				continue
			}
			at := r.find(in[i].Hash)
			if id := r[at].id; gate != nil && !gate(id, 1, len(in[i].Data)+len(in[i].Key)) {
				l.store.met.refused.Inc()
				out[i] = Placed{Shard: id, Err: fault.New(fault.Throttled, "put", l.id+"/"+id.String(), "the shard takes no more now")}
				todo--
				continue
			}
			p.order = append(p.order, uint64(at)<<32|uint64(i))
		}
		if !slices.IsSortedFunc(p.order, cmp.Compare[uint64]) {
			slices.Sort(p.order)
		}
		for order := p.order; len(order) > 0; {
			n := 1
			for n < len(order) && order[n]>>32 == order[0]>>32 {
				n++
			}
			sh := r[order[0]>>32]
			took, err := sh.put(ctx, p, key, in, out, order[:n])
			if err != nil {
				return fault.Wrap(fault.KindOf(err), "put", l.id, err)
			}
			todo -= took
			order = order[n:]
		}
		switch {
		case todo == 0:
		case l.deleted.Load():
			return l.notHere("put", 0)
		case todo == before && l.route.Load() == route:
			l.change.Lock() // a change was refused and is about to be undone
			l.change.Unlock()
		}
	}
	return nil
}

// put places the records named by order, which are all of this shard, and returns how
// many it took: none of the rest when the shard closed meanwhile.
func (sh *shard) put(ctx context.Context, p *putting, key *named, in []Input, out []Placed, order []uint64) (took int, err error) {
	now := sh.log.store.cfg.Clock.Now().UnixMilli()
	for len(order) > 0 {
		n, size := p.gather(in, order)
		ok, err := sh.append(ctx, p, key, now, in, out, order[:n])
		if err != nil || !ok {
			return took, err
		}
		sh.log.store.met.put.Add(float64(n))
		sh.log.store.met.putBytes.Add(float64(size))
		took, order = took+n, order[n:]
	}
	return took, nil
}

// gather makes an entry's rows of the first records of order and returns how many these
// are, and their bytes. parts[0] is left for the header.
func (p *putting) gather(in []Input, order []uint64) (n, size int) {
	p.rows, p.parts = p.rows[:0], append(p.parts[:0], nil)
	for _, o := range order {
		r := &in[uint32(o)]
		if n > 0 && size+len(r.Data)+len(r.Key) > entryMost {
			break
		}
		at := len(p.rows)
		p.rows = appendRow(p.rows, r.Key, len(r.Data)) // growing leaves older parts where they are
		p.parts = append(p.parts, p.rows[at:len(p.rows):len(p.rows)])
		if len(r.Data) > 0 {
			p.parts = append(p.parts, r.Data)
		}
		size += len(r.Data) + len(r.Key)
		n++
	}
	return n, size
}

// append numbers the records of one entry and puts it into the lane; false: the shard is
// closed.
func (sh *shard) append(ctx context.Context, p *putting, key *named, now int64, in []Input, out []Placed, order []uint64) (bool, error) {
	h := header{kind: kindRecords, shard: sh.id, count: uint32(len(order)), id: sh.log.name}
	h.size = h.len()
	if key == nil {
		for _, part := range p.parts[1:] {
			h.size += len(part)
			h.payload = crc32.Update(h.payload, castagnoli, part)
		}
	} else {
		p.open = p.open[:0]
		for _, part := range p.parts[1:] {
			p.open = append(p.open, part...)
		}
		h.flags = flagSealed
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.moved || sh.birth.Failed() {
		return false, nil
	}
	if sh.ticket.Failed() { // and so did all behind the newest that is visible
		sh.next, sh.ticket = sh.visible(), lane.Ticket{}
	}
	h.first, h.arrival = sh.next, max(sh.clock, now)
	if err := sh.checkAfter(in, order); err != nil {
		return false, err
	}
	if key != nil {
		p.bind = h.binding(p.bind)
		sealed, err := sh.log.store.keys.seal(key, sh.log.store.epoch, p.bind, p.open)
		if err != nil {
			return false, err
		}
		p.parts = append(p.parts[:1], sealed)
		h.size, h.payload = h.len()+len(sealed), crc32.Checksum(sealed, castagnoli)
	}
	p.head = h.append(p.head[:0])
	p.parts[0] = p.head
	t, err := sh.log.lane.w.Put(ctx, sh.slot, p.parts...)
	if err != nil {
		return false, err
	}
	for i, o := range order {
		out[uint32(o)] = Placed{Shard: sh.id, Seq: newSeq(sh.created, sh.id, h.first+uint64(i), h.arrival/1000)}
	}
	sh.next, sh.clock, sh.ticket = h.first+uint64(len(order)), h.arrival, t
	if n := len(p.tickets); n == 0 || p.tickets[n-1] != t {
		p.tickets = append(p.tickets, t)
	}
	return true, nil
}

// visible returns the index behind the newest durable record. Under mu.
func (sh *shard) visible() uint64 {
	sh.rmu.Lock()
	defer sh.rmu.Unlock()
	return max(sh.least, sh.newest+1)
}

// checkAfter refuses an After of this shard that it never gave. Under mu.
func (sh *shard) checkAfter(in []Input, order []uint64) error {
	for i, o := range order {
		a := in[uint32(o)].After
		if a.IsZero() || a.Version() != 2 || a.created() != sh.created || a.Shard() != sh.id {
			continue
		}
		if a.Index() >= sh.next+uint64(i) {
			return fault.New(fault.Invalid, "put", sh.log.id+"/"+sh.id.String(), "the number to be greater than was never given")
		}
	}
	return nil
}

// committed makes an entry of records visible.
func (sh *shard) committed(lsn storage.LSN, body []byte, off int) {
	h := readHeader(body[off:])
	sh.publish(&h, lsn, off)
}
