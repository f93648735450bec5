package rtsp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"

	"penstock/fragments"
	"penstock/ingest/interleaved"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/streams"
)

// Time limits of a connection.
const (
	// strangerTime is how long a connection that has proved nothing may be silent.
	strangerTime = 15 * time.Second
	// strangerLife is how long it may go on without having proved anything, however much it
	// has to say: people who are asked for a password come on a new connection.
	strangerLife = time.Minute
	// strangerBytes is how much it may say: the description of a camera with every codec has
	// 10 KiB, and is sent twice when the first ANNOUNCE is asked for a password.
	strangerBytes = 64 << 10
	// knownTime is the same once someone signed in: setting up a session takes less.
	knownTime = 75 * time.Second
	writeTime = 10 * time.Second
	// queue is how many packets to one reader may wait in gortsplib.
	queue = 512
	// beat is how often sessions are checked.
	beat = time.Second
)

// Server is the RTSP server. Make one with New, then Open, then Run.
type Server struct {
	c       Config
	log     *slog.Logger
	poller  *interleaved.Poller
	gate    *gate
	udp     *udp // nil: off
	library *gortsplib.Server
	metrics *metrics

	stopping atomic.Bool // Run is about to end

	mu      sync.Mutex
	pushes  map[*push]struct{}
	players map[*player]struct{}
	checked time.Time // by check, when last
}

// New checks c; it opens nothing.
func New(c Config) (*Server, error) {
	if c.Hub == nil || c.Authenticator == nil {
		return nil, fault.New(fault.Invalid, "configure rtsp", "", "Hub and Authenticator must be set")
	}
	if (c.TLSAddress != "") != (c.TLS != nil) {
		return nil, fault.New(fault.Invalid, "configure rtsp", "", "TLSAddress and TLS go together")
	}
	c.Address = cmp.Or(c.Address, ":8554")
	if c.Connections <= 0 {
		c.Connections = DefaultConnections
	}
	c.PerAddress = cmp.Or(c.PerAddress, (c.Connections+1)/2)
	if c.Silence <= 0 {
		c.Silence = interleaved.DefaultSilence
	}
	c.Realm = cmp.Or(c.Realm, "penstock")
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return &Server{c: c, log: c.Logger, pushes: map[*push]struct{}{}, players: map[*player]struct{}{},
		poller: interleaved.NewPoller(interleaved.Config{Clock: c.Clock, Logger: c.Logger})}, nil
}

// Open binds the ports. An error names the address and what to do about it.
func (s *Server) Open(ctx context.Context) error {
	g, err := openGate(ctx, s)
	if err != nil {
		return err
	}
	if s.c.UDPAddress != "off" {
		u, err := openUDP(ctx, s)
		if err != nil {
			g.Close()
			return err
		}
		s.udp = u
	}
	s.gate = g
	s.metrics = newMetrics(s)
	return nil
}

// Addr is where RTSP over TCP listens. Valid after Open.
func (s *Server) Addr() net.Addr { return s.gate.Addr() }

// TLSAddr is where RTSPS listens, nil when it is off. Valid after Open.
func (s *Server) TLSAddr() net.Addr { return s.gate.secure() }

// Notice is something that an operator should know and can change, or "": a UDP
// receive buffer that is too small, with the command that raises it.
func (s *Server) Notice() string {
	if s.udp == nil {
		return ""
	}
	return s.udp.notice
}

// Close releases what Open bound, when Run was not called.
func (s *Server) Close() error {
	if s.gate == nil {
		return nil
	}
	err := s.gate.Close()
	if s.udp != nil {
		s.udp.close()
	}
	return err
}

// Run serves until ctx ends. Sessions end with it; their fragments are sealed by then.
func (s *Server) Run(ctx context.Context) error {
	if s.gate == nil {
		return fault.New(fault.Internal, "run rtsp", "", "Open was not called")
	}
	defer s.metrics.remove()
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.poller.Run(inner) })
	s.library = &gortsplib.Server{
		Handler:        &handler{s: s, ctx: inner},
		RTSPAddress:    s.gate.Addr().String(),
		WriteTimeout:   writeTime,
		ReadTimeout:    365 * 24 * time.Hour, // silence is ours to time: see interleaved.Conn
		WriteQueueSize: queue,
		Listen:         func(string, string) (net.Listener, error) { return s.gate, nil },

		DisableRTCPSenderReports: true, // a player makes its own
	}
	if s.udp != nil {
		s.udp.lend(s.library)
		wg.Go(func() { s.udp.run() })
	}
	if err := s.library.Start(); err != nil {
		_ = s.Close()
		stop()
		wg.Wait()
		return fault.Wrap(fault.Internal, "run rtsp", s.c.Address, err)
	}
	if n := s.Notice(); n != "" {
		s.log.Warn("rtsp over udp may lose packets", "reason", n)
	}
	failed := make(chan error, 1)
	wg.Go(func() { failed <- s.library.Wait() })
	timer := time.NewTicker(beat)
	defer timer.Stop()
	var err error
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case err = <-failed:
			done = true
		case <-timer.C:
			s.check(s.c.Clock.Now())
		}
	}
	s.stopping.Store(true)
	s.library.Close()
	if s.udp != nil {
		s.udp.close()
	}
	stop()
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fault.Wrap(fault.Internal, "run rtsp", s.c.Address, err)
}

// check ends sessions whose permission, stream or producer is gone. When the machine stood
// still, what producers sent meanwhile waits to be read: then the next one says who is silent.
func (s *Server) check(now time.Time) {
	now = now.Round(0) // a machine that sleeps stops the monotonic clock
	s.mu.Lock()
	late := !s.checked.IsZero() && now.Sub(s.checked) > 3*beat
	s.checked = now
	pushes := make([]*push, 0, len(s.pushes))
	for p := range s.pushes {
		pushes = append(pushes, p)
	}
	players := make([]*player, 0, len(s.players))
	for p := range s.players {
		players = append(players, p)
	}
	s.mu.Unlock()
	for _, p := range pushes {
		p.check(now, late)
	}
	for _, p := range players {
		p.check()
	}
}

// errors that end a session, as people read them; the Hub takes their cause.
var (
	errReplaced = errors.New("another producer took over, or the stream was deleted")
	errRevoked  = streams.Ending{Cause: fragments.CauseDenied, Detail: "the permission was taken back"}
	errStopping = streams.Ending{Cause: fragments.CauseServerStopped}
	errSilence  = streams.Ending{Cause: fragments.CauseSilent, Detail: "no media came for too long"}
	errHungUp   = streams.Ending{Cause: fragments.CauseConnectionLost, Detail: "closed without TEARDOWN"}
)
