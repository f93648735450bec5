// Package still makes JPEG pictures of a stream at an instant.
//
// Decoding is done by an ffmpeg child process (DESIGN D8): one frame and the frames it
// depends on go in on stdin as fragmented MP4, one JPEG comes out on stdout. How many
// run at once, for how long and how much they may say is bounded; their arguments are
// fixed, with two validated numbers in them. Motion JPEG needs no ffmpeg.
package still

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"

	"penstock/fragments"
	"penstock/internal/bytecache"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/playback"
	"penstock/streams"
)

const (
	// widthMin and widthMax bound ?width=: what a picture is scaled to costs memory.
	widthMin = 16
	widthMax = 3840
	// fresh is how old the newest still of a stream may be to be given again.
	fresh = time.Second

	timeStyle = "2006-01-02T15:04:05.000000Z"
)

// Config is what a Server needs. Hub is required; the rest has defaults.
type Config struct {
	Hub     *streams.Hub
	Clock   host.Clock        // nil: the machine's
	Logger  *slog.Logger      // nil: discards
	Metrics *playback.Metrics // nil: counted unseen
	// FFmpeg is the program's path. "": looked up on PATH by New; when it is not there,
	// only Motion JPEG tracks have stills and the others answer fault.Unavailable.
	FFmpeg string
	// Concurrent is how many ffmpeg processes run at once. 0: 2.
	Concurrent int
	// Queue is how many requests may wait for one to end. 0: 32.
	Queue int
	// Timeout ends one ffmpeg process. 0: 10 s.
	Timeout time.Duration
	// CacheBytes bounds the cache of finished stills. 0: 32 MiB.
	CacheBytes int64
}

// Server makes stills. Its methods may be called at once.
type Server struct {
	c     Config
	run   chan struct{}                      // a place for each ffmpeg process
	queue chan struct{}                      // a place for each request that runs one or waits to
	cache *bytecache.Cache[string, *picture] // finished pictures; the same may be there under two names and counts twice
	group singleflight.Group
}

// New checks c and looks for ffmpeg; its lack is no error.
func New(c Config) (*Server, error) {
	if c.Hub == nil {
		return nil, fault.New(fault.Invalid, "configure stills", "", "Hub is missing")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Metrics = cmp.Or(c.Metrics, playback.NewMetrics(nil))
	if c.Concurrent <= 0 {
		c.Concurrent = 2
	}
	if c.Queue <= 0 {
		c.Queue = 32
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 32 << 20
	}
	if c.FFmpeg == "" {
		if path, err := exec.LookPath("ffmpeg"); err == nil {
			c.FFmpeg = path
		}
	}
	return &Server{c: c, run: make(chan struct{}, c.Concurrent), queue: make(chan struct{}, c.Concurrent+c.Queue),
		cache: bytecache.New[string, *picture](c.CacheBytes)}, nil
}

// Available reports whether ffmpeg was found.
func (s *Server) Available() bool { return s.c.FFmpeg != "" }

// picture is a finished still.
type picture struct {
	jpeg []byte
	at   time.Time // server time of the frame
	said time.Time // the producer's clock then; zero: unknown
	key  bool      // of a key frame
}

// weight counts what a picture costs: its bytes and its place in the cache.
func (p *picture) weight() int64 { return int64(len(p.jpeg)) + 256 }

// question is what a request asks for.
type question struct {
	at    time.Time // zero: the newest
	clock fragments.Clock
	key   bool // the key frame at or before, which costs least
	width int  // 0: as it is
}

func parse(r *http.Request, now time.Time) (q question, err error) {
	v := r.URL.Query()
	if t := v.Get("at"); t != "" && t != "now" {
		if q.at, err = playback.ParseTime(t, now); err != nil {
			return q, err
		}
	}
	switch v.Get("key") {
	case "", "0":
	case "1":
		q.key = true
	default:
		return q, fault.New(fault.Invalid, "read key", "", "not 0 or 1")
	}
	if t := v.Get("width"); t != "" {
		q.width, err = strconv.Atoi(t)
		if err != nil || q.width < widthMin || q.width > widthMax {
			return q, fault.New(fault.Invalid, "read width", "", fmt.Sprintf("not a number from %d to %d", widthMin, widthMax))
		}
	}
	return q, nil
}

// ServeStill answers GET still.jpg?at=&width=&key=&clock=: the nearest frame at or before at, as
// it was recorded or is being received; without at the newest, where one made less than
// a second ago will do. key=1 takes the nearest key frame instead, which is made once for
// all who ask. The header X-Penstock-Time has the frame's server time, X-Penstock-Producer-Time
// what the producer's clock said, where that is known. With clock=producer at is meant by
// that one, and is looked for in what is recorded.
func (s *Server) ServeStill(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	began := s.c.Clock.Now()
	q, err := parse(r, began)
	if err != nil {
		return err
	}
	if q.clock, err = playback.Clock(w, r); err != nil {
		return err
	}
	if q, err = s.onServer(r.Context(), st, q); err != nil {
		return err
	}
	pic, err := s.make(r.Context(), st, q)
	if err != nil {
		return err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(pic.jpeg)
	etag := fmt.Sprintf(`"%d-%x"`, pic.at.UnixMicro(), sum.Sum64())
	h := w.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("ETag", etag)
	h.Set("X-Penstock-Time", pic.at.UTC().Format(timeStyle))
	if !pic.said.IsZero() {
		h.Set("X-Penstock-Producer-Time", pic.said.UTC().Format(timeStyle))
	}
	h.Set("Cache-Control", "private, no-cache")
	s.c.Metrics.Requests.WithLabelValues("still").Inc()
	s.c.Metrics.FirstByte.WithLabelValues("still").Observe(s.c.Clock.Now().Sub(began).Seconds())
	if playback.NoneMatch(r, etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(pic.jpeg)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(pic.jpeg) // the status is sent; a viewer who left needs nothing
	}
	return nil
}

// make finds the frame and has its picture made, or finds it made.
func (s *Server) make(ctx context.Context, st streams.Stream, q question) (*picture, error) {
	newest := fmt.Sprintf("%s/newest/%d/%v", st.ID, q.width, q.key)
	if q.at.IsZero() {
		if p, ok := s.cache.Get(newest); ok && s.c.Clock.Now().Sub(p.at) < fresh {
			s.c.Metrics.Stills.WithLabelValues("cached").Inc()
			return p, nil
		}
	}
	f, err := s.find(ctx, st, q)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s/%d/%d", st.ID, f.at.UnixMicro(), q.width)
	if p, ok := s.cache.Get(name); ok {
		s.c.Metrics.Stills.WithLabelValues("cached").Inc()
		return p, nil
	}
	// The picture is made for all who wait for it: it does not stop when one leaves.
	done := s.group.DoChan(name, func() (any, error) { return s.render(context.WithoutCancel(ctx), st, f, q.width) })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case res := <-done:
		if res.Err != nil {
			return nil, res.Err
		}
		p := res.Val.(*picture)
		s.cache.Put(name, p, p.weight())
		if q.at.IsZero() {
			s.cache.Put(newest, p, p.weight())
		}
		return p, nil
	}
}

func (s *Server) render(ctx context.Context, st streams.Stream, f *frame, width int) (*picture, error) {
	p, err := s.draw(ctx, st, f, width)
	switch {
	case err == nil:
		s.c.Metrics.Stills.WithLabelValues("made").Inc()
	case fault.Is(err, fault.Throttled):
		s.c.Metrics.Stills.WithLabelValues("busy").Inc()
	default:
		s.c.Metrics.Stills.WithLabelValues("failed").Inc()
	}
	return p, err
}

func (s *Server) draw(ctx context.Context, st streams.Stream, f *frame, width int) (*picture, error) {
	if f.track.Codec.Name() == "mjpeg" && (width == 0 || !s.Available()) {
		return &picture{jpeg: f.samples[len(f.samples)-1].Data, at: f.at, said: f.said, key: true}, nil
	}
	if !s.Available() {
		return nil, fault.New(fault.Unavailable, "make still of", st.Name, "ffmpeg is not installed").
			WithHint("install it (Debian: apt install ffmpeg) and restart the server")
	}
	select {
	case s.queue <- struct{}{}:
		defer func() { <-s.queue }()
	default:
		return nil, fault.New(fault.Throttled, "make still of", st.Name, "too many stills are being made").
			WithHint("try again in a moment")
	}
	s.run <- struct{}{}
	defer func() { <-s.run }()
	jpeg, err := s.decode(ctx, f, width)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "make still of", st.Name, err)
	}
	return &picture{jpeg: jpeg, at: f.at, said: f.said, key: f.key}, nil
}
