package segment

import (
	"context"
	"errors"
	"hash/crc32"
	"sort"
	"strconv"
	"unsafe"

	"penstock/internal/fault"
	"penstock/internal/varint"
)

// Block is some consecutive records of one shard. It is immutable.
type Block struct {
	shard uint32
	rows  []byte
	table []row
}

// row is where a record is in the rows.
type row struct {
	index   uint64
	arrival int64
	off     uint32 // of the key; the data follows
	data    uint32
	key     uint16
	flags   Flags
}

// Shard returns whose records they are.
func (b *Block) Shard() uint32 { return b.shard }

// Len returns how many records there are; at least one.
func (b *Block) Len() int { return len(b.table) }

// At returns record i, as views of the block.
func (b *Block) At(i int) Record {
	r := &b.table[i]
	end := r.off + uint32(r.key)
	return Record{
		Index: r.index, Arrival: r.arrival, Flags: r.flags,
		Key:  text(b.rows[r.off:end]),
		Data: b.rows[end : end+r.data : end+r.data],
	}
}

// text is b as a string, without a copy: rows never change.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Find returns the place of the first record whose index is at least index; Len if none.
func (b *Block) Find(index uint64) int {
	return sort.Search(len(b.table), func(i int) bool { return b.table[i].index >= index })
}

// FindTime returns the place of the first record that arrived at ms or later; Len if none.
func (b *Block) FindTime(ms int64) int {
	return sort.Search(len(b.table), func(i int) bool { return b.table[i].arrival >= ms })
}

// weight is what the block takes in memory, nearly.
func (b *Block) weight() int64 {
	return int64(cap(b.rows)) + int64(len(b.table))*int64(unsafe.Sizeof(row{})) + 256
}

// parseRows makes the table of rows. Both first fields of want are the first record's.
func parseRows(rows []byte, want *block) (*Block, error) {
	b := &Block{shard: want.shard, rows: rows, table: make([]row, 0, want.records)}
	c := varint.Cursor{B: rows}
	index, arrival := want.first-1, want.firstArrival
	for range want.records {
		head := c.Byte()
		gap, step := uint64(0), int64(0)
		if head&rowGap != 0 {
			gap = c.Uint()
		}
		if head&rowStep != 0 {
			step = c.Int63()
		}
		key, data := c.Uint(), c.Uint()
		if len(b.table) == 0 && head&(rowGap|rowStep) != 0 || key > MaxKey || data > MaxData ||
			gap > maxIndex || step > 2*maxArrival {
			return nil, errFormat
		}
		index += gap + 1
		arrival += step
		b.table = append(b.table, row{
			index: index, arrival: arrival, off: uint32(len(rows) - len(c.B)),
			data: uint32(data), key: uint16(key), flags: Flags(head >> rowFlags),
		})
		c.Bytes(int(key + data))
		if c.Fail || index > maxIndex || arrival > maxArrival {
			return nil, errFormat
		}
	}
	return b, c.Err()
}

func decimal[T ~int64](v T) string { return strconv.FormatInt(int64(v), 10) }

// zstdSlack is room that the decoder wants behind what it decodes.
const zstdSlack = 64

// decode makes a Block of b: a block's header, which is h, and its stored bytes. keep: b
// is the block's to keep. It overwrites what is sealed.
func (s *Source) decode(ctx context.Context, head *fileHead, h *blockHead, b []byte, keep bool) (*Block, error) {
	stored := b[blockHeadLen:]
	if crc32.Checksum(stored, castagnoli) != h.storedCRC {
		return nil, errors.New("the block's checksum is wrong")
	}
	if h.sealed != (head.keyID != "") {
		return nil, errFormat
	}
	if h.sealed {
		var err error
		if stored, err = s.unseal(ctx, head, b); err != nil {
			return nil, err
		}
	}
	rows := stored
	switch {
	case h.codec == codecZstd:
		var err error
		// The decoder is faster where it may write a little past the end.
		rows, err = s.zstd.DecodeAll(stored, make([]byte, 0, h.rows+zstdSlack))
		if err != nil {
			return nil, err
		}
	case !keep:
		rows = append(make([]byte, 0, len(stored)), stored...)
	}
	if len(rows) != int(h.rows) {
		return nil, errFormat
	}
	return parseRows(rows, &h.block)
}

// noKey is met where a block is whole and nobody can open it.
type noKey struct{ error }

func (n noKey) Unwrap() error { return n.error }

// unseal opens a sealed block in place.
func (s *Source) unseal(ctx context.Context, head *fileHead, b []byte) ([]byte, error) {
	if s.c.Keys == nil {
		return nil, noKey{fault.New(fault.Denied, "read segment", head.name.Stream, "it is encrypted, and no key was given")}
	}
	aead, err := s.c.Keys(ctx, head.keyID)
	if err != nil {
		return nil, noKey{err}
	}
	stored := b[blockHeadLen:]
	if len(stored) < sealLen {
		return nil, errFormat
	}
	aad := append(append(make([]byte, 0, len(head.raw)+placeLen), head.raw...), b[:placeLen]...)
	out, err := aead.Open(stored[nonceLen:nonceLen], stored[:nonceLen], stored[nonceLen:], aad)
	if err != nil {
		return nil, errors.New("it does not open with its key: it was changed on purpose, moved, or the key is another")
	}
	return out, nil
}
