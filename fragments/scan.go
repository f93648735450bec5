package fragments

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// scanBlock is how much of a chunk is in memory while it is scanned.
const scanBlock = 1 << 20

// scanned is what the records of a chunk say.
type scanned struct {
	header  fileHeader
	entries []entry
	end     int64 // behind the last good record
	durable int64 // the largest durable offset that a good record notes
	sealed  bool  // a whole footer follows at end
	flaws   []flaw
}

// depth says how much of a chunk a scan reads.
type depth int

// The depths.
const (
	scanAll  depth = iota // every byte
	scanTail              // the media only where no record says that it was durable
)

// flaw is a stretch of a chunk that is not a good record.
type flaw struct {
	off, len int64
	why      string
}

// scan reads a chunk record by record: what is torn or damaged is left out, the search
// goes on behind it. An error means that r could not be read, or that nothing of the
// chunk can be used.
func scan(r io.ReaderAt, size int64, how depth) (*scanned, error) {
	durable := int64(0)
	if how == scanTail {
		heads, err := walk(r, size, size)
		if err != nil {
			return nil, err
		}
		durable = heads.durable
	}
	return walk(r, size, durable)
}

// walk is scan where the media of records that end by trust is not read.
func walk(r io.ReaderAt, size, trust int64) (*scanned, error) {
	head := make([]byte, min(size, headerLen+MaxStream))
	if err := readFull(r, head, 0); err != nil {
		return nil, err
	}
	h, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	sc := &scanned{header: h, end: h.size()}
	tries := maxTries
	for off := h.size(); off < size; {
		e, rec, why, err := scanRecord(r, off, size, h.salt, trust)
		if err != nil {
			return nil, err
		}
		if why == "" && rec.kind == recordFooter {
			sc.sealed = true
			break
		}
		if n := len(sc.entries); why == "" && n > 0 && e.Number <= sc.entries[n-1].Number {
			why = "its number does not rise"
		}
		if why == "" {
			if n := len(sc.flaws); n > 0 && sc.flaws[n-1].off >= sc.end && e.Gap == CauseNone {
				e.Gap, e.GapDetail = CauseDamaged, "a record before it is damaged"
			}
			sc.entries = append(sc.entries, e.entry)
			sc.durable = max(sc.durable, min(e.durable, off))
			off += rec.size()
			sc.end = off
			continue
		}
		next := off + 1
		if rec.kind != 0 { // the header is good, so its length is
			next = off + rec.size()
		} else if next, err = findRecord(r, next, size, h.salt, &tries); err != nil {
			return nil, err
		}
		sc.flaws = append(sc.flaws, flaw{off, min(next, size) - off, why})
		off = next
	}
	return sc, nil
}

// scanRecord checks the record at off. why is empty when it is good; rec.kind is 0 when
// not even its length can be trusted.
func scanRecord(r io.ReaderAt, off, size int64, salt uint32, trust int64) (e *found, rec record, why string, err error) {
	rec, meta, why, err := readMeta(r, off, size, salt)
	if err != nil || why != "" {
		return nil, record{}, why, err
	}
	if rec.kind == recordFooter {
		return nil, rec, "", nil
	}
	if off+rec.size() > size {
		return nil, record{}, "it is cut off", nil
	}
	if off+rec.size() > trust {
		crc, err := checksum(r, off+recordLen+int64(rec.metaLen), int64(rec.dataLen))
		if err != nil {
			return nil, rec, "", err
		}
		if crc != rec.dataCRC {
			return nil, rec, "the CRC of the media is wrong", nil
		}
	}
	f, err := parseMeta(meta, rec.dataLen)
	if err != nil {
		return nil, rec, err.Error(), nil
	}
	f.Persisted = true
	return &found{entry{Head: f.Head, off: off, metaLen: rec.metaLen}, readDurable(meta)}, rec, "", nil
}

// found is a good record.
type found struct {
	entry
	durable int64
}

// readMeta reads a record's header and meta part and checks their CRC.
func readMeta(r io.ReaderAt, off, size int64, salt uint32) (rec record, meta []byte, why string, err error) {
	var head [recordLen]byte
	if off+recordLen > size {
		return record{}, nil, "it is cut off", nil
	}
	if err := readFull(r, head[:], off); err != nil {
		return record{}, nil, "", err
	}
	rec, ok := parseRecord(head[:])
	if !ok {
		return record{}, nil, "it does not begin like a record", nil
	}
	if off+recordLen+int64(rec.metaLen) > size {
		return record{}, nil, "it is cut off", nil
	}
	meta = make([]byte, rec.metaLen)
	if err := readFull(r, meta, off+recordLen); err != nil {
		return record{}, nil, "", err
	}
	if metaCRC(salt, head[:20], meta) != rec.metaCRC {
		return record{}, nil, "the CRC of its head is wrong", nil
	}
	return rec, meta, "", nil
}

// maxTries bounds what looks like a record and is none while a chunk is searched: media
// may have been made to look so.
const maxTries = 4096

// findRecord returns the offset of the next record with a good head from off on, or size
// when there is none or tries ran out.
func findRecord(r io.ReaderAt, off, size int64, salt uint32, tries *int) (int64, error) {
	buf := make([]byte, scanBlock+3)
	for off < size {
		b := buf[:min(int64(len(buf)), size-off)]
		if err := readFull(r, b, off); err != nil {
			return 0, err
		}
		for i := 0; i+4 <= len(b); i++ {
			if b[i] != byte(recordMagic&0xff) || binary.LittleEndian.Uint32(b[i:]) != recordMagic {
				continue
			}
			_, _, why, err := readMeta(r, off+int64(i), size, salt)
			if err != nil {
				return 0, err
			}
			if why == "" {
				return off + int64(i), nil
			}
			if *tries--; *tries <= 0 {
				return size, nil
			}
		}
		off += scanBlock
	}
	return size, nil
}

// checksum returns the CRC32C of n bytes from off.
func checksum(r io.ReaderAt, off, n int64) (uint32, error) {
	crc := uint32(0)
	buf := make([]byte, min(n, scanBlock))
	for n > 0 {
		b := buf[:min(n, int64(len(buf)))]
		if err := readFull(r, b, off); err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, castagnoli(), b)
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return crc, nil
}

// readFull fills b from off.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// marshalFooter makes the footer record of a sealed chunk, with the trailer behind it.
func marshalFooter(salt uint32, entries []entry) []byte {
	meta := packEntries(nil, entries)
	b := make([]byte, recordLen, recordLen+len(meta)+trailerLen)
	rec := record{kind: recordFooter, metaLen: uint32(len(meta))}
	rec.put(b, salt, meta)
	b = append(b, meta...)
	size := uint32(len(b) + trailerLen)
	tail := len(b)
	b = binary.LittleEndian.AppendUint32(b, size)
	b = binary.LittleEndian.AppendUint32(b, salt)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[tail:tail+8], castagnoli()))
	return binary.LittleEndian.AppendUint32(b, trailerMagic)
}

// readFooter reads the header and the footer of a sealed chunk. An error means that the
// chunk has to be scanned.
func readFooter(r io.ReaderAt, size int64) (fileHeader, []entry, error) {
	head := make([]byte, min(size, headerLen+MaxStream))
	if err := readFull(r, head, 0); err != nil {
		return fileHeader{}, nil, err
	}
	h, err := parseHeader(head)
	if err != nil {
		return h, nil, err
	}
	var tail [trailerLen]byte
	if size < h.size()+recordLen+trailerLen {
		return h, nil, fmt.Errorf("it has no footer")
	}
	if err := readFull(r, tail[:], size-trailerLen); err != nil {
		return h, nil, err
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if binary.LittleEndian.Uint32(tail[12:]) != trailerMagic ||
		crc32.Checksum(tail[:8], castagnoli()) != binary.LittleEndian.Uint32(tail[8:]) ||
		binary.LittleEndian.Uint32(tail[4:]) != h.salt || n < recordLen+trailerLen || n > size-h.size() {
		return h, nil, fmt.Errorf("it has no footer")
	}
	rec, meta, why, err := readMeta(r, size-n, size, h.salt)
	if err != nil {
		return h, nil, err
	}
	if why != "" || rec.kind != recordFooter || rec.size()+trailerLen != n {
		return h, nil, fmt.Errorf("its footer is damaged")
	}
	entries, err := unpackEntries(meta)
	if err != nil {
		return h, nil, err
	}
	for i := range entries {
		if entries[i].off < h.size() || entries[i].off+entries[i].recordSize() > size-n {
			return h, nil, fmt.Errorf("its footer names bytes outside of the records")
		}
	}
	return h, entries, nil
}
