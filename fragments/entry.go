package fragments

import (
	"slices"
	"time"

	"penstock/internal/varint"
)

// entry is a fragment's line in an index: its head and where its record lies.
type entry struct {
	Head
	off     int64  // of the record in the chunk
	metaLen uint32 // of the record; the data follows it
}

// recordSize is the length of the entry's record.
func (e *entry) recordSize() int64 { return recordLen + int64(e.metaLen) + e.Size }

// maxEntries bounds the fragments of one chunk: an hour of one second each.
const maxEntries = 4096

// What a packed entry has beside its columns; docs/format/index.md.
const (
	entryApart    = 1 << iota // does not begin where the last one ended
	entryForced               // Head.Forced
	entryGap                  // a cause and a detail follow
	entryRun                  // the run changed
	entryProducer             // the producer's time is known where the model has it not, or the other way round
	entryNumber               // the number is not the start
	entryMoved                // bytes were skipped before the record
	entryBits     = 7
)

// The Rice parameters of what only some entries have.
const (
	riceApart = 20
	riceRun   = 1
	riceMoved = 8
)

// coder packs or unpacks the entries of one chunk with a model. at is where the next
// fragment is expected to start, off where its record is.
type coder struct {
	m        *model
	foreseen [columns]int64
	at, off  int64
	run      uint32
}

func newCoder(m *model, at int64) coder {
	c := coder{m: m, at: at, off: m.off, run: m.run}
	for i := range c.foreseen {
		c.foreseen[i] = m.col[i].base
	}
	return c
}

// flags are what is special about e.
func (c *coder) flags(e *entry) uint64 {
	start := e.Start.UnixMicro()
	flags := uint64(0)
	set := func(on bool, bit uint64) {
		if on {
			flags |= bit
		}
	}
	set(start != c.at, entryApart)
	set(e.Forced, entryForced)
	set(e.Gap != CauseNone || e.GapDetail != "", entryGap)
	set(e.Run != c.run, entryRun)
	set(!e.Producer.IsZero() != c.m.producer, entryProducer)
	set(int64(e.Number) != start, entryNumber)
	set(e.off != c.off, entryMoved)
	return flags
}

// put packs e.
func (c *coder) put(w *bitWriter, e *entry) {
	start := e.Start.UnixMicro()
	flags := c.flags(e)
	if flags == 0 {
		w.put(0, 1)
	} else {
		w.put(1<<entryBits|flags, 1+entryBits)
	}
	if flags&entryApart != 0 {
		w.rice(start-c.at, riceApart)
	}
	if flags&entryGap != 0 {
		w.put(uint64(e.Gap), 8)
		w.put(uint64(len(e.GapDetail)), 8)
		for i := range len(e.GapDetail) {
			w.put(uint64(e.GapDetail[i]), 8)
		}
	}
	if flags&entryRun != 0 {
		w.rice(int64(e.Run)-int64(c.run), riceRun)
	}
	if flags&entryNumber != 0 {
		w.rice(int64(e.Number)-start, riceMoved)
	}
	if flags&entryMoved != 0 {
		w.rice(e.off-c.off, riceMoved)
	}
	values := e.values()
	for i, v := range values {
		if i == colProducer && e.Producer.IsZero() {
			break
		}
		col := &c.m.col[i]
		if col.k != riceNone {
			w.rice(v-c.foreseen[i], col.k)
			col.foresee(&c.foreseen[i], v)
		}
	}
	c.at, c.off, c.run = start+values[colDuration], e.off+e.recordSize(), e.Run
}

// next unpacks e; false: it cannot be.
func (c *coder) next(r *bitReader, e *entry) bool {
	flags := uint64(0)
	if r.take(1) != 0 {
		flags = r.take(entryBits)
	}
	start := c.at
	if flags&entryApart != 0 {
		start += r.rice(riceApart)
	}
	if flags&entryGap != 0 {
		e.Gap = Cause(r.take(8))
		var text [256]byte
		n := r.take(8)
		for i := range n {
			text[i] = byte(r.take(8))
		}
		e.GapDetail = string(text[:n])
	}
	if flags&entryRun != 0 {
		c.run = uint32(int64(c.run) + r.rice(riceRun))
	}
	number := start
	if flags&entryNumber != 0 {
		number += r.rice(riceMoved)
	}
	if flags&entryMoved != 0 {
		c.off += r.rice(riceMoved)
	}
	known := c.m.producer != (flags&entryProducer != 0)
	var v [columns]int64
	for i := range v {
		if i == colProducer && !known {
			break
		}
		col := &c.m.col[i]
		v[i] = c.foreseen[i]
		if col.k != riceNone {
			v[i] += r.rice(col.k)
			col.foresee(&c.foreseen[i], v[i])
		}
	}
	if known {
		e.Producer = time.UnixMicro(start + v[colProducer]).UTC()
	}
	e.Number, e.Start, e.End = Number(number), time.UnixMicro(start).UTC(), time.UnixMicro(start+v[colDuration]).UTC()
	e.Samples, e.Size, e.metaLen = int(v[colSamples]), v[colSize], uint32(v[colMeta])
	e.Run, e.Forced, e.off, e.Persisted = c.run, flags&entryForced != 0, c.off, true
	c.at, c.off = start+v[colDuration], c.off+e.recordSize()
	return !r.fail && number > 0 && e.off >= 0 && len(e.GapDetail) <= MaxDetail &&
		v[colDuration] >= 0 && v[colSamples] >= 0 && v[colSamples] <= maxSamples &&
		v[colSize] >= 0 && v[colSize] <= MaxFragment && v[colMeta] >= 0 && v[colMeta] <= MaxMeta
}

// appendEntries packs the entries of one chunk, the first of which is expected at an
// instant, with m.
func appendEntries(b []byte, m *model, entries []entry, at int64) []byte {
	w := bitWriter{b: b}
	c := newCoder(m, at)
	for i := range entries {
		c.put(&w, &entries[i])
	}
	return w.end()
}

// readEntries reads n entries that appendEntries wrote and that take all of b, in the
// memory of buf if they fit. Numbers rise strictly.
func readEntries(buf []entry, b []byte, m *model, n int, at int64) ([]entry, error) {
	if n < 0 || n > maxEntries || n > 8*len(b) {
		return nil, varint.ErrShort
	}
	out := slices.Grow(buf[:0], n)[:n]
	clear(out)
	r := bitReader{b: b}
	c := newCoder(m, at)
	last := Number(0)
	for i := range out {
		if !c.next(&r, &out[i]) || out[i].Number <= last {
			return nil, varint.ErrShort
		}
		last = out[i].Number
	}
	if !r.ended() {
		return nil, varint.ErrShort
	}
	return out, nil
}

// packEntries packs the entries of one chunk so that they can be read alone.
func packEntries(b []byte, entries []entry) []byte {
	m := fit([][]entry{entries})
	b = varint.AppendUint(b, len(entries))
	if len(entries) == 0 {
		return b
	}
	b = m.append(b)
	at := entries[0].Start.UnixMicro()
	b = varint.AppendUint(b, at)
	return appendEntries(b, &m, entries, at)
}

// unpackEntries reads what packEntries wrote.
func unpackEntries(b []byte) ([]entry, error) { return unpackInto(nil, b) }

// unpackInto is unpackEntries in the memory of buf, where that is enough.
func unpackInto(buf []entry, b []byte) ([]entry, error) {
	c := &varint.Cursor{B: b}
	n := c.Uint()
	if n == 0 || n > maxEntries {
		if err := c.Err(); err != nil || n > 0 {
			return nil, varint.ErrShort
		}
		return nil, nil
	}
	m := readModel(c)
	at := c.Int63()
	if c.Fail {
		return nil, varint.ErrShort
	}
	return readEntries(buf, c.B, &m, int(n), at)
}

// stretch is unbroken media with what is known of the gap before it.
type stretch struct {
	start, end int64 // µs
	fragments  int
	bytes      int64
	cause      Cause
	detail     string
}

// addStretch joins a head to the last stretch, or begins another one.
func addStretch(out []stretch, h *Head) []stretch {
	start, end := h.Start.UnixMicro(), h.End.UnixMicro()
	if n := len(out); n > 0 && start <= out[n-1].end {
		last := &out[n-1]
		last.end = max(last.end, end)
		last.fragments++
		last.bytes += h.Size
		return out
	}
	return append(out, stretch{start: start, end: end, fragments: 1, bytes: h.Size, cause: h.Gap, detail: h.GapDetail})
}

// joinStretches appends more behind out, joining where they touch.
func joinStretches(out, more []stretch) []stretch {
	for _, s := range more {
		if n := len(out); n > 0 && s.start <= out[n-1].end {
			last := &out[n-1]
			last.end = max(last.end, s.end)
			last.fragments += s.fragments
			last.bytes += s.bytes
			continue
		}
		out = append(out, s)
	}
	return out
}

func appendStretches(b []byte, all []stretch) []byte {
	b = varint.AppendUint(b, len(all))
	end := int64(0)
	for _, s := range all {
		b = varint.AppendInt(b, s.start-end)
		b = varint.AppendUint(b, s.end-s.start)
		b = varint.AppendUint(b, s.fragments)
		b = varint.AppendUint(b, s.bytes)
		b = append(b, byte(s.cause))
		b = varint.AppendText(b, s.detail)
		end = s.end
	}
	return b
}

func readStretches(c *varint.Cursor) []stretch {
	n := c.Count(6)
	out := make([]stretch, n)
	end := int64(0)
	for i := range out {
		s := &out[i]
		s.start = end + c.Int()
		s.end = s.start + c.Int63()
		s.fragments = int(c.Uint32())
		s.bytes = c.Int63()
		s.cause = Cause(c.Byte())
		s.detail = c.Text(MaxDetail)
		if s.end < s.start {
			c.Fail = true
		}
		end = s.end
	}
	return out
}
