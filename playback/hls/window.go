package hls

import (
	"strconv"
	"time"

	"penstock/fragments"
)

// What a live playlist holds, in target durations.
const (
	windowTargets  = 10 // segments stay listed this long; plain players start 3 before the end
	skipTargets    = 6  // CAN-SKIP-UNTIL, the least that RFC 8216bis §4.4.3.8 allows
	partsTargets   = 3  // parts stay listed this long (§4.4.4.9)
	memoryTargets  = 5  // and in memory a little longer, for who read the list just before
	holdBackParts  = 3  // PART-HOLD-BACK, in part targets (§4.4.3.8)
	advanceLimit   = 3  // seconds: the Advance Part Limit is this over the part target (§6.2.5.2)
	timestampStyle = "2006-01-02T15:04:05.000Z"
)

// part is a partial segment. Its data never changes.
type part struct {
	data        []byte
	duration    time.Duration
	independent bool // begins with a sync sample
}

// segment is a media segment of the live playlist: a whole fragment, or a piece of one
// where a fragment is longer than the target duration or was not seen from its start.
type segment struct {
	msn      uint64
	number   fragments.Number // of the fragment that it is the whole of; 0: of none
	history  bool             // made before the packager came: its URI is the fragment's
	start    time.Time        // server time of its first sample
	duration time.Duration    // of a complete segment
	init     string           // names the initialization section
	breaks   bool             // EXT-X-DISCONTINUITY stands before it
	gap      bool             // it cannot be had any more
	parts    []*part
	dropped  bool // parts went out of memory
}

// size is what the parts of s hold in memory.
func (s *segment) size() (n int64) {
	for _, p := range s.parts {
		n += int64(len(p.data))
	}
	return n
}

// window is the live playlist of one stream as a state machine: the packager tells it
// what was made, it knows what is listed, what may be forgotten, and which requests can
// be answered. It does no I/O and is not for concurrent use.
type window struct {
	partTarget time.Duration
	target     time.Duration // whole seconds; never changes (RFC 8216bis §4.4.3.1)
	limit      int64         // bytes of parts in memory
	breaks     uint64        // EXT-X-DISCONTINUITY-SEQUENCE
	segments   []*segment    // complete, oldest first, without holes in msn
	open       *segment      // being made; nil between segments
	next       uint64        // msn of the next segment to open, when open is nil
	memory     int64
	carry      bool // a segment that began with a break came to nothing
	past       past // before segments, for those who ask for it
}

// newWindow returns an empty window whose first segment has number first. So has its
// discontinuity sequence, unless breaks is set.
func newWindow(first uint64, partTarget, target time.Duration, limit int64) *window {
	return &window{partTarget: partTarget, target: target, limit: limit, breaks: first, next: first}
}

// numbers is where a window that comes after w may begin.
func (w *window) numbers() numbers {
	n := numbers{w.next, w.breaks}
	for _, s := range w.segments {
		if s.breaks {
			n.breaks++
		}
	}
	if w.carry || w.open != nil && w.open.breaks {
		n.breaks++
	}
	return n
}

// current is the sequence number of the segment being made, or to be made next.
func (w *window) current() uint64 {
	if w.open != nil {
		return w.open.msn
	}
	return w.next
}

// addHistory appends a fragment of the log.
func (w *window) addHistory(h fragments.Head, init string, breaks bool) {
	w.segments = append(w.segments, &segment{msn: w.next, number: h.Number, history: true, start: h.Start,
		duration: h.End.Sub(h.Start), init: init, breaks: breaks})
	w.next++
}

// begin opens a segment.
func (w *window) begin(start time.Time, init string, breaks bool) {
	w.open = &segment{msn: w.next, start: start, init: init, breaks: breaks || w.carry}
	w.carry = false
	w.next++
}

// add appends a part to the open segment.
func (w *window) add(p *part) {
	p.duration = min(p.duration, w.partTarget)
	w.open.parts = append(w.open.parts, p)
	w.memory += int64(len(p.data))
	w.forget()
}

// end completes the open segment. number is that of the fragment that it is the whole of, or 0.
// A segment without parts is none, and its sequence number is used again.
func (w *window) end(duration time.Duration, number fragments.Number) {
	s := w.open
	w.open = nil
	if len(s.parts) == 0 {
		w.next, w.carry = s.msn, s.breaks
		return
	}
	s.duration, s.number = duration, number
	w.segments = append(w.segments, s)
	w.trim()
	w.forget()
}

// trim takes segments off the list that are older than the window.
func (w *window) trim() {
	var total time.Duration
	for _, s := range w.segments {
		total += s.duration
	}
	n := 0
	for n < len(w.segments)-1 && total-w.segments[n].duration >= windowTargets*w.target {
		s := w.segments[n]
		total -= s.duration
		w.drop(s)
		w.past.retire(s)
		if s.breaks {
			w.breaks++
		}
		n++
	}
	w.segments = append(w.segments[:0:0], w.segments[n:]...)
}

// forget takes parts out of memory that are no longer listed, and, past the limit, the
// oldest there are. A piece that no fragment of the log holds stays as long as it is
// listed unless the limit takes it; then it is a gap.
func (w *window) forget() {
	age := w.openDuration()
	for i := len(w.segments) - 1; i >= 0; i-- {
		s := w.segments[i]
		if s.number != 0 && age > memoryTargets*w.target {
			w.drop(s)
		}
		age += s.duration
	}
	for i := 0; i < len(w.segments) && w.memory > w.limit; i++ {
		s := w.segments[i]
		s.gap = s.gap || s.number == 0
		w.drop(s)
	}
}

func (w *window) drop(s *segment) {
	if s.history || s.dropped {
		return
	}
	w.memory -= s.size()
	s.parts, s.dropped = nil, true
}

func (w *window) openDuration() (d time.Duration) {
	if w.open != nil {
		for _, p := range w.open.parts {
			d += p.duration
		}
	}
	return d
}

// find returns the listed segment with that number, or nil.
func (w *window) find(msn uint64) *segment {
	if w.open != nil && w.open.msn == msn {
		return w.open
	}
	if len(w.segments) == 0 || msn < w.segments[0].msn {
		return nil
	}
	if i := msn - w.segments[0].msn; i < uint64(len(w.segments)) {
		return w.segments[i]
	}
	return nil
}

// verdict says what becomes of a request.
type verdict uint8

const (
	answer  verdict = iota // now
	wait                   // until the window changes
	refuse                 // never: the request makes no sense
	missing                // never: there is no such part, and will be none
)

// reload decides a blocking playlist reload (RFC 8216bis §6.2.5.2). part is -1 when the
// request names only a segment.
func (w *window) reload(msn uint64, part int) verdict {
	cur, have := w.current(), 0
	if w.open != nil {
		have = len(w.open.parts)
	}
	if part >= 0 && msn < cur {
		// Past the last part of a complete segment, part 0 of the next is meant.
		if s := w.find(msn); s != nil && !s.dropped && !s.history && part >= len(s.parts) {
			msn, part = msn+1, 0
		}
	}
	switch {
	case msn > cur+1:
		return refuse
	case part >= 0 && part >= w.ahead(have, msn == cur):
		return refuse
	case msn < cur, msn == cur && part >= 0 && part < have:
		return answer
	}
	return wait
}

// ahead is the first part index that is too far in the future.
func (w *window) ahead(have int, current bool) int {
	limit := advanceLimit
	if w.partTarget < time.Second {
		limit = int(advanceLimit * time.Second / w.partTarget)
	}
	if current {
		return have + limit
	}
	return limit
}

// lookup decides a request for one part. Only the part that is hinted at, the next of
// the segment being made, is waited for.
func (w *window) lookup(msn uint64, index int) (*part, verdict) {
	s := w.find(msn)
	switch {
	case s != nil && index < len(s.parts):
		return s.parts[index], answer
	case s != nil && s == w.open && index == len(s.parts):
		return nil, wait
	case w.open == nil && msn == w.next && index == 0:
		return nil, wait
	}
	return nil, missing
}

// render writes the playlist. Where a URI ends stands tokenMark. skip asks for a delta
// update (§6.2.5.1), which is given when anything can be skipped.
func (w *window) render(b []byte, skip bool) []byte {
	skipped := 0
	if skip {
		skipped = w.skippable()
	}
	return w.renderSegments(w.renderTop(b, w.firstNumber(), w.breaks, skipped), skipped)
}

// firstNumber is the sequence number of the oldest segment in the window.
func (w *window) firstNumber() uint64 {
	if len(w.segments) > 0 {
		return w.segments[0].msn
	}
	return w.current()
}

// renderTop writes what stands before the segments, and in the place of skipped ones.
func (w *window) renderTop(b []byte, first, breaks uint64, skipped int) []byte {
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:"...)
	b = strconv.AppendInt(b, int64(w.target/time.Second), 10)
	b = append(b, "\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK="...)
	b = appendSeconds(b, holdBackParts*w.partTarget)
	b = append(b, ",CAN-SKIP-UNTIL="...)
	b = appendSeconds(b, skipTargets*w.target)
	b = append(b, "\n#EXT-X-PART-INF:PART-TARGET="...)
	b = appendSeconds(b, w.partTarget)
	b = append(b, "\n#EXT-X-MEDIA-SEQUENCE:"...)
	b = strconv.AppendUint(b, first, 10)
	b = append(b, "\n#EXT-X-DISCONTINUITY-SEQUENCE:"...)
	b = append(strconv.AppendUint(b, breaks, 10), '\n')
	if skipped > 0 {
		b = append(b, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...)
		b = append(strconv.AppendInt(b, int64(skipped), 10), '\n')
	}
	return b
}

func (w *window) renderSegments(b []byte, skipped int) []byte {
	listed := w.firstWithParts()
	init := ""
	for i, s := range w.segments[skipped:] {
		b = appendSegmentHead(b, s, &init)
		if i+skipped >= listed {
			b = appendParts(b, s)
		}
		b = appendSegmentTail(b, s)
	}
	hint := 0
	if s := w.open; s != nil && len(s.parts) > 0 {
		b = appendSegmentHead(b, s, &init)
		b = appendParts(b, s)
		hint = len(s.parts)
	}
	b = append(b, `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="`...)
	b = appendPartURI(b, w.current(), hint)
	return append(b, "\"\n"...)
}

// skippable counts the segments farther than the skip boundary from the end.
func (w *window) skippable() int {
	age := w.openDuration()
	for i := len(w.segments) - 1; i >= 0; i-- {
		if age += w.segments[i].duration; age > skipTargets*w.target {
			return i
		}
	}
	return 0
}

// firstWithParts is the index of the oldest segment whose parts are listed.
func (w *window) firstWithParts() int {
	age := w.openDuration()
	i := len(w.segments)
	for i > 0 && age < partsTargets*w.target {
		i--
		age += w.segments[i].duration
	}
	return i
}

func appendSegmentHead(b []byte, s *segment, init *string) []byte {
	if s.breaks {
		b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	}
	if *init != s.init {
		*init = s.init
		b = append(b, `#EXT-X-MAP:URI="live/init-`...)
		b = append(b, s.init...)
		b = append(b, ".mp4"+tokenMark+"\"\n"...)
	}
	b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
	return append(s.start.UTC().AppendFormat(b, timestampStyle), '\n')
}

func appendParts(b []byte, s *segment) []byte {
	for i, p := range s.parts {
		b = append(b, "#EXT-X-PART:DURATION="...)
		b = appendSeconds(b, p.duration)
		b = append(b, `,URI="`...)
		b = append(appendPartURI(b, s.msn, i), '"')
		if p.independent {
			b = append(b, ",INDEPENDENT=YES"...)
		}
		b = append(b, '\n')
	}
	return b
}

func appendSegmentTail(b []byte, s *segment) []byte {
	if s.gap {
		b = append(b, "#EXT-X-GAP\n"...)
	}
	b = append(b, "#EXTINF:"...)
	b = append(appendSeconds(b, s.duration), ",\n"...)
	if s.history {
		b = append(b, "fragments/"...)
		b = strconv.AppendUint(b, uint64(s.number), 10)
	} else {
		b = append(b, "live/"...)
		b = strconv.AppendUint(b, s.msn, 10)
	}
	return append(b, ".m4s"+tokenMark+"\n"...)
}

func appendPartURI(b []byte, msn uint64, index int) []byte {
	b = append(b, "live/"...)
	b = append(strconv.AppendUint(b, msn, 10), '.')
	b = strconv.AppendInt(b, int64(index), 10)
	return append(b, ".m4s"+tokenMark...)
}

// tokenMark stands in rendered text where the query of a media URL goes: one rendering
// serves every viewer, whatever token each carries.
const tokenMark = "\x00"

// appendSeconds writes d in seconds with as many decimals as it needs, at most 5.
func appendSeconds(b []byte, d time.Duration) []byte {
	b = strconv.AppendFloat(b, d.Seconds(), 'f', 5, 64)
	n := len(b)
	for b[n-1] == '0' && b[n-2] != '.' {
		n--
	}
	return b[:n]
}
