package rtpin

import "time"

// reorderTime bounds how long a packet waits for one before it: longer than any
// reordering a network does, shorter than a person notices.
const reorderTime = 100 * time.Millisecond

// reorderer holds back packets that came early, a copy of each.
type reorderer struct {
	slots []held // by sequence number modulo their count
	count int
	begun bool
	next  uint16 // the sequence number that is due
	since time.Time
}

type held struct {
	used    bool
	t       *track
	h       header
	payload []byte
	arrival time.Time
}

func newReorderer(n int) *reorderer {
	size := 1
	for size < n {
		size *= 2
	}
	return &reorderer{slots: make([]held, size)}
}

// put takes a packet and passes on what is in order now.
func (o *reorderer) put(r *Receiver, t *track, h header, payload []byte, arrival time.Time) {
	if !o.begun {
		o.begun, o.next = true, h.seq
	}
	ahead := int(int16(h.seq - o.next))
	switch {
	case ahead == 0:
		o.next++
		t.packet(h, payload, arrival)
		o.drain(r)
		return
	case ahead < 0 && ahead > -restartMin:
		r.stats.Late++
		return
	case ahead < 0 || ahead >= restartMin:
		// The sender began anew.
		o.flush(r)
		o.next = h.seq + 1
		t.packet(h, payload, arrival)
		return
	}
	for ahead >= len(o.slots) {
		// The gap is older than we wait: give up its oldest place.
		o.skip(r)
		ahead = int(int16(h.seq - o.next))
		if ahead <= 0 {
			break
		}
	}
	if ahead == 0 {
		o.put(r, t, h, payload, arrival)
		return
	}
	s := &o.slots[int(h.seq)&(len(o.slots)-1)]
	if s.used {
		r.stats.Late++
		return
	}
	if o.count == 0 {
		o.since = arrival
	}
	*s = held{used: true, t: t, h: h, payload: append(s.payload[:0], payload...), arrival: arrival}
	o.count++
	if arrival.Sub(o.since) > reorderTime {
		o.skip(r)
	}
}

// drain passes on held packets that are due.
func (o *reorderer) drain(r *Receiver) {
	for o.count > 0 {
		s := &o.slots[int(o.next)&(len(o.slots)-1)]
		if !s.used || s.h.seq != o.next {
			return
		}
		s.used = false
		o.count--
		o.next++
		s.t.packet(s.h, s.payload, s.arrival)
		o.since = s.arrival
	}
}

// skip gives up what is missing before the next held packet, or one place if none is.
func (o *reorderer) skip(r *Receiver) {
	o.next++
	if o.count == 0 {
		return
	}
	for range o.slots {
		s := &o.slots[int(o.next)&(len(o.slots)-1)]
		if s.used && s.h.seq == o.next {
			break
		}
		o.next++
	}
	o.drain(r)
}

// flush passes on everything that is held, in order.
func (o *reorderer) flush(r *Receiver) {
	for o.count > 0 {
		o.skip(r)
	}
}
