package mp4

import (
	"math"
	"math/bits"
	"strconv"

	"penstock/media"
	"penstock/media/internal/bmff"
)

// run is n equal values in a row: how stts and ctts are written.
type run struct {
	n     uint32
	value int64
}

func addRun(runs []run, v int64) []run {
	if k := len(runs) - 1; k >= 0 && runs[k].value == v {
		runs[k].n++
		return runs
	}
	return append(runs, run{1, v})
}

// chunk is a run of samples of one track.
type chunk struct {
	offset int64 // in the media
	n      uint32
}

// layout gathers the sample tables of one track.
type layout struct {
	track  media.Track
	count  int
	first  int64 // decode time of the first sample
	last   int64 // of the last
	shown  int64 // earliest presentation time
	latest int64 // latest presentation time
	until  int64 // when the sample that is presented last ends
	times  []run // durations
	cto    []run
	syncs  []uint32
	sizes  []uint32
	chunks []chunk

	offsetsAt int // where the header holds the first chunk's offset
	duration  uint64
	edits     []bmff.Edit
	total     uint64 // with edits, in bmff.MovieTimescale
}

func newLayout(t media.Track) layout {
	return layout{track: t, shown: math.MaxInt64, latest: math.MinInt64}
}

// add takes the next sample, whose data is at offset; apart says that the sample before
// it was of another track.
func (l *layout) add(s *Sample, offset int64, apart bool) error {
	if l.count == 0 {
		l.first = s.DTS
	} else {
		if s.DTS < l.last {
			return invalid("decode time " + strconv.FormatInt(s.DTS, 10) + " of track " +
				strconv.Itoa(int(s.Track)) + " is before " + strconv.FormatInt(l.last, 10))
		}
		l.span(s.DTS - l.last)
	}
	l.count++
	l.last = s.DTS
	l.shown = min(l.shown, s.DTS+int64(s.CTO))
	l.latest = max(l.latest, s.DTS+int64(s.CTO))
	l.cto = addRun(l.cto, int64(s.CTO))
	l.sizes = append(l.sizes, s.Size)
	if s.Sync {
		l.syncs = append(l.syncs, uint32(l.count))
	}
	if k := len(l.chunks) - 1; !apart && k >= 0 && l.chunks[k].n < chunkSamples {
		l.chunks[k].n++
	} else {
		l.chunks = append(l.chunks, chunk{offset, 1})
	}
	return nil
}

// span notes the duration of one sample. stts counts it in 32 bits: what is longer
// (13 hours at 90 kHz) is cut, since no box can say it.
func (l *layout) span(d int64) {
	d = min(d, math.MaxUint32)
	l.times = addRun(l.times, d)
	l.duration += uint64(d)
}

// finish gives the last sample its duration.
func (l *layout) finish(end int64) {
	if l.count == 0 {
		return
	}
	d := end - l.last
	if end < l.last {
		d = media.Nominal(l.track, nil)
		if k := len(l.times) - 1; k >= 0 {
			d = l.times[k].value
		}
		if d == 0 {
			d = int64(l.track.Timescale) / 30
		}
	}
	l.span(d)
	l.until = l.latest + min(d, math.MaxUint32)
}

// movie converts ticks of the track to those of the movie, rounded to the nearest.
func (l *layout) movie(ticks int64) uint64 {
	hi, lo := bits.Mul64(uint64(max(ticks, 0)), bmff.MovieTimescale)
	scale := uint64(max(l.track.Timescale, 1))
	lo, carry := bits.Add64(lo, scale/2, 0)
	if hi += carry; hi >= scale {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, scale)
	return q
}

// origin is when the track is first presented, in ticks of the movie; it may be negative.
func (l *layout) origin() int64 {
	if l.shown < 0 {
		return -int64(l.movie(-l.shown))
	}
	return int64(l.movie(l.shown))
}

// place makes the edit list that puts the track's first picture or sound where it
// belongs when the movie begins at origin, and returns how long it lasts then. A media
// time before the first decode time cannot be written, so composition offsets are then
// moved up: see shift.
func (l *layout) place(origin int64) uint64 {
	late := l.origin() - origin
	skip := max(l.shown-l.first, 0)
	visible := l.movie(l.until - l.shown)
	l.edits = nil
	if late > 0 {
		l.edits = append(l.edits, bmff.Edit{Duration: uint64(late), MediaTime: -1})
	}
	if late > 0 || skip > 0 {
		l.edits = append(l.edits, bmff.Edit{Duration: visible, MediaTime: skip})
	}
	l.total = uint64(late) + visible
	return l.total
}

// shift is what is added to every composition offset so that no sample is presented
// before media time 0.
func (l *layout) shift() int64 { return max(l.first-l.shown, 0) }

// size bounds the bytes of the sample tables.
func (l *layout) size() int {
	return 1024 + 8*(len(l.times)+len(l.cto)) + 4*(len(l.syncs)+len(l.sizes)) + (12+8)*len(l.chunks)
}

// trak appends the track.
func (l *layout) trak(b []byte, wide bool) ([]byte, error) {
	return bmff.AppendTrak(b, bmff.Trak{
		Track: l.track, Duration: l.total, MediaDuration: l.duration, Edits: l.edits,
		Tables: func(b []byte) []byte { return l.tables(b, wide) },
	})
}

// tables appends the sample tables (ISO/IEC 14496-12 §8.6 and §8.7).
func (l *layout) tables(b []byte, wide bool) []byte {
	b, at := bmff.StartFull(b, "stts", 0, 0)
	b = bmff.End(appendRuns(b, l.times, 0), at)
	if shift := l.shift(); len(l.cto) > 1 || len(l.cto) == 1 && l.cto[0].value+shift != 0 {
		b, at = bmff.StartFull(b, "ctts", 1, 0)
		b = bmff.End(appendRuns(b, l.cto, shift), at)
	}
	if len(l.syncs) < l.count { // without the box every sample is a sync sample
		b, at = bmff.StartFull(b, "stss", 0, 0)
		b = bmff.U32(b, uint32(len(l.syncs)))
		for _, n := range l.syncs {
			b = bmff.U32(b, n)
		}
		b = bmff.End(b, at)
	}
	b = l.appendChunkRuns(b)
	b, at = bmff.StartFull(b, "stsz", 0, 0)
	b = bmff.U32(bmff.U32(b, 0), uint32(len(l.sizes)))
	for _, n := range l.sizes {
		b = bmff.U32(b, n)
	}
	b = bmff.End(b, at)
	kind := "stco"
	if wide {
		kind = "co64"
	}
	b, at = bmff.StartFull(b, kind, 0, 0)
	b = bmff.U32(b, uint32(len(l.chunks)))
	l.offsetsAt = len(b)
	for _, c := range l.chunks {
		if wide {
			b = bmff.U64(b, uint64(c.offset))
		} else {
			b = bmff.U32(b, uint32(c.offset))
		}
	}
	return bmff.End(b, at)
}

func appendRuns(b []byte, runs []run, shift int64) []byte {
	b = bmff.U32(b, uint32(len(runs)))
	for _, r := range runs {
		b = bmff.U32(bmff.U32(b, r.n), uint32(r.value+shift))
	}
	return b
}

// appendChunkRuns appends stsc: chunks of equally many samples share an entry.
func (l *layout) appendChunkRuns(b []byte) []byte {
	b, at := bmff.StartFull(b, "stsc", 0, 0)
	count := len(b)
	b = bmff.U32(b, 0)
	entries, before := uint32(0), uint32(0)
	for i, c := range l.chunks {
		if c.n == before {
			continue
		}
		before = c.n
		entries++
		b = bmff.U32(bmff.U32(bmff.U32(b, uint32(i+1)), c.n), 1)
	}
	b[count+3], b[count+2], b[count+1], b[count] = byte(entries), byte(entries>>8), byte(entries>>16), byte(entries>>24)
	return bmff.End(b, at)
}
