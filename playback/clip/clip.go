// Package clip serves a window of a recording as one progressive MP4: the movie header
// first, its length known at once, byte ranges honoured.
//
// A clip begins with the key frame at or before its start and ends with the last frame
// before its end; what is still in an open fragment is not in it. Where the recording
// has a gap, the clip goes on with the next media at once (gaps=squeeze, the default) or
// holds the last frame for as long as the gap (gaps=hold). Where the codec configuration
// changes, the clip ends, and the header X-Penstock-Next says where to go on. What a clip
// covers is in the headers X-Penstock-Start, X-Penstock-End, X-Penstock-Coverage (spans as
// start/end, separated by commas) and X-Penstock-Gaps (how many), by the server's clock; what the
// producer's said at the start is in X-Penstock-Producer-Start. With clock=producer, start
// and end are meant by that one, and so is X-Penstock-Next.
//
// Only the fragments' sample tables are read before the first byte; their media is read
// as it is sent, so a range costs what it covers. G.711 is written as FLAC, without loss
// and uncompressed, so that its length is known too.
package clip

import (
	"cmp"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/internal/bytecache"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/playback"
	"penstock/streams"
)

const (
	// usual is the length of a clip that names no start.
	usual = time.Minute
	// spansMax bounds the spans that the coverage header lists.
	spansMax = 64
	// stallTimeout is how long a client may take nothing before it is hung up on.
	stallTimeout = 60 * time.Second

	timeStyle = "2006-01-02T15:04:05.000000Z"
)

// Config is what a Server needs. Hub is required; the rest has defaults.
type Config struct {
	Hub     *streams.Hub
	Clock   host.Clock        // nil: the machine's
	Logger  *slog.Logger      // nil: discards
	Metrics *playback.Metrics // nil: counted unseen
	// Window is the longest clip. 0: 6 h: a day's movie header would be 100 MB.
	Window time.Duration
	// Concurrent is how many clips are sent at once. 0: 32.
	Concurrent int
	// CacheBytes bounds the movie headers kept for clients that come back for another
	// range. 0: 32 MiB.
	CacheBytes int64
}

// Server serves clips. Its methods may be called at once.
type Server struct {
	c     Config
	slots chan struct{}
	cache *bytecache.Cache[string, *movie] // laid out movies: players ask for a clip's ranges one by one
}

// New checks c.
func New(c Config) (*Server, error) {
	if c.Hub == nil {
		return nil, fault.New(fault.Invalid, "configure clips", "", "Hub is missing")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Metrics = cmp.Or(c.Metrics, playback.NewMetrics(nil))
	if c.Window <= 0 {
		c.Window = 6 * time.Hour
	}
	if c.Concurrent <= 0 {
		c.Concurrent = 32
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 32 << 20
	}
	return &Server{c: c, slots: make(chan struct{}, c.Concurrent), cache: bytecache.New[string, *movie](c.CacheBytes)}, nil
}

// ServeClip answers GET clip.mp4?start&end&clock&gaps&download. download=1 asks the browser to
// save it. Nothing recorded in the window is fault.NotFound; too many clips at once
// fault.Throttled.
func (s *Server) ServeClip(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	began := s.c.Clock.Now()
	start, end, err := playback.Window(r, began, usual, s.c.Window)
	if err != nil {
		return err
	}
	clock, err := playback.Clock(w, r)
	if err != nil {
		return err
	}
	hold := false
	switch r.URL.Query().Get("gaps") {
	case "", "squeeze":
	case "hold":
		hold = true
	default:
		return fault.New(fault.Invalid, "read gaps", "", "neither squeeze nor hold")
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return fault.New(fault.Throttled, "make clip of", st.Name, "too many clips are being sent").
			WithHint("try again when one of them is done")
	}
	log := s.c.Hub.Log(st)
	m, err := s.movie(r.Context(), log, st, wanted{clock, start, end, hold})
	if err != nil {
		return err
	}
	s.c.Metrics.Requests.WithLabelValues("clip").Inc()
	s.c.Metrics.FirstByte.WithLabelValues("clip").Observe(s.c.Clock.Now().Sub(began).Seconds())
	m.describe(w.Header(), st.Name, r.URL.Query().Get("download") == "1")
	body := &reader{ctx: r.Context(), movie: m, log: log, sound: playback.NewSound(m.tracks).Plain(), control: http.NewResponseController(w), sent: s.c.Metrics.ClipBytes}
	http.ServeContent(w, r, "", time.Time{}, body)
	if body.err != nil && r.Context().Err() == nil {
		s.c.Logger.Warn("clip cut short", "stream", st.Name, "err", body.err)
	}
	return nil
}

// describe sets the headers that say what m is.
func (m *movie) describe(h http.Header, name string, download bool) {
	h.Set("Content-Type", "video/mp4")
	h.Set("ETag", m.etag)
	h.Set("Cache-Control", "private, no-cache")
	h.Set("X-Penstock-Start", m.spans[0].start.UTC().Format(timeStyle))
	h.Set("X-Penstock-End", m.spans[len(m.spans)-1].end.UTC().Format(timeStyle))
	h.Set("X-Penstock-Gaps", strconv.Itoa(len(m.spans)-1))
	parts := make([]string, 0, min(len(m.spans), spansMax))
	for _, s := range m.spans[:min(len(m.spans), spansMax)] {
		parts = append(parts, s.start.UTC().Format(timeStyle)+"/"+s.end.UTC().Format(timeStyle))
	}
	h.Set("X-Penstock-Coverage", strings.Join(parts, ","))
	if !m.producer.IsZero() {
		h.Set("X-Penstock-Producer-Start", m.producer.UTC().Format(timeStyle))
	}
	if !m.next.IsZero() {
		h.Set("X-Penstock-Next", m.next.UTC().Format(timeStyle))
	}
	kind := "inline"
	if download {
		kind = "attachment"
	}
	file := name + "_" + m.spans[0].start.UTC().Format("2006-01-02_15-04-05Z") + ".mp4"
	h.Set("Content-Disposition", mime.FormatMediaType(kind, map[string]string{"filename": file}))
}

var _ io.ReadSeeker = (*reader)(nil)
