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

// emptyTicks is how many empty looks in a row turn a connection over to the kernel's
// own notice, so that silent connections cost nothing.
const emptyTicks = 12

// Poller reads the tapped connections. Make one with NewPoller and keep Run running.
type Poller struct {
	tick    time.Duration
	clock   host.Clock
	logger  *slog.Logger
	scratch sync.Pool // *[]byte, for reads outside Run
	stats   pollerStats

	mu      sync.Mutex
	fresh   []*Conn // tapped since the last round
	wake    chan struct{}
	watched map[*Conn]struct{} // tapped and not closed: their silence is timed
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
		watched: map[*Conn]struct{}{}}
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
	n.onReady, n.onTick = n.ready, n.look
	n.Allow(DefaultIdle)
	return n
}

// Run reads the tapped connections until ctx ends.
func (p *Poller) Run(ctx context.Context) error {
	buf := make([]byte, scratchSize)
	var round []*Conn
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	watch := time.Time{}
	for {
		p.mu.Lock()
		round = append(round, p.fresh...)
		p.fresh = p.fresh[:0]
		waiting := len(p.watched)
		p.mu.Unlock()
		now := p.clock.Now()
		round = p.round(round, buf, now)
		if waiting > 0 && now.Sub(watch) >= time.Second {
			p.watch(now)
			watch = now
		}
		switch {
		case len(round) > 0:
			timer.Reset(p.tick)
		case waiting > 0:
			timer.Reset(time.Second)
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// round looks at each connection once and keeps those that are to be looked at again.
func (p *Poller) round(list []*Conn, buf []byte, now time.Time) []*Conn {
	keep := list[:0]
	for _, c := range list {
		if c.poll(buf, now) {
			keep = append(keep, c)
		}
	}
	clear(list[len(keep):])
	return keep
}

// add makes Run look at c from the next round on.
func (p *Poller) add(c *Conn) {
	p.mu.Lock()
	p.fresh = append(p.fresh, c)
	first := len(p.fresh) == 1
	p.mu.Unlock()
	if first {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// guard makes Run time c's silence.
func (p *Poller) guard(c *Conn) {
	p.mu.Lock()
	p.watched[c] = struct{}{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Poller) forget(c *Conn) {
	p.mu.Lock()
	delete(p.watched, c)
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
