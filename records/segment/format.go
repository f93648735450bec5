package segment

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// What docs/format/segment.md lays down.
const (
	fileMagic  = "PNSTKSEG"
	blockMagic = "PSB1"
	endMagic   = "PNSTKEND"
	version    = 1

	fileHeadLen  = 40 // without the ids
	blockHeadLen = 60
	placeLen     = 48 // of the block header: what is known before the stored bytes are
	trailerLen   = 24

	nonceLen = 12
	tagLen   = 16
	sealLen  = nonceLen + tagLen

	codecPlain = 0
	codecZstd  = 1

	// maxRecords bounds a block's records, and so the table a reader makes of them.
	maxRecords = 8192
	// minRow is a row of no key and no data; maxRow the longest.
	minRow = 3
	maxRow = 1 + 2*binary.MaxVarintLen64 + 2*binary.MaxVarintLen32 + MaxKey + MaxData
	// maxRows bounds the rows of a block.
	maxRows = 12 << 20
)

// The row's head.
const (
	rowGap   = 1 << 0
	rowStep  = 1 << 1
	rowFlags = 2 // shift
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errFormat is what decoding meets in bytes whose checksum is right and sense is not.
var errFormat = errors.New("it holds what no writer writes")

// errVersion is met before anything else is looked at.
var errVersion = errors.New("it was written by a newer version of Penstock")

// fileHead is the file header: what it says, and its bytes.
type fileHead struct {
	name  Name // without Day
	keyID string
	raw   []byte
	crc   uint32
}

func newFileHead(n Name, keyID string) fileHead {
	b := make([]byte, fileHeadLen, fileHeadLen+MaxStream+MaxKeyID+8)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint16(b[8:], version)
	b[10], b[11], b[12] = n.Level, byte(len(n.Stream)), byte(len(keyID))
	binary.LittleEndian.PutUint16(b[14:], uint16(n.Lane))
	binary.LittleEndian.PutUint64(b[16:], n.First)
	binary.LittleEndian.PutUint64(b[24:], n.Last)
	b = append(append(b, n.Stream...), keyID...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	crc := fileHeadCRC(b)
	binary.LittleEndian.PutUint32(b[36:], crc)
	n.Day = 0
	return fileHead{name: n, keyID: keyID, raw: b, crc: crc}
}

func fileHeadCRC(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:36], castagnoli), castagnoli, b[fileHeadLen:])
}

// parseFileHead reads the header that b begins with; it refers to b.
func parseFileHead(b []byte) (fileHead, error) {
	if len(b) < fileHeadLen || string(b[:8]) != fileMagic {
		return fileHead{}, errFormat
	}
	stream, key := int(b[11]), int(b[12])
	n := (fileHeadLen + stream + key + 7) &^ 7
	if n > len(b) || fileHeadCRC(b[:n]) != binary.LittleEndian.Uint32(b[36:]) {
		return fileHead{}, errors.New("its checksum is wrong")
	}
	if binary.LittleEndian.Uint16(b[8:]) != version {
		return fileHead{}, errVersion
	}
	h := newFileHead(Name{
		Stream: string(b[fileHeadLen : fileHeadLen+stream]),
		Level:  b[10],
		Lane:   uint32(binary.LittleEndian.Uint16(b[14:])),
		First:  binary.LittleEndian.Uint64(b[16:]),
		Last:   binary.LittleEndian.Uint64(b[24:]),
	}, string(b[fileHeadLen+stream:fileHeadLen+stream+key]))
	if key > MaxKeyID || h.name.flaw() != "" || string(h.raw) != string(b[:n]) {
		return fileHead{}, errFormat
	}
	return h, nil
}

// block is what the footer and the block's header both say of a block.
type block struct {
	shard                     uint32
	records                   uint32
	first, last               uint64
	firstArrival, lastArrival int64
	created                   int64 // of the shard
	off                       int64 // of its header
	rows, stored              uint32
	number                    uint32 // its place in the file
}

// size is what the block takes in the object.
func (b *block) size() int64 { return blockHeadLen + int64(b.stored) }

// flaw reports whether no writer makes such a block.
func (b *block) flaw() bool {
	return b.records == 0 || b.records > maxRecords ||
		b.last > maxIndex || b.last < b.first || b.last-b.first < uint64(b.records-1) ||
		b.firstArrival < -maxArrival || b.lastArrival > maxArrival || b.lastArrival < b.firstArrival ||
		b.rows > maxRows || b.rows < b.records*minRow ||
		b.stored == 0 || b.stored > b.rows+sealLen
}

const (
	maxIndex   = 1<<63 - 1
	maxArrival = 1 << 53 // ms; 285,000 years
)

// blockHead is a block's header.
type blockHead struct {
	block     // last and lastArrival are the footer's alone
	codec     byte
	sealed    bool
	storedCRC uint32
}

// putPlace writes what stands before the stored bytes are made.
func (h *blockHead) putPlace(b []byte) {
	copy(b, blockMagic)
	b[4], b[5], b[6], b[7] = h.codec, 0, 0, 0
	if h.sealed {
		b[5] = 1
	}
	binary.LittleEndian.PutUint32(b[8:], h.number)
	binary.LittleEndian.PutUint32(b[12:], h.shard)
	binary.LittleEndian.PutUint64(b[16:], h.first)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.firstArrival))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.created))
	binary.LittleEndian.PutUint32(b[40:], h.records)
	binary.LittleEndian.PutUint32(b[44:], h.rows)
}

// putRest writes what the stored bytes, which follow b's header, decide.
func (h *blockHead) putRest(b []byte, salt uint32) {
	stored := b[blockHeadLen:]
	binary.LittleEndian.PutUint32(b[48:], uint32(len(stored)))
	binary.LittleEndian.PutUint32(b[52:], crc32.Checksum(stored, castagnoli))
	binary.LittleEndian.PutUint32(b[56:], blockHeadCRC(b, salt))
}

func blockHeadCRC(b []byte, salt uint32) uint32 {
	var s [4]byte
	binary.LittleEndian.PutUint32(s[:], salt)
	return crc32.Update(crc32.Checksum(s[:], castagnoli), castagnoli, b[:56])
}

// parseBlockHead reads the header that b begins with.
func parseBlockHead(b []byte, salt uint32) (h blockHead, err error) {
	if len(b) < blockHeadLen || string(b[:4]) != blockMagic {
		return h, errors.New("no block begins here")
	}
	if blockHeadCRC(b, salt) != binary.LittleEndian.Uint32(b[56:]) {
		return h, errors.New("the checksum of the block's header is wrong")
	}
	h.codec, h.sealed = b[4], b[5] == 1
	h.number = binary.LittleEndian.Uint32(b[8:])
	h.shard = binary.LittleEndian.Uint32(b[12:])
	h.first = binary.LittleEndian.Uint64(b[16:])
	h.firstArrival = int64(binary.LittleEndian.Uint64(b[24:]))
	h.created = int64(binary.LittleEndian.Uint64(b[32:]))
	h.records = binary.LittleEndian.Uint32(b[40:])
	h.rows = binary.LittleEndian.Uint32(b[44:])
	h.stored = binary.LittleEndian.Uint32(b[48:])
	h.storedCRC = binary.LittleEndian.Uint32(b[52:])
	h.last, h.lastArrival = h.first+uint64(h.records)-1, h.firstArrival // the least it can be
	if h.codec > codecZstd || b[5] > 1 || b[6]|b[7] != 0 || h.flaw() {
		return h, errFormat
	}
	return h, nil
}
