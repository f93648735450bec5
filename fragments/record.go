package fragments

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"penstock/internal/fault"
	"penstock/internal/varint"
	"penstock/media"
)

// The bytes of docs/format/chunk.md.
const (
	chunkMagic   = "PNSTKCHK"
	chunkVersion = 2
	headerLen    = 32 // of the file header, before the stream's id
	recordLen    = 24 // of a record header
	trailerLen   = 16 // at the end of a sealed chunk

	recordFragment = 2
	recordFooter   = 3
)

// recordMagic begins each record, trailerMagic ends a sealed chunk.
const (
	recordMagic  = uint32('P') | uint32('F')<<8 | uint32('R')<<16 | uint32('1')<<24
	trailerMagic = uint32('P') | uint32('F')<<8 | uint32('T')<<16 | uint32('1')<<24
)

// What a record may hold at most. A fragment of 10 s fits at 100 Mb/s with one more
// half; the sample table of as much audio and video at 1,000 samples a second fits.
const (
	MaxFragment = 192 << 20 // bytes of sample data
	MaxMeta     = 8 << 20   // bytes of head and sample table
	MaxTracks   = 16        // tracks of a fragment
	maxSamples  = 1 << 20
	maxPrivate  = 1 << 20 // bytes of marshalled tracks
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// record is a record header.
type record struct {
	kind    byte
	metaLen uint32
	dataLen uint32
	dataCRC uint32
	metaCRC uint32
}

func (r record) size() int64 { return recordLen + int64(r.metaLen) + int64(r.dataLen) }

// put writes the header with the CRC over it and meta.
func (r *record) put(b []byte, salt uint32, meta []byte) {
	binary.LittleEndian.PutUint32(b[0:], recordMagic)
	b[4], b[5], b[6], b[7] = r.kind, 0, 0, 0
	binary.LittleEndian.PutUint32(b[8:], r.metaLen)
	binary.LittleEndian.PutUint32(b[12:], r.dataLen)
	binary.LittleEndian.PutUint32(b[16:], r.dataCRC)
	r.metaCRC = metaCRC(salt, b[:20], meta)
	binary.LittleEndian.PutUint32(b[20:], r.metaCRC)
}

func metaCRC(salt uint32, head, meta []byte) uint32 {
	var s [4]byte
	binary.LittleEndian.PutUint32(s[:], salt)
	crc := crc32.Update(0, castagnoli(), s[:])
	return crc32.Update(crc32.Update(crc, castagnoli(), head), castagnoli(), meta)
}

// parseRecord reads a header; false: these bytes are not one.
func parseRecord(b []byte) (record, bool) {
	if len(b) < recordLen || binary.LittleEndian.Uint32(b) != recordMagic || b[5]|b[6]|b[7] != 0 {
		return record{}, false
	}
	r := record{
		kind:    b[4],
		metaLen: binary.LittleEndian.Uint32(b[8:]),
		dataLen: binary.LittleEndian.Uint32(b[12:]),
		dataCRC: binary.LittleEndian.Uint32(b[16:]),
		metaCRC: binary.LittleEndian.Uint32(b[20:]),
	}
	ok := r.metaLen <= MaxMeta && r.dataLen <= MaxFragment && (r.kind == recordFragment || r.kind == recordFooter)
	return r, ok
}

// fileHeader is the beginning of a chunk.
type fileHeader struct {
	stream  string
	salt    uint32
	created time.Time
}

func (h fileHeader) size() int64 { return headerLen + int64(len(h.stream)+7)/8*8 }

func (h fileHeader) marshal() []byte {
	b := make([]byte, h.size())
	copy(b, chunkMagic)
	binary.LittleEndian.PutUint16(b[8:], chunkVersion)
	binary.LittleEndian.PutUint16(b[10:], uint16(len(h.stream)))
	binary.LittleEndian.PutUint32(b[12:], h.salt)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.created.UnixMicro()))
	copy(b[headerLen:], h.stream)
	crc := crc32.Update(crc32.Checksum(b[:28], castagnoli()), castagnoli(), b[headerLen:])
	binary.LittleEndian.PutUint32(b[28:], crc)
	return b
}

// versionError is the version of a chunk that this program does not read.
type versionError uint16

func (e versionError) Error() string {
	return fmt.Sprintf("the chunk has version %d, this penstock reads version %d", uint16(e), chunkVersion)
}

// refuse is what an operator hears of a chunk that another penstock wrote, or nil when err
// says something else. Such a chunk is not damaged: nothing is done to it.
func refuse(op, name string, err error) error {
	var v versionError
	if !errors.As(err, &v) {
		return nil
	}
	hint := "the data directory was used by a newer penstock: run that one, or restore a backup"
	if v < chunkVersion {
		hint = "use the penstock release that made this data directory, or begin a new one with --data and keep this as it is"
	}
	return fault.New(fault.Invalid, op, name, v.Error()).WithHint(hint)
}

// parseHeader reads the beginning of a chunk from at least headerLen + MaxStream bytes,
// or the whole of a shorter file.
func parseHeader(b []byte) (fileHeader, error) {
	if len(b) < headerLen || string(b[:8]) != chunkMagic {
		return fileHeader{}, fmt.Errorf("it does not begin like a chunk")
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != chunkVersion {
		return fileHeader{}, versionError(v)
	}
	n := int(binary.LittleEndian.Uint16(b[10:]))
	padded := (n + 7) / 8 * 8
	if n == 0 || n > MaxStream || len(b) < headerLen+padded {
		return fileHeader{}, fmt.Errorf("the chunk's header is cut off or impossible")
	}
	crc := crc32.Update(crc32.Checksum(b[:28], castagnoli()), castagnoli(), b[headerLen:headerLen+padded])
	if crc != binary.LittleEndian.Uint32(b[28:]) {
		return fileHeader{}, fmt.Errorf("the CRC of the chunk's header is wrong")
	}
	return fileHeader{
		stream:  string(b[headerLen : headerLen+n]),
		salt:    binary.LittleEndian.Uint32(b[12:]),
		created: time.UnixMicro(int64(binary.LittleEndian.Uint64(b[16:]))).UTC(),
	}, nil
}

// Flags of a fragment's head in its record.
const (
	headForced = 1 << iota
	headProducer
	headGap
)

// Bits of a sample's first byte; the track's index is above them.
const (
	sampleSync   = 1 << 0
	sampleCTO    = 1 << 1
	wallAsBefore = 1 << 2 // the wall clock advanced as the media clock did
	wallGiven    = 2 << 2
	wallMask     = 3 << 2
	trackShift   = 4
)

// appendMeta appends the meta part of f's record. durable is how much of the chunk was
// known to be durable by then: a recovery need not read the media before it.
func appendMeta(b []byte, f *Fragment, tracks []byte, durable int64) []byte {
	b = varint.AppendUint(b, durable)
	b = varint.AppendUint(b, f.Number)
	start := f.Start.UnixMicro()
	b = varint.AppendInt(b, start-int64(f.Number))
	b = varint.AppendUint(b, f.End.UnixMicro()-start)
	flags := uint64(0)
	if f.Forced {
		flags |= headForced
	}
	if !f.Producer.IsZero() {
		flags |= headProducer
	}
	if f.Gap != CauseNone || f.GapDetail != "" {
		flags |= headGap
	}
	b = varint.AppendUint(b, flags)
	b = varint.AppendUint(b, f.Run)
	if flags&headProducer != 0 {
		b = varint.AppendInt(b, f.Producer.UnixMicro()-start)
	}
	if flags&headGap != 0 {
		b = append(b, byte(f.Gap))
		b = varint.AppendText(b, f.GapDetail)
	}
	b = varint.AppendUint(b, len(tracks))
	b = append(b, tracks...)
	return appendSamples(b, f)
}

// trackState predicts a track's next sample.
type trackState struct {
	seen       bool
	dts, delta int64
	wall       int64 // µs; 0: none yet
}

func (t *trackState) predictWall(track media.Track, dts int64) int64 {
	return t.wall + track.Duration(dts-t.dts).Microseconds()
}

func appendSamples(b []byte, f *Fragment) []byte {
	states := make([]trackState, len(f.Tracks))
	for i := range f.Tracks {
		first := f.Ends[i]
		for _, s := range f.Samples {
			if s.Track == f.Tracks[i].ID {
				first = s.DTS
				break
			}
		}
		states[i].dts = first
		b = varint.AppendInt(b, first)
		b = varint.AppendInt(b, f.Ends[i]-first)
	}
	b = varint.AppendUint(b, len(f.Samples))
	for i := range f.Samples {
		s := &f.Samples[i]
		k := f.Track(s.Track)
		b = appendSample(b, s, k, f.Tracks[k], &states[k])
	}
	return b
}

func appendSample(b []byte, s *media.Sample, k int, track media.Track, st *trackState) []byte {
	bits := byte(k) << trackShift
	if s.Sync {
		bits |= sampleSync
	}
	if s.CTO != 0 {
		bits |= sampleCTO
	}
	wall := int64(0)
	if !s.Wall.IsZero() {
		wall = s.Wall.UnixMicro()
	}
	predicted := st.predictWall(track, s.DTS)
	switch {
	case wall == 0:
	case wall == predicted:
		bits |= wallAsBefore
	default:
		bits |= wallGiven
	}
	b = append(b, bits)
	if st.seen {
		b = varint.AppendInt(b, s.DTS-st.dts-st.delta)
		st.delta = s.DTS - st.dts
	}
	b = varint.AppendUint(b, len(s.Data))
	if s.CTO != 0 {
		b = varint.AppendInt(b, int64(s.CTO))
	}
	if bits&wallMask == wallGiven {
		b = varint.AppendInt(b, wall-predicted)
	}
	if wall != 0 {
		st.wall = wall
	} else {
		st.wall = predicted
	}
	st.dts, st.seen = s.DTS, true
	return b
}

// parseMeta reads what appendMeta wrote: a fragment without data, with Sizes. The
// dataLen of its record must be the sum of the sizes.
func parseMeta(meta []byte, dataLen uint32) (*Fragment, error) {
	c := &varint.Cursor{B: meta}
	f := &Fragment{}
	_ = c.Int63() // what was durable: readDurable
	f.Number = Number(c.Int63())
	start := int64(f.Number) + c.Int()
	end := start + c.Int63()
	f.Start, f.End = time.UnixMicro(start).UTC(), time.UnixMicro(end).UTC()
	flags := c.Uint()
	f.Forced = flags&headForced != 0
	f.Run = c.Uint32()
	if flags&headProducer != 0 {
		f.Producer = time.UnixMicro(start + c.Int()).UTC()
	}
	if flags&headGap != 0 {
		f.Gap = Cause(c.Byte())
		f.GapDetail = c.Text(MaxDetail)
	}
	n := c.Count(1)
	if n > maxPrivate {
		return nil, varint.ErrShort
	}
	raw := c.Bytes(n)
	if c.Fail || f.Number == 0 || end < start {
		return nil, varint.ErrShort
	}
	tracks, err := media.UnmarshalTracks(raw)
	if err != nil {
		return nil, fmt.Errorf("tracks: %w", err)
	}
	if len(tracks) == 0 || len(tracks) > MaxTracks {
		return nil, varint.ErrShort
	}
	f.Tracks = tracks
	if err := parseSamples(c, f, dataLen); err != nil {
		return nil, err
	}
	return f, nil
}

// readDurable returns the durable offset that a record's meta part notes.
func readDurable(meta []byte) int64 {
	c := &varint.Cursor{B: meta}
	return c.Int63()
}

func parseSamples(c *varint.Cursor, f *Fragment, dataLen uint32) error {
	states := make([]trackState, len(f.Tracks))
	f.Ends = make([]int64, len(f.Tracks))
	for i := range f.Tracks {
		states[i].dts = c.Int()
		f.Ends[i] = states[i].dts + c.Int()
	}
	n := c.Count(2)
	if n > maxSamples {
		return varint.ErrShort
	}
	f.Samples = make([]media.Sample, n)
	f.Sizes = make([]uint32, n)
	total := uint64(0)
	for i := range f.Samples {
		s := &f.Samples[i]
		bits := c.Byte()
		k := int(bits >> trackShift)
		if k >= len(f.Tracks) {
			return varint.ErrShort
		}
		f.Sizes[i] = parseSample(c, s, bits, f.Tracks[k], &states[k])
		total += uint64(f.Sizes[i])
	}
	if err := c.Err(); err != nil {
		return err
	}
	if total != uint64(dataLen) {
		return fmt.Errorf("the sample sizes make %d bytes, the record has %d", total, dataLen)
	}
	f.Size, f.Head.Samples = int64(total), n
	return nil
}

func parseSample(c *varint.Cursor, s *media.Sample, bits byte, track media.Track, st *trackState) uint32 {
	s.Track, s.Sync = track.ID, bits&sampleSync != 0
	s.DTS = st.dts
	if st.seen {
		st.delta += c.Int()
		s.DTS = st.dts + st.delta
	}
	size := c.Uint32()
	if bits&sampleCTO != 0 {
		s.CTO = int32(c.Int())
	}
	predicted := st.predictWall(track, s.DTS)
	st.wall = predicted
	switch bits & wallMask {
	case wallGiven:
		st.wall = predicted + c.Int()
		s.Wall = time.UnixMicro(st.wall).UTC()
	case wallAsBefore:
		s.Wall = time.UnixMicro(st.wall).UTC()
	}
	st.dts, st.seen = s.DTS, true
	return size
}

// gather appends the samples' bytes to bufs, joining neighbours in memory, and returns
// their CRC and length.
func gather(bufs [][]byte, samples []media.Sample) ([][]byte, uint32, int64) {
	crc, total := uint32(0), int64(0)
	var run []byte
	for i := range samples {
		d := samples[i].Data
		if len(d) == 0 {
			continue
		}
		crc = crc32.Update(crc, castagnoli(), d)
		total += int64(len(d))
		if joined, ok := join(run, d); ok {
			run = joined
			continue
		}
		if len(run) > 0 {
			bufs = append(bufs, run)
		}
		run = d
	}
	if len(run) > 0 {
		bufs = append(bufs, run)
	}
	return bufs, crc, total
}

// join returns a followed by b without copying when b lies right behind a in a's own
// array: a slice can be grown into its capacity, and the byte found there is b's first.
func join(a, b []byte) ([]byte, bool) {
	if len(a) == 0 || cap(a) < len(a)+len(b) {
		return nil, false
	}
	grown := a[:len(a)+len(b)]
	if &grown[len(a)] != &b[0] {
		return nil, false
	}
	return grown, true
}
