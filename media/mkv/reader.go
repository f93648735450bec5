package mkv

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"time"

	"penstock/internal/fault"
	"penstock/media"
)

// Limits on what a stream from outside can make a Reader hold.
const (
	// UnitMax bounds one block: an 8K intra picture is below 8 MiB.
	UnitMax = 8 << 20
	// headMax bounds EBML header and Tracks: codec configuration is a few hundred bytes.
	headMax = 1 << 20
	// tagMax bounds one tag: names have 128 bytes and values 256 in Kinesis Video.
	tagMax = 64 << 10
	// lacedMax bounds a block that holds several frames, which only sound does.
	lacedMax = 256 << 10
	// waitMax bounds what is held back until the first picture of a track without
	// configuration, and waitEvents the number of pieces; the end of the first cluster
	// does so too.
	waitMax    = 16 << 20
	waitEvents = 4096
	// readAhead is how much memory a length in the stream is given before its bytes come.
	readAhead = 64 << 10
)

// EventKind says what an Event is.
type EventKind uint8

// The kinds of events.
const (
	EventTracks  EventKind = iota + 1 // Tracks holds from the next sample on
	EventCluster                      // a cluster begins; Time is its timecode
	EventSample                       // Sample
	EventTag                          // Tag
)

// Event is one thing that a Reader found, in the order of the stream.
type Event struct {
	Kind   EventKind
	Tracks []media.Track
	Time   time.Duration
	Sample media.Sample
	Tag    Tag
}

// Reader reads Matroska as it comes: it never waits for more than the element at hand.
// It is not for sharing between goroutines.
type Reader struct {
	r      *bufio.Reader
	offset int64
	begun  bool
	err    error

	scale   int64 // nanoseconds in a tick
	cluster int64 // timecode in ticks
	tracks  []*inTrack
	slab    media.Slab
	scratch []byte

	queue    []Event
	held     int // bytes in queue while waiting
	waiting  bool
	clusters int // begun while waiting
	tracksAt int // where in queue the tracks go when they are known
	damaged  int
}

// NewReader reads from r, buffering a little.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 32<<10), scale: int64(time.Millisecond)}
}

// Damaged counts blocks that were left out because they could not be read.
func (r *Reader) Damaged() int { return r.damaged }

// Next returns what comes next. The tracks of video without CodecPrivate are announced
// when its first picture has come, so that parameter sets within it are known; where it
// brings none, the codec has no configuration, and the tracks are announced again when
// some come. Decode times are made from presentation times. io.EOF is a clean end, between two elements; io.ErrUnexpectedEOF a stream that
// was cut off; fault.Invalid names what is wrong and where. An error is returned again
// by every later call.
func (r *Reader) Next() (Event, error) {
	for r.err == nil && (len(r.queue) == 0 || r.waiting) {
		if r.err = r.element(); r.err != nil {
			r.settle()
		}
	}
	if len(r.queue) > 0 && !r.waiting {
		e := r.queue[0]
		r.queue[0] = Event{}
		if r.queue = r.queue[1:]; len(r.queue) == 0 {
			r.queue = nil
		}
		return e, nil
	}
	return Event{}, r.err
}

func (r *Reader) bad(why string) error {
	return fault.New(fault.Invalid, "read Matroska", "at byte "+strconv.FormatInt(r.offset, 10), why)
}

// take reads n bytes into b, which are missing when the stream ends.
func (r *Reader) take(b []byte) error {
	n, err := io.ReadFull(r.r, b)
	r.offset += int64(n)
	if err == io.EOF && len(b) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// vint reads one variable-length number from the stream.
func (r *Reader) vint(keep bool, most int) (uint64, error) {
	first, err := r.r.ReadByte()
	if err != nil {
		return 0, err
	}
	r.offset++
	var b [8]byte
	b[0] = first
	n := 1
	for n <= 8 && first>>(8-n) == 0 {
		n++
	}
	if n > most {
		return 0, r.bad("not an element")
	}
	if err := r.take(b[1:n]); err != nil {
		return 0, err
	}
	v, _ := vint(b[:n], keep)
	return v, nil
}

// skip passes over n bytes without keeping them.
func (r *Reader) skip(n uint64) error {
	for n > 0 {
		k, err := r.r.Discard(int(min(n, 1<<30)))
		r.offset += int64(k)
		n -= uint64(k)
		if err != nil {
			if err == io.EOF {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// body reads a small element whole into scratch memory.
func (r *Reader) body(size uint64, most int, what string) ([]byte, error) {
	if size > uint64(most) {
		return nil, r.bad(what + " is longer than any real one")
	}
	r.scratch = r.scratch[:0]
	for uint64(len(r.scratch)) < size {
		at := len(r.scratch)
		n := min(int(size)-at, max(readAhead, at))
		r.scratch = append(r.scratch, make([]byte, n)...)
		if err := r.take(r.scratch[at:]); err != nil {
			return nil, err
		}
	}
	return r.scratch, nil
}

// element reads the next element. Masters that carry media are entered, and their sizes
// not trusted: only the order of what is in them counts.
func (r *Reader) element() error {
	id, err := r.vint(true, 4)
	if err != nil {
		return err
	}
	size, err := r.vint(false, 8)
	if err != nil {
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	if !r.begun && id != idEBML {
		return r.bad("stream does not begin with an EBML header")
	}
	switch id {
	case idSegment, idCluster, idBlockGroup, idTags, idTag, idInfo:
		return nil
	}
	if size == unknownSize {
		return r.bad("element of unknown size that must say its size")
	}
	switch id {
	case idEBML:
		return r.header(size)
	case idTimecodeScale:
		return r.timecodeScale(size)
	case idTracks:
		return r.tracksElement(size)
	case idTimecode:
		return r.timecode(size)
	case idSimpleBlock, idBlock:
		return r.block(size)
	case idSimpleTag:
		return r.tag(size)
	}
	return r.skip(size)
}

// header checks the EBML header. Another one begins the stream anew.
func (r *Reader) header(size uint64) error {
	b, err := r.body(size, headMax, "EBML header")
	if err != nil {
		return err
	}
	kind := "matroska"
	if !children(b, func(id uint32, v []byte) {
		if id == idDocType {
			kind = trimZeros(v)
		}
	}) {
		return r.bad("EBML header is damaged")
	}
	if kind != "matroska" && kind != "webm" {
		return r.bad("EBML document is not Matroska")
	}
	r.begun = true
	r.scale = int64(time.Millisecond)
	return nil
}

func (r *Reader) timecodeScale(size uint64) error {
	b, err := r.body(size, 8, "timecode scale")
	if err != nil {
		return err
	}
	v := number(b)
	if v == 0 || v > uint64(time.Second) {
		return r.bad("timecode scale is not within a nanosecond and a second")
	}
	r.scale = int64(v)
	return nil
}

func (r *Reader) timecode(size uint64) error {
	b, err := r.body(size, 8, "timecode")
	if err != nil {
		return err
	}
	v := number(b)
	// Half of the range is kept free, so that block times can be added.
	if v > uint64(math.MaxInt64/2/r.scale) {
		return r.bad("timecode is later than any time")
	}
	r.cluster = int64(v)
	return r.emit(Event{Kind: EventCluster, Time: time.Duration(r.cluster * r.scale)}, 0)
}

func (r *Reader) tag(size uint64) error {
	b, err := r.body(size, tagMax, "tag")
	if err != nil {
		return err
	}
	var t Tag
	if !children(b, func(id uint32, v []byte) {
		switch id {
		case idTagName:
			t.Name = trimZeros(v)
		case idTagString:
			t.Value = trimZeros(v)
		}
	}) {
		return r.bad("tag is damaged")
	}
	return r.emit(Event{Kind: EventTag, Tag: t}, len(t.Name)+len(t.Value))
}

// emit queues an event.
func (r *Reader) emit(e Event, bytes int) error {
	r.queue = append(r.queue, e)
	if !r.waiting {
		return nil
	}
	if e.Kind == EventCluster {
		r.clusters++
	}
	// A track may have nothing to say for long: what waits is bounded.
	if r.held += bytes; r.held > waitMax || len(r.queue) > waitEvents || r.clusters > 1 {
		r.settle()
	}
	return nil
}
