package lane

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"

	"penstock/storage"
)

// The bytes of docs/format/lane.md.
const (
	pageSize   = 4096
	headSize   = 56
	batchMagic = "PLB1"

	// MaxBody is the largest body of a batch: what recovery and replay may have to hold
	// at once. It leaves room for several of the largest requests of the Kinesis wire.
	MaxBody = 64 << 20

	idMagic   = "PNSTLANE"
	idSize    = 68
	idVersion = 1

	logSuffix   = ".log"
	spareSuffix = ".spare"
	idName      = "lane"
	lsnDigits   = 20
)

// castagnoli returns the table of CRC-32C; the standard library makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// head is a batch's header.
type head struct {
	tag     uint64
	epoch   uint64
	lsn     storage.LSN
	wall    int64
	entries uint32
	length  uint32
	crc     uint32 // of the body
}

// put encodes h into the first headSize bytes of b.
func (h *head) put(b []byte) {
	copy(b, batchMagic)
	binary.LittleEndian.PutUint64(b[8:], h.tag)
	binary.LittleEndian.PutUint64(b[16:], h.epoch)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.lsn))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.wall))
	binary.LittleEndian.PutUint32(b[40:], h.entries)
	binary.LittleEndian.PutUint32(b[44:], h.length)
	binary.LittleEndian.PutUint32(b[48:], h.crc)
	binary.LittleEndian.PutUint32(b[52:], 0)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:headSize], castagnoli()))
}

// parseHead decodes a header of the file with the tag; false: there is none.
func parseHead(b []byte, tag uint64) (head, bool) {
	if len(b) < headSize || string(b[:4]) != batchMagic || binary.LittleEndian.Uint64(b[8:]) != tag {
		return head{}, false
	}
	h := head{
		tag:     tag,
		epoch:   binary.LittleEndian.Uint64(b[16:]),
		lsn:     storage.LSN(binary.LittleEndian.Uint64(b[24:])),
		wall:    int64(binary.LittleEndian.Uint64(b[32:])),
		entries: binary.LittleEndian.Uint32(b[40:]),
		length:  binary.LittleEndian.Uint32(b[44:]),
		crc:     binary.LittleEndian.Uint32(b[48:]),
	}
	good := binary.LittleEndian.Uint32(b[4:]) == crc32.Checksum(b[8:headSize], castagnoli()) &&
		h.length > 0 && h.length <= MaxBody && binary.LittleEndian.Uint32(b[52:]) == 0
	return h, good
}

// pages rounds n up to whole pages.
func pages(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// span is how many bytes of a file the batch takes.
func (h *head) span() int64 { return pages(headSize + int64(h.length)) }

// tagOf is the tag of the file whose first batch is first.
func tagOf(secret [16]byte, first storage.LSN) uint64 {
	var b [24]byte
	copy(b[:], secret[:])
	binary.LittleEndian.PutUint64(b[16:], uint64(first))
	sum := sha256.Sum256(b[:])
	return binary.LittleEndian.Uint64(sum[:])
}

func logName(first storage.LSN) string {
	return fmt.Sprintf("%0*d%s", lsnDigits, uint64(first), logSuffix)
}

// parseLogName returns the number in a name that logName made.
func parseLogName(name string) (storage.LSN, bool) {
	digits, ok := strings.CutSuffix(name, logSuffix)
	if !ok || len(digits) != lsnDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 || logName(storage.LSN(n)) != name {
		return 0, false
	}
	return storage.LSN(n), true
}

// identity is the content of the file lane.
type identity struct {
	number uint64
	secret [16]byte
	epoch  uint64
	first  storage.LSN // batches below are trimmed
	floor  storage.LSN // batches below were durable
}

// page encodes id with the zeros behind it.
func (id *identity) page() []byte {
	b := make([]byte, pageSize)
	copy(b, idMagic)
	binary.LittleEndian.PutUint32(b[8:], idVersion)
	binary.LittleEndian.PutUint64(b[16:], id.number)
	copy(b[24:], id.secret[:])
	binary.LittleEndian.PutUint64(b[40:], id.epoch)
	binary.LittleEndian.PutUint64(b[48:], uint64(id.first))
	binary.LittleEndian.PutUint64(b[56:], uint64(id.floor))
	binary.LittleEndian.PutUint32(b[64:], crc32.Checksum(b[:64], castagnoli()))
	return b
}

// parseIdentity decodes one record. version is not zero when it is a good one of another
// version.
func parseIdentity(b []byte) (id identity, version uint32, ok bool) {
	if len(b) < idSize || string(b[:8]) != idMagic ||
		binary.LittleEndian.Uint32(b[64:]) != crc32.Checksum(b[:64], castagnoli()) {
		return identity{}, 0, false
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != idVersion {
		return identity{}, v, false
	}
	id = identity{
		number: binary.LittleEndian.Uint64(b[16:]),
		epoch:  binary.LittleEndian.Uint64(b[40:]),
		first:  storage.LSN(binary.LittleEndian.Uint64(b[48:])),
		floor:  storage.LSN(binary.LittleEndian.Uint64(b[56:])),
	}
	copy(id.secret[:], b[24:40])
	return id, 0, id.first > 0 && id.floor > 0
}

func (f *Files) path(name string) string { return filepath.Join(f.cfg.Dir, name) }
