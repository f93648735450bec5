package fragments

import (
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

// Flags of a packed entry; docs/format/index.md.
const (
	entryApart    = 1 << iota // does not begin where the last one ended
	entryForced               // Head.Forced
	entryGap                  // a cause and a detail follow
	entryRun                  // the run changed
	entryProducer             // the producer's time is known
	entryDuration             // the duration differs from the last one's
	entrySamples              // so does the number of samples
	entryMoved                // the number is not the start, or bytes were skipped
)

// packer holds what the next entry is packed against; the zero value begins a list.
type packer struct {
	end, dur, producer int64 // µs
	samples            int
	meta               int64
	run                uint32
	off                int64
}

// appendEntry packs e behind b.
func (p *packer) appendEntry(b []byte, e *entry) []byte {
	start := e.Start.UnixMicro()
	dur := e.End.UnixMicro() - start
	flags := byte(0)
	set := func(on bool, bit byte) bool {
		if on {
			flags |= bit
		}
		return on
	}
	apart := set(start != p.end, entryApart)
	set(e.Forced, entryForced)
	gap := set(e.Gap != CauseNone || e.GapDetail != "", entryGap)
	run := set(e.Run != p.run, entryRun)
	producer := set(!e.Producer.IsZero(), entryProducer)
	duration := set(dur != p.dur, entryDuration)
	samples := set(e.Samples != p.samples, entrySamples)
	moved := set(int64(e.Number) != start || e.off != p.off, entryMoved)

	b = append(b, flags)
	if apart {
		b = varint.AppendInt(b, start-p.end)
	}
	if duration {
		b = varint.AppendInt(b, dur-p.dur)
	}
	if samples {
		b = varint.AppendInt(b, int64(e.Samples-p.samples))
	}
	b = varint.AppendUint(b, e.Size)
	b = varint.AppendInt(b, int64(e.metaLen)-p.meta)
	if run {
		b = varint.AppendInt(b, int64(e.Run)-int64(p.run))
	}
	if producer {
		at := e.Producer.UnixMicro() - start
		b = varint.AppendInt(b, at-p.producer)
		p.producer = at
	}
	if gap {
		b = append(b, byte(e.Gap))
		b = varint.AppendText(b, e.GapDetail)
	}
	if moved {
		b = varint.AppendInt(b, int64(e.Number)-start)
		b = varint.AppendInt(b, e.off-p.off)
	}
	p.end, p.dur, p.samples, p.meta, p.run = start+dur, dur, e.Samples, int64(e.metaLen), e.Run
	p.off = e.off + e.recordSize()
	return b
}

// next unpacks one entry.
func (p *packer) next(c *varint.Cursor, e *entry) {
	flags := c.Byte()
	start := p.end
	if flags&entryApart != 0 {
		start += c.Int()
	}
	if flags&entryDuration != 0 {
		p.dur += c.Int()
	}
	if flags&entrySamples != 0 {
		p.samples += int(c.Int())
	}
	e.Size = c.Int63()
	p.meta += c.Int()
	if flags&entryRun != 0 {
		p.run = uint32(int64(p.run) + c.Int())
	}
	e.Producer = time.Time{}
	if flags&entryProducer != 0 {
		p.producer += c.Int()
		e.Producer = time.UnixMicro(start + p.producer).UTC()
	}
	e.Gap, e.GapDetail = CauseNone, ""
	if flags&entryGap != 0 {
		e.Gap = Cause(c.Byte())
		e.GapDetail = c.Text(MaxDetail)
	}
	number := start
	e.off = p.off
	if flags&entryMoved != 0 {
		number += c.Int()
		e.off += c.Int()
	}
	if p.dur < 0 || p.meta < 0 || p.meta > MaxMeta || e.Size > MaxFragment || number <= 0 || e.off < 0 || p.samples < 0 {
		c.Fail = true
	}
	p.end = start + p.dur
	e.Number, e.Start, e.End = Number(number), time.UnixMicro(start).UTC(), time.UnixMicro(p.end).UTC()
	e.Samples, e.Run, e.Forced, e.metaLen = p.samples, p.run, flags&entryForced != 0, uint32(p.meta)
	e.Persisted = true
	p.off = e.off + e.recordSize()
}

// packEntries packs the entries of one chunk.
func packEntries(b []byte, entries []entry) []byte {
	b = varint.AppendUint(b, len(entries))
	p := packer{off: headerLen}
	for i := range entries {
		b = p.appendEntry(b, &entries[i])
	}
	return b
}

// unpackEntries reads what packEntries wrote. Numbers rise strictly.
func unpackEntries(b []byte) ([]entry, error) {
	c := &varint.Cursor{B: b}
	n := c.Count(3)
	if n > maxEntries {
		return nil, varint.ErrShort
	}
	out := make([]entry, n)
	p := packer{off: headerLen}
	for i := range out {
		p.next(c, &out[i])
		if i > 0 && out[i].Number <= out[i-1].Number {
			return nil, varint.ErrShort
		}
		if c.Fail {
			return nil, varint.ErrShort
		}
	}
	return out, c.Err()
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
