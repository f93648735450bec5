package fragments

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"penstock/internal/varint"
)

// chunkID names a chunk within its stream.
type chunkID struct {
	ms      int64  // server time of its first fragment, ms since 1970
	session uint32 // random, so that a rebuilt chunk never meets the key of another
}

func (id chunkID) String() string { return fmt.Sprintf("%d-%08x", id.ms, id.session) }

// key is the object's key.
func (id chunkID) key(stream string) string {
	return fmt.Sprintf("v/%s/%s/%s.chk", stream, time.UnixMilli(id.ms).UTC().Format("20060102"), id)
}

// chunkRow is a chunk as an index knows it.
type chunkRow struct {
	chunkID
	first     Number
	last      int64 // end of its last fragment, µs
	fragments int
	size      int64  // of the object in bytes
	entries   []byte // packed entries
	by        *model // with which they are packed; nil: they carry their own
}

// unpack returns the chunk's entries, in the memory of buf where that is enough.
func (r *chunkRow) unpack(buf []entry) ([]entry, error) {
	if r.by == nil {
		return unpackInto(buf, r.entries)
	}
	return readEntries(buf, r.entries, r.by, r.fragments, int64(r.first))
}

// row makes the index row of a chunk with these entries, at least one.
func row(id chunkID, size int64, entries []entry) chunkRow {
	return chunkRow{
		chunkID: id, first: entries[0].Number, last: entries[len(entries)-1].End.UnixMicro(),
		fragments: len(entries), size: size, entries: packEntries(nil, entries),
	}
}

// The limits of a section: an hour of chunks, each of a second.
const (
	maxSectionChunks = 8192
	maxSection       = 64 << 20
	maxSections      = 800 // hours in a month, and some
)

// packSection packs the chunks of one hour, oldest first: a model, a table of chunks, their packed entries, and a CRC32C.
func packSection(rows []chunkRow) ([]byte, error) {
	chunks := make([][]entry, len(rows))
	for i := range rows {
		var err error
		if chunks[i], err = rows[i].unpack(nil); err != nil {
			return nil, err
		}
	}
	m := fit(chunks)
	b := varint.AppendUint(nil, len(rows))
	b = m.append(b)
	var packed []byte
	last := int64(0)
	for i, r := range rows {
		before := len(packed)
		packed = appendEntries(packed, &m, chunks[i], int64(r.first))
		b = varint.AppendInt(b, int64(r.first)-last)
		b = varint.AppendInt(b, r.ms-int64(r.first)/1000)
		b = binary.LittleEndian.AppendUint32(b, r.session)
		b = varint.AppendInt(b, r.last-int64(r.first))
		b = varint.AppendUint(b, len(chunks[i]))
		b = varint.AppendUint(b, r.size)
		b = varint.AppendUint(b, len(packed)-before)
		last = r.last
	}
	b = append(b, packed...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli())), nil
}

// unpackSection reads what packSection wrote; the rows' entries stay packed and share b.
func unpackSection(b []byte) ([]chunkRow, error) {
	if len(b) < 4 || len(b) > maxSection {
		return nil, varint.ErrShort
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli()) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, fmt.Errorf("the CRC of an index section is wrong")
	}
	c := &varint.Cursor{B: body}
	n := c.Count(10)
	if n > maxSectionChunks {
		return nil, varint.ErrShort
	}
	m := readModel(c)
	rows := make([]chunkRow, n)
	lens := make([]int, n)
	last := int64(0)
	for i := range rows {
		r := &rows[i]
		r.by = &m
		r.first = Number(last + c.Int())
		r.ms = int64(r.first)/1000 + c.Int()
		if raw := c.Bytes(4); raw != nil {
			r.session = binary.LittleEndian.Uint32(raw)
		}
		r.last = int64(r.first) + c.Int()
		r.fragments = int(c.Uint32())
		r.size = c.Int63()
		lens[i] = c.Count(1)
		if i > 0 && r.first <= rows[i-1].first {
			return nil, varint.ErrShort
		}
		last = r.last
	}
	for i := range rows {
		rows[i].entries = c.Bytes(lens[i])
	}
	return rows, c.Err()
}

// part is a section as the directory of an index object lists it.
type part struct {
	off, len  int64 // of the section in the object, or in the row that holds it
	first     Number
	last      int64 // end of its last fragment, µs
	fragments int
	chunks    int
	size      int64 // bytes of its chunks
	stretches []stretch
}

// partOf describes a section of these rows, which lies at off.
func partOf(rows []chunkRow, off, length int64) (part, error) {
	p := part{off: off, len: length, chunks: len(rows)}
	var entries []entry
	for _, r := range rows {
		var err error
		entries, err = r.unpack(entries)
		if err != nil {
			return p, err
		}
		if p.first == 0 {
			p.first = r.first
		}
		p.last = max(p.last, r.last)
		p.fragments += r.fragments
		p.size += r.size
		for i := range entries {
			p.stretches = addStretch(p.stretches, &entries[i].Head)
		}
	}
	return p, nil
}

// packParts packs the directory of an index object.
func packParts(parts []part) []byte {
	b := varint.AppendUint(nil, len(parts))
	off, last := int64(0), int64(0)
	for _, p := range parts {
		b = varint.AppendInt(b, p.off-off)
		b = varint.AppendUint(b, p.len)
		b = varint.AppendInt(b, int64(p.first)-last)
		b = varint.AppendInt(b, p.last-int64(p.first))
		b = varint.AppendUint(b, p.fragments)
		b = varint.AppendUint(b, p.chunks)
		b = varint.AppendUint(b, p.size)
		b = appendStretches(b, p.stretches)
		off, last = p.off+p.len, p.last
	}
	return b
}

// unpackParts reads what packParts wrote.
func unpackParts(b []byte) ([]part, error) {
	c := &varint.Cursor{B: b}
	n := c.Count(8)
	if n > maxSections {
		return nil, varint.ErrShort
	}
	out := make([]part, n)
	off, last := int64(0), int64(0)
	for i := range out {
		p := &out[i]
		p.off = off + c.Int()
		p.len = c.Int63()
		p.first = Number(last + c.Int())
		p.last = int64(p.first) + c.Int()
		p.fragments = int(c.Uint32())
		p.chunks = int(c.Uint32())
		p.size = c.Int63()
		p.stretches = readStretches(c)
		if p.off < 0 || p.len > maxSection || i > 0 && p.first <= out[i-1].first {
			return nil, varint.ErrShort
		}
		off, last = p.off+p.len, p.last
	}
	return out, c.Err()
}

// The bytes around the sections of an index object; docs/format/index.md.
const (
	indexMagic   = "PNSTKPIX"
	indexVersion = 2
	indexHead    = 16 // magic, version, length of the stream's id, CRC32C
	indexTail    = 16 // length and CRC32C of the directory, version, magic
	maxIndex     = 1 << 30
)

const indexTailMagic = uint32('P') | uint32('I')<<8 | uint32('X')<<16 | uint32('E')<<24

// packIndex makes an index object of a stream from sections; parts describe them in
// order and get their offsets in the object.
func packIndex(stream string, sections [][]byte, parts []part) []byte {
	b := append(make([]byte, 0, indexHead+len(stream)), indexMagic...)
	b = binary.LittleEndian.AppendUint16(b, indexVersion)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(stream)))
	crc := crc32.Update(crc32.Checksum(b, castagnoli()), castagnoli(), []byte(stream))
	b = binary.LittleEndian.AppendUint32(b, crc)
	b = append(b, stream...)
	for i, s := range sections {
		parts[i].off, parts[i].len = int64(len(b)), int64(len(s))
		b = append(b, s...)
	}
	dir := packParts(parts)
	b = append(b, dir...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(dir)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(dir, castagnoli()))
	b = binary.LittleEndian.AppendUint32(b, indexVersion)
	return binary.LittleEndian.AppendUint32(b, indexTailMagic)
}

// unpackIndex reads an index object's stream and directory.
func unpackIndex(b []byte) (stream string, parts []part, err error) {
	if len(b) < indexHead+indexTail || len(b) > maxIndex || string(b[:8]) != indexMagic {
		return "", nil, fmt.Errorf("it does not begin like an index object")
	}
	n := int(binary.LittleEndian.Uint16(b[10:]))
	tail := b[len(b)-indexTail:]
	size := int64(binary.LittleEndian.Uint32(tail))
	switch {
	case binary.LittleEndian.Uint16(b[8:]) != indexVersion || binary.LittleEndian.Uint32(tail[8:]) != indexVersion:
		return "", nil, fmt.Errorf("the index object has version %d, this penstock reads version %d", binary.LittleEndian.Uint16(b[8:]), indexVersion)
	case binary.LittleEndian.Uint32(tail[12:]) != indexTailMagic:
		return "", nil, fmt.Errorf("the index object is cut off")
	case n == 0 || n > MaxStream || int64(len(b)) < indexHead+int64(n)+size+indexTail:
		return "", nil, varint.ErrShort
	}
	stream = string(b[indexHead : indexHead+n])
	crc := crc32.Update(crc32.Checksum(b[:12], castagnoli()), castagnoli(), []byte(stream))
	dir := b[int64(len(b))-indexTail-size : len(b)-indexTail]
	if crc != binary.LittleEndian.Uint32(b[12:]) || crc32.Checksum(dir, castagnoli()) != binary.LittleEndian.Uint32(tail[4:]) {
		return "", nil, fmt.Errorf("the CRC of the index object is wrong")
	}
	parts, err = unpackParts(dir)
	if err != nil {
		return "", nil, err
	}
	for _, p := range parts {
		if p.off < int64(indexHead+n) || p.off+p.len > int64(len(b))-indexTail-size {
			return "", nil, varint.ErrShort
		}
	}
	return stream, parts, nil
}
