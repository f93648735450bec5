package records

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unsafe"
)

// What a lane carries for this package is entries: a header, the stream's id, a payload.
// docs/format/records.md has the bytes.
const (
	entryVersion = 1
	entryFixed   = 40       // bytes of a header before the id
	entryMost    = 1 << 20  // bytes after which a Put goes on in another entry
	entryLimit   = 16 << 20 // bytes that no entry has
	maxID        = 64       // bytes of a stream's id: as in segments
)

// entryKind says what an entry is.
type entryKind uint8

const (
	kindRecords entryKind = 1 // records of one shard
	kindCreate  entryKind = 2 // a stream begins; count shards, arrival its creation in ms
	kindChange  entryKind = 3 // shards close and open
	kindDelete  entryKind = 4 // the stream is deleted
)

const flagSealed = 1 // the payload is encrypted

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what stands before an entry's payload.
type header struct {
	size    int // of the whole entry
	payload uint32
	kind    entryKind
	flags   uint8
	shard   ShardID
	count   uint32
	first   uint64 // index of the first record
	arrival int64  // ms, of all records
	id      []byte // a view, when it was read
}

func (h *header) len() int { return entryFixed + len(h.id) }

// append appends the bytes of h to dst.
func (h *header) append(dst []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.size))
	dst = binary.LittleEndian.AppendUint32(dst, h.payload)
	dst = append(dst, byte(h.kind), h.flags, byte(len(h.id)), entryVersion)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.shard))
	dst = binary.LittleEndian.AppendUint32(dst, h.count)
	dst = binary.LittleEndian.AppendUint64(dst, h.first)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.arrival))
	dst = append(dst, h.id...)
	binary.LittleEndian.PutUint32(dst[at:], crc32.Checksum(dst[at+4:], castagnoli))
	return dst
}

// flaw is why bytes are no entry.
type flaw string

func (f flaw) Error() string { return string(f) }

// parseHeader reads the header that b begins with. The payload may be cut short.
func parseHeader(b []byte) (h header, err error) {
	if len(b) < entryFixed {
		return h, flaw("an entry ends within its header")
	}
	n := entryFixed + int(b[14])
	if len(b) < n || int(b[14]) > maxID {
		return h, flaw("an entry ends within its header")
	}
	if crc32.Checksum(b[4:n], castagnoli) != binary.LittleEndian.Uint32(b) {
		return h, flaw("the checksum of an entry's header does not match")
	}
	if b[15] != entryVersion {
		return h, flaw(fmt.Sprintf("an entry has version %d, this program knows %d", b[15], entryVersion))
	}
	h = readHeader(b)
	if h.size < n || h.size > entryLimit {
		return h, flaw("an entry's length cannot be")
	}
	return h, nil
}

// readHeader reads a header that was checked before, or that this process wrote.
func readHeader(b []byte) header {
	return header{
		size:    int(binary.LittleEndian.Uint32(b[4:])),
		payload: binary.LittleEndian.Uint32(b[8:]),
		kind:    entryKind(b[12]),
		flags:   b[13],
		shard:   ShardID(binary.LittleEndian.Uint32(b[16:])),
		count:   binary.LittleEndian.Uint32(b[20:]),
		first:   binary.LittleEndian.Uint64(b[24:]),
		arrival: int64(binary.LittleEndian.Uint64(b[32:])),
		id:      b[entryFixed : entryFixed+int(b[14])],
	}
}

// payloadOf returns the payload of the entry that b begins with, checked.
func (h *header) payloadOf(b []byte) ([]byte, error) {
	if len(b) < h.size {
		return nil, flaw("an entry is cut short")
	}
	p := b[h.len():h.size]
	if crc32.Checksum(p, castagnoli) != h.payload {
		return nil, flaw("the checksum of an entry's records does not match")
	}
	return p, nil
}

// appendRow appends what stands before a record's data: two lengths and the key.
func appendRow(dst []byte, key string, data int) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = binary.AppendUvarint(dst, uint64(data))
	return append(dst, key...)
}

// nextRow takes the first record off the rows in p; the key is a view of them too.
func nextRow(p []byte) (key string, data, rest []byte, err error) {
	k, n := binary.Uvarint(p)
	if n <= 0 {
		return "", nil, nil, flaw("a record's length is cut short")
	}
	d, m := binary.Uvarint(p[n:])
	if m <= 0 {
		return "", nil, nil, flaw("a record's length is cut short")
	}
	p = p[n+m:]
	if k > MaxKey || d > MaxData || k+d > uint64(len(p)) {
		return "", nil, nil, flaw("a record is longer than its entry")
	}
	if k > 0 {
		key = unsafe.String(&p[0], int(k))
	}
	return key, p[k : k+d : k+d], p[k+d:], nil
}

// change is the payload of a kindChange entry.
type change struct {
	at     int64     // ms: when the shards closed
	closed []ShardID // in rising order
	opened []def     // in rising order of ID
}

// def is what a shard is from its beginning.
type def struct {
	id, parent, adjacent ShardID
	from, to             HashKey
	created              int64 // seconds
}

const defSize = 4*3 + 16*2 + 8

func (d *def) append(b []byte) []byte {
	for _, v := range [...]ShardID{d.id, d.parent, d.adjacent} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	for _, v := range [...]uint64{d.from.Hi, d.from.Lo, d.to.Hi, d.to.Lo, uint64(d.created)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// readDef reads what append made; b is at least defSize long.
func readDef(b []byte) def {
	id := func(i int) ShardID { return ShardID(binary.LittleEndian.Uint32(b[4*i:])) }
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[12+8*i:]) }
	return def{id(0), id(1), id(2), HashKey{n(0), n(1)}, HashKey{n(2), n(3)}, int64(n(4))}
}

func (c *change) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(c.at))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.closed)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.opened)))
	for _, id := range c.closed {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	for i := range c.opened {
		b = c.opened[i].append(b)
	}
	return b
}

func readChange(b []byte) (c change, err error) {
	if len(b) < 16 {
		return c, flaw("a change of shards is cut short")
	}
	c.at = int64(binary.LittleEndian.Uint64(b))
	closed, opened := uint64(binary.LittleEndian.Uint32(b[8:])), uint64(binary.LittleEndian.Uint32(b[12:]))
	if b = b[16:]; closed*4+opened*defSize != uint64(len(b)) {
		return c, flaw("a change of shards has another length than it says")
	}
	for ; len(c.closed) < int(closed); b = b[4:] {
		c.closed = append(c.closed, ShardID(binary.LittleEndian.Uint32(b)))
	}
	for ; len(c.opened) < int(opened); b = b[defSize:] {
		c.opened = append(c.opened, readDef(b))
	}
	return c, nil
}
