package rtpin

import (
	"encoding/binary"
	"time"

	"penstock/media"
)

// lengthSize is that of the length before each NAL unit.
const lengthSize = 4

// nalu tells what one NAL unit means for its access unit.
type nalu uint8

const (
	naluOther nalu = iota // SEI, AUD, end of sequence
	naluSlice
	naluKey   // slice of an IDR or IRAP picture
	naluParam // VPS, SPS, PPS
)

// syntax is what differs between H.264 and H.265 above the payload format.
type syntax interface {
	// kind says what a NAL unit with this first byte is.
	kind(b byte) nalu
	// first reports whether a slice is the first of its picture, from its first bytes.
	first(b []byte) bool
	// params looks for parameter sets in a finished unit.
	params(unit []byte)
	// dts takes the pts of a finished unit and returns its dts.
	dts(unit []byte, pts int64, key bool) int64
}

// builder puts access units together from NAL units and their fragments, with 4-byte
// lengths before each (ISO/IEC 14496-15 §5.3.2), in the receiver's slab.
type builder struct {
	t *track
	syntax

	started bool // a unit is open
	ts      uint32
	arrival time.Time
	broken  bool // a part of the open unit is missing
	suspect bool // packets were lost before the open unit: perhaps its beginning
	picture bool // it has a slice
	key     bool
	param   bool // it has parameter sets

	fragment bool // a fragmented NAL unit is open
	length   int  // where its length goes

	keySize, size int  // what units took lately
	marked        bool // the sender sets the marker bit
}

// reach makes sure that the open unit is the one of h's timestamp.
func (b *builder) reach(h header, gap bool, key bool) {
	if b.started && h.ts != b.ts && (b.picture || b.broken || gap) {
		if gap || b.fragment {
			b.broken = true
		}
		b.finish()
	} else if b.started && gap {
		b.broken = true
	}
	if !b.started {
		if n := b.room(h); n > 0 {
			b.t.r.slab.Reserve(n)
		} else {
			b.t.r.slab.Begin(b.guess(key))
		}
		*b = builder{t: b.t, syntax: b.syntax, started: true, suspect: gap,
			keySize: b.keySize, size: b.size, marked: b.marked}
	}
	if !b.picture {
		b.ts, b.arrival = h.ts, b.t.now
	}
}

// guess is how many bytes a unit will probably take.
func (b *builder) guess(key bool) int {
	n := b.size
	if key {
		n = b.keySize
	}
	return n + n/8 // one that is a little larger than the last need not move
}

// room is how many bytes the unit takes that begins with the packet at hand, or a few
// less; 0: its end has not come yet.
func (b *builder) room(h header) int {
	t := b.t
	n := t.size + lengthSize
	for at := 0; !h.marker; {
		if t.r.ahead == nil || n > UnitMax {
			return 0
		}
		var p []byte
		if p, at = t.r.ahead(t.media, at); p == nil {
			return 0
		}
		next, payload, ok := parse(p)
		if !ok || next.pt != t.pt {
			continue
		}
		if next.ts != h.ts {
			break
		}
		h.marker = next.marker
		n += len(payload) + lengthSize
	}
	return n
}

// nal adds a whole NAL unit.
func (b *builder) nal(p []byte) {
	if len(p) == 0 || b.full(len(p)+4) {
		return
	}
	if b.fragment {
		b.broken, b.fragment = true, false
	}
	b.note(p)
	dst := b.t.r.slab.Grow(4 + len(p))
	binary.BigEndian.PutUint32(dst, uint32(len(p)))
	copy(dst[4:], p)
}

// note looks at the beginning of a NAL unit.
func (b *builder) note(p []byte) {
	switch b.kind(p[0]) {
	case naluKey:
		b.key = true
		b.slice(p)
	case naluSlice:
		b.slice(p)
	case naluParam:
		b.param = true
	}
}

func (b *builder) slice(p []byte) {
	if !b.picture && b.suspect && !b.first(p) {
		b.broken = true
	}
	b.picture = true
}

// open begins a fragmented NAL unit; head is its reconstructed header.
func (b *builder) open(head []byte, p []byte) {
	if b.full(4 + len(head) + len(p)) {
		return
	}
	if b.fragment {
		b.broken = true
	}
	var peek [4]byte
	n := copy(peek[:], head)
	n += copy(peek[n:], p)
	b.note(peek[:n])
	b.fragment, b.length = true, b.t.r.slab.Len()
	dst := b.t.r.slab.Grow(4 + len(head) + len(p))
	copy(dst[4:], head)
	copy(dst[4+len(head):], p)
}

// more adds to the open fragmented NAL unit.
func (b *builder) more(p []byte, end bool) {
	if !b.fragment {
		b.broken = true
		return
	}
	if b.full(len(p)) {
		return
	}
	b.t.r.slab.Append(p)
	if end {
		b.close()
	}
}

// close writes the length of the fragmented NAL unit.
func (b *builder) close() {
	unit := b.t.r.slab.Bytes()
	binary.BigEndian.PutUint32(unit[b.length:], uint32(len(unit)-b.length-4))
	b.fragment = false
}

// full guards UnitMax; what is past it breaks the unit and takes no memory.
func (b *builder) full(n int) bool {
	if b.broken {
		return true
	}
	if b.t.r.slab.Len()+n <= UnitMax {
		return false
	}
	b.t.r.stats.TooBig++
	b.broken = true
	return true
}

// mark takes the marker bit: the unit's last packet came.
func (b *builder) mark() {
	b.marked = true
	if b.broken || (b.picture && !b.fragment) {
		b.finish()
	}
	// Parameter sets alone, marked: some cameras do it. They belong to the next picture.
}

// finish hands the open unit over, or drops it when a part is missing.
func (b *builder) finish() {
	b.started = false
	t, a := b.t, &b.t.r.slab
	if b.broken || b.fragment || a.Len() == 0 {
		if b.broken || b.fragment {
			t.r.stats.Damaged++
		}
		a.Rollback()
		return
	}
	if b.key {
		b.keySize = a.Len()
	} else {
		b.size = max(a.Len(), b.size-b.size/8)
	}
	unit := a.Commit()
	if b.param {
		b.params(unit)
	}
	pts, wall := t.time.at(b.ts, b.arrival, t.r)
	if t.codec == nil {
		t.r.stats.NoConfig++
		return
	}
	dts := b.dts(unit, pts, b.key)
	t.r.write(t, media.Sample{Track: t.id, DTS: dts, CTO: int32(pts - dts), Sync: b.key, Wall: wall, Data: unit})
}

// end takes that no packet will come. A sender that never sets markers ends its last
// unit by ending.
func (b *builder) end() {
	if !b.started {
		return
	}
	if b.marked {
		b.broken = true
	}
	b.finish()
}
