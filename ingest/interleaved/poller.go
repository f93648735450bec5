package interleaved

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"penstock/internal/host"
)

// scratchSize holds a whole frame behind the rest of another.
const scratchSize = 192 << 10

// burst is how much of one connection in one look makes the poller look at it again
// after hurry: a large key frame should not have to wait for the next round with a
// closed window.
const (
	burst = 32 << 10
	hurry = 2 * time.Millisecond
)

// Poller reads the tapped connections. Make one with NewPoller and keep Run running.
type Poller struct {
	tick    time.Duration
	clock   host.Clock
	logger  *slog.Logger
	scratch sync.Pool // *[]byte, for reads outside Run
	stats   pollerStats
	unread  sync.Once // says that sockets cannot be adopted

	wake    chan struct{}
	mu      sync.Mutex
	watched map[*Conn]struct{} // not closed: their silence is timed
	sockets map[int]*Conn      // by descriptor: those that are read in rounds
	events  readiness          // says which of sockets have data
}

type pollerStats struct{ reads, empty, bytes, frames, messages atomic.Uint64 }

// PollerStats counts what a Poller's connections did. All values only grow.
type PollerStats struct {
	Reads    uint64 // system calls that brought data
	Empty    uint64 // system calls that found none
	Bytes    uint64
	Frames   uint64 // handed to Handlers
	Messages uint64 // RTSP messages passed up
}

// NewPoller returns a Poller; it does nothing before Run.
func NewPoller(c Config) *Poller {
	p := &Poller{tick: c.Tick, clock: c.Clock, logger: c.Logger, wake: make(chan struct{}, 1),
		watched: map[*Conn]struct{}{}, sockets: map[int]*Conn{}}
	if p.tick <= 0 {
		p.tick = DefaultTick
	}
	p.clock = cmp.Or[host.Clock](p.clock, host.System{})
	p.logger = cmp.Or(p.logger, slog.New(slog.DiscardHandler))
	p.scratch.New = func() any { b := make([]byte, scratchSize); return &b }
	return p
}

// Stats returns the counters.
func (p *Poller) Stats() PollerStats {
	return PollerStats{Reads: p.stats.reads.Load(), Empty: p.stats.empty.Load(), Bytes: p.stats.bytes.Load(),
		Frames: p.stats.frames.Load(), Messages: p.stats.messages.Load()}
}

// Conn wraps an open connection and bounds its silence by DefaultIdle. A connection
// that is no plain TCP, as TLS is none, is read in the goroutine of its reader.
func (p *Poller) Conn(c net.Conn) *Conn {
	n := &Conn{Conn: c, poller: p}
	if sc, ok := c.(syscall.Conn); ok && canPoll {
		if _, secure := c.(*tls.Conn); !secure {
			if raw, err := sc.SyscallConn(); err == nil {
				n.raw = raw
			}
		}
	}
	n.onReady = n.ready
	n.Allow(DefaultIdle)
	return n
}

// Run reads the tapped connections until ctx ends.
func (p *Poller) Run(ctx context.Context) error {
	if err := p.begin(); err != nil {
		return err
	}
	defer p.end()
	buf := make([]byte, scratchSize)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	pause := func(d time.Duration) bool {
		if d > 0 {
			timer.Reset(d)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		case <-p.wake:
		}
		return true
	}
	var hot []*Conn
	watch := time.Time{}
	for {
		now := p.clock.Now()
		hot = p.round(hot[:0], buf, now)
		if now.Sub(watch) >= time.Second {
			p.watch(now)
			watch = now
		}
		rest := p.rest()
		for ; len(hot) > 0 && rest > hurry; rest -= hurry {
			if !pause(hurry) {
				return nil
			}
			hot = p.again(hot, buf, p.clock.Now())
		}
		if !pause(rest) {
			return nil
		}
	}
}

// rest is how long Run may wait for the next round; 0: until something is to be done.
func (p *Poller) rest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.sockets) > 0:
		return p.tick
	case len(p.watched) > 0:
		return time.Second
	}
	return 0
}

// again looks at connections that had much a moment ago, and keeps those that have again.
func (p *Poller) again(hot []*Conn, buf []byte, now time.Time) []*Conn {
	keep := hot[:0]
	for _, c := range hot {
		if c.look(c.socket.Load(), buf, now) >= burst {
			keep = append(keep, c)
		}
	}
	clear(hot[len(keep):])
	return keep
}

// guard makes Run time c's silence.
func (p *Poller) guard(c *Conn) {
	p.mu.Lock()
	p.watched[c] = struct{}{}
	first := len(p.watched) == 1
	p.mu.Unlock()
	if first {
		p.rouse()
	}
}

// rouse ends a rest of Run.
func (p *Poller) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// forget leaves c alone; its socket is still open.
func (p *Poller) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watched, c)
	if s := c.socket.Load(); s != nil && p.sockets[s.fd] == c {
		delete(p.sockets, s.fd)
		p.events.remove(s.fd)
	}
}

// drop makes rounds pass over a connection that has ended and was not closed yet.
func (p *Poller) drop(s *socket) {
	p.mu.Lock()
	p.events.remove(s.fd)
	p.mu.Unlock()
}

// watch ends connections that were silent too long.
func (p *Poller) watch(now time.Time) {
	var silent []*Conn
	p.mu.Lock()
	for c := range p.watched {
		if last := c.last.Load(); last != 0 && now.UnixNano()-last > int64(c.patience()) {
			silent = append(silent, c)
		}
	}
	p.mu.Unlock()
	for _, c := range silent {
		c.fail(errSilent)
	}
}

// errors that end a connection.
type connError string

func (e connError) Error() string { return string(e) }

// Timeout reports whether the connection ended for silence, as net.Error asks.
func (e connError) Timeout() bool { return e == errSilent }

// Temporary is false: the connection is over.
func (e connError) Temporary() bool { return false }

const (
	errSilent  connError = "nothing came for too long"
	errHeader  connError = "an RTSP header is too long"
	errBody    connError = "an RTSP body is too long"
	errGarbage connError = "what came is neither RTSP nor an interleaved frame"
)

var _ io.Reader = (*Conn)(nil)
