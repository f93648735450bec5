// Package hls serves streams as HTTP Live Streaming: low-latency live playlists with
// partial segments (RFC 8216bis) and playlists on demand for any window of the
// recording.
//
// The live side packages on demand: a packager for a stream starts with its first
// request, reads the Hub as one live listener, builds each part once for all
// viewers, and ends when nobody asked for a while. History is read from the log.
//
// Routes, relative to /v1/streams/{name}/: live.m3u8 (ServeLivePlaylist),
// live/{file} (ServeLiveFile), vod.m3u8 (ServeVOD). Both playlists also point at
// fragments/{file}, which package export serves.
package hls

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/playback"
	"penstock/streams"
)

// Config is what a Server needs. Hub is required; the rest has defaults.
type Config struct {
	Hub     *streams.Hub
	Clock   host.Clock        // nil: the machine's
	Logger  *slog.Logger      // nil: discards
	Metrics *playback.Metrics // nil: counted unseen
	// Idle ends a packager that nobody asked for this long. 0: 30 s.
	Idle time.Duration
	// SegmentBytes bounds the parts that one packager keeps in memory. 0: 64 MiB.
	SegmentBytes int64
	// Packagers bounds how many streams are packaged at once. 0: 1,000.
	Packagers int
	// Fragment is the length that fragments are cut to: streams.HubConfig.Target. 0: 2 s.
	Fragment time.Duration
	// Window is the longest window of a playlist on demand. 0: ten years.
	Window time.Duration
}

// Server serves HLS. Its methods may be called at once.
type Server struct {
	c Config

	mu        sync.Mutex // guards the rest; a packager's own mutex may be taken under it
	ctx       context.Context
	packagers map[string]*packager // by stream id
	next      map[string]numbers   // where a stream's next packager may begin
	running   sync.WaitGroup
}

// New returns a Server that answers live requests while Run runs.
func New(c Config) (*Server, error) {
	if c.Hub == nil {
		return nil, fault.New(fault.Invalid, "configure HLS", "", "Hub is missing")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Metrics = cmp.Or(c.Metrics, playback.NewMetrics(nil))
	if c.Idle <= 0 {
		c.Idle = 30 * time.Second
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.Packagers <= 0 {
		c.Packagers = 1000
	}
	if c.Fragment <= 0 {
		c.Fragment = 2 * time.Second
	}
	if c.Window <= 0 {
		c.Window = streams.RetentionMax
	}
	return &Server{c: c, packagers: map[string]*packager{}, next: map[string]numbers{}}, nil
}

// Run owns the packagers: when ctx ends it ends them, and returns after the last.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.ctx = nil
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// packager returns the stream's packager, started if need be, and notes that it is used.
func (s *Server) packager(st streams.Stream) (*packager, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Clock.Now()
	if p := s.packagers[st.ID]; p != nil {
		p.mu.Lock()
		p.used = now
		p.mu.Unlock()
		return p, nil
	}
	if s.ctx == nil || s.ctx.Err() != nil {
		return nil, fault.New(fault.Unavailable, "package stream", st.Name, "the server is starting or stopping").
			WithHint("try again in a moment")
	}
	if len(s.packagers) >= s.c.Packagers {
		return nil, fault.New(fault.Throttled, "package stream", st.Name, "too many streams are watched at once").
			WithHint("close some viewers and try again")
	}
	p := &packager{s: s, st: st, log: s.c.Hub.Log(st), inits: map[string][]byte{}, changed: make(chan struct{}),
		used: now, done: make(chan struct{})}
	s.packagers[st.ID] = p
	s.c.Metrics.Viewers.WithLabelValues("hls").Inc()
	s.running.Add(1)
	go func(ctx context.Context) {
		defer s.running.Done()
		p.run(ctx)
		s.forget(p)
	}(s.ctx)
	return p, nil
}

// retire takes p out of service when nobody has used it for Config.Idle.
func (s *Server) retire(p *packager) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	idle := p.waiting == 0 && s.c.Clock.Now().Sub(p.used) >= s.c.Idle
	p.mu.Unlock()
	if idle {
		s.remove(p)
	}
	return idle
}

func (s *Server) forget(p *packager) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(p)
}

// remove takes p off the list, once; s.mu is held.
func (s *Server) remove(p *packager) {
	if s.packagers[p.st.ID] != p {
		return
	}
	delete(s.packagers, p.st.ID)
	s.c.Metrics.Viewers.WithLabelValues("hls").Dec()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.win != nil {
		s.next[p.st.ID] = p.win.numbers()
	}
}

// remember notes where a stream's sequence numbers go on.
func (s *Server) remember(id string, next numbers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[id] = next
}

// numbers are where the numbers of a window begin.
type numbers struct {
	segment uint64 // EXT-X-MEDIA-SEQUENCE
	breaks  uint64 // EXT-X-DISCONTINUITY-SEQUENCE
}

// breaksSince is from when on discontinuities are counted: the start of 2026.
const breaksSince = 1767225600

// sequence is where a new window's numbers begin. Segments last about a second or more, so
// that seconds since 1970 never go backwards when a packager, or the whole server, starts
// again; where they do last less, what was given out counts. Discontinuities are rarer, and
// their number must stay small: hls.js 1.7 counts up to it in the page at each reload, and
// seconds since 1970 froze it. Hours go backwards only where a stream breaks more often than
// that and the server starts again.
func (s *Server) sequence(id string, start time.Time) numbers {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.next[id]
	return numbers{
		segment: max(uint64(max(0, start.Unix())), n.segment),
		breaks:  max(uint64(max(0, start.Unix()-breaksSince))/3600, n.breaks),
	}
}

var errEnded = fault.New(fault.Unavailable, "package stream", "", "it ended just now").
	WithHint("ask again")
