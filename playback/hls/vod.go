package hls

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/fragments"
	"penstock/playback"
	"penstock/streams"
)

// vodSpan is the window of a playlist on demand that names no start.
const vodSpan = time.Hour

// vodTimeout is what a client has to take a playlist on demand: one of ten years of two
// second fragments is gigabytes.
const vodTimeout = 10 * time.Minute

// survey is what must be known of a window before its playlist's first line.
type survey struct {
	count       int
	first, last fragments.Head
	target      int // seconds
	tag         string
	refused     error           // why nothing of a run can be played
	left        map[uint32]bool // such runs
}

// runsLooked bounds the runs of a window that are asked for their codecs: a camera does
// not change between pictures that browsers play and others all the time.
const runsLooked = 16

// leaves reports whether h is of a run that no browser plays; fresh: its first head.
func (s *survey) leaves(ctx context.Context, log *fragments.Log, h fragments.Head, fresh bool, looked int) bool {
	if !fresh || looked > runsLooked {
		return s.left[h.Run]
	}
	f, err := log.ReadIndex(ctx, h.Number)
	if err != nil {
		return false // whoever asks for it hears why
	}
	if _, err := playback.RequirePlayable("play", f.Tracks); err != nil {
		if s.left == nil {
			s.left = map[uint32]bool{}
		}
		s.left[h.Run], s.refused = true, err
	}
	return s.left[h.Run]
}

// ServeVOD answers GET vod.m3u8?start&end with a playlist of the fragments that overlap
// [start, end), whole: where start lies inside the first, EXT-X-START says how far in. With
// clock=producer, these times and those of the list are the producer's.
// The text is written while the log is read, so its size does not matter to memory. It
// revalidates by ETag: retention may take what it lists. Nothing recorded in the window
// is fault.NotFound; nothing that a browser plays, as Motion JPEG, fault.Invalid.
func (s *Server) ServeVOD(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	began := s.c.Clock.Now()
	start, end, err := playback.Window(r, began, vodSpan, s.c.Window)
	if err != nil {
		return err
	}
	clock, err := playback.Clock(w, r)
	if err != nil {
		return err
	}
	log := s.c.Hub.Log(st)
	ask := question{log, clock, start, end, playback.Token(r)}
	found, err := ask.look(r.Context())
	if err != nil {
		return err
	}
	switch {
	case found.count == 0 && found.refused != nil:
		return found.refused
	case found.count == 0:
		return nothingThere(st)
	}
	h := w.Header()
	h.Set("Content-Type", typePlaylist)
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Accept-Encoding")
	etag := found.etag(ask)
	h.Set("ETag", etag)
	if playback.NoneMatch(r, etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	s.c.Metrics.Requests.WithLabelValues("vod").Inc()
	s.c.Metrics.FirstByte.WithLabelValues("vod").Observe(s.c.Clock.Now().Sub(began).Seconds())
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(vodTimeout))
	if err := ask.send(w, r, found); err != nil && r.Context().Err() == nil {
		// The status is out: a list cut short, without its last line, is all that can be said.
		s.c.Logger.Warn("playlist cut short", "stream", st.Name, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (q question) send(w http.ResponseWriter, r *http.Request, found survey) error {
	if r.Method == http.MethodHead {
		return nil
	}
	var out io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		defer z.Close()
		out = z
	}
	b := bufio.NewWriterSize(out, 32<<10)
	if err := q.write(r.Context(), b, found); err != nil {
		return err
	}
	return b.Flush()
}

// question is what a playlist on demand is asked for.
type question struct {
	log        *fragments.Log
	clock      fragments.Clock
	start, end time.Time
	token      string
}

func (q question) heads(ctx context.Context) iter.Seq2[fragments.Head, error] {
	return q.log.SelectBy(ctx, q.clock, fragments.Range{Start: q.start, End: q.end})
}

// look reads the heads of a window once, for what stands at the top of the playlist.
func (q question) look(ctx context.Context) (survey, error) {
	var s survey
	sum := fnv.New64a()
	longest := time.Duration(0)
	looked, run := 0, uint32(0)
	for h, err := range q.heads(ctx) {
		if err != nil {
			return s, err
		}
		fresh := looked == 0 || h.Run != run
		if fresh {
			looked, run = looked+1, h.Run
		}
		if s.leaves(ctx, q.log, h, fresh, looked) {
			continue
		}
		if s.count == 0 {
			s.first = h
		}
		s.last = h
		s.count++
		longest = max(longest, h.End.Sub(h.Start))
		var b [8]byte
		for i := range b {
			b[i] = byte(h.Number >> (8 * i))
		}
		sum.Write(b[:])
	}
	s.target = max(1, int(math.Round(longest.Seconds())))
	s.tag = strconv.FormatUint(sum.Sum64(), 36)
	return s, nil
}

func (s survey) etag(q question) string {
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, q.token)
	return fmt.Sprintf(`"%s-%d-%x-%x-%d"`, s.tag, s.count, max(0, q.start.Sub(playback.Begin(s.first, q.clock))), sum.Sum32(), q.clock)
}

// write writes the playlist of the fragments that found counted.
func (q question) write(ctx context.Context, w *bufio.Writer, found survey) error {
	b := make([]byte, 0, 512)
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:"...)
	b = strconv.AppendInt(b, int64(found.target), 10)
	b = append(b, "\n#EXT-X-MEDIA-SEQUENCE:0\n"...)
	if into := q.start.Sub(playback.Begin(found.first, q.clock)); into > 0 {
		b = append(b, "#EXT-X-START:TIME-OFFSET="...)
		b = append(appendSeconds(b, into), ",PRECISE=YES\n"...)
	}
	prev, begun := fragments.Head{}, false
	for h, err := range q.heads(ctx) {
		if err != nil {
			return err
		}
		if h.Number > found.last.Number {
			break // it came since the survey
		}
		if found.left[h.Run] {
			continue
		}
		breaks := begun && playback.BreaksBy(prev, h, q.clock)
		b = q.appendStored(b, h, breaks, !begun || h.Run != prev.Run)
		prev, begun = h, true
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	_, err := w.WriteString("#EXT-X-ENDLIST\n")
	return err
}

// appendStored writes a fragment of the log as a segment.
func (q question) appendStored(b []byte, h fragments.Head, breaks, init bool) []byte {
	if breaks {
		b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	}
	if init {
		b = append(b, `#EXT-X-MAP:URI="fragments/init-`...)
		b = strconv.AppendUint(b, uint64(h.Number), 10)
		b = append(append(b, ".mp4"...), q.token...)
		b = append(b, "\"\n"...)
	}
	b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
	b = playback.Begin(h, q.clock).UTC().AppendFormat(b, timestampStyle)
	b = append(b, "\n#EXTINF:"...)
	b = append(appendSeconds(b, h.End.Sub(h.Start)), ",\nfragments/"...)
	b = strconv.AppendUint(b, uint64(h.Number), 10)
	b = append(append(b, ".m4s"...), q.token...)
	return append(b, '\n')
}
