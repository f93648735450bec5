// Package turnstile bounds how many connections a door holds, in all and from one
// address, so that one machine that keeps thousands open does not keep everyone else
// out. Connections past a bound are closed at once, at no cost in memory; those that
// are inside go on.
package turnstile

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/host"
)

// Share is the part of all connections that one address may hold by default: a
// quarter. A NAT or a proxy with many people behind it fits in; a single machine can't
// fill the door.
const Share = 4

// tellEvery is how often the log hears of refusals: a flood of them is one line.
const tellEvery = time.Minute

// Config bounds a door. The zero value bounds nothing.
type Config struct {
	Total      int // connections at one time; 0: no bound
	PerAddress int // of one IPv4 address or one IPv6 /64; 0: a Share of Total; negative: no bound

	Door       string                // "http": in the log and in the metrics
	Logger     *slog.Logger          // nil: discards
	Clock      host.Clock            // nil: the machine's
	Registerer prometheus.Registerer // nil: none
}

// Turnstile counts who is inside. Its methods may be called at once.
type Turnstile struct {
	c      Config
	mu     sync.Mutex
	inside int
	from   map[netip.Addr]int
	told   time.Time // of the last line about a refusal
	untold int       // refusals since then

	refused [2]atomic.Uint64 // by Bound
}

// Bound says which of the two a connection ran into.
type Bound int

// The bounds, as the metrics name them.
const (
	OfAll     Bound = iota // "total"
	OfAddress              // "address"
)

// String returns the name in the metrics.
func (b Bound) String() string {
	if b == OfAll {
		return "total"
	}
	return "address"
}

// New returns an empty Turnstile.
func New(c Config) *Turnstile {
	c.PerAddress = cmp.Or(c.PerAddress, (c.Total+Share-1)/Share)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	t := &Turnstile{c: c, from: map[netip.Addr]int{}}
	if c.Registerer != nil {
		for _, b := range []Bound{OfAll, OfAddress} {
			// A second door of that name in one process shares what is there.
			_ = c.Registerer.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "penstock_connections_refused_total",
				Help:        "Connections closed for want of room, by door and by the bound that they ran into.",
				ConstLabels: prometheus.Labels{"door": c.Door, "bound": b.String()}}, func() float64 { return float64(t.refused[b].Load()) }))
		}
	}
	return t
}

// Enter lets a connection from remote in, or reports false. leave gives the place
// back, once however often it is called.
func (t *Turnstile) Enter(remote net.Addr) (leave func(), ok bool) { return t.EnterAs(remote, 1) }

// EnterAs is Enter for what takes as much as several.
func (t *Turnstile) EnterAs(remote net.Addr, places int) (leave func(), ok bool) {
	at := address(remote)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.c.PerAddress > 0 && t.from[at]+places > t.c.PerAddress:
		t.refuse(OfAddress, at, t.c.PerAddress)
		return nil, false
	case t.c.Total > 0 && t.inside+places > t.c.Total:
		t.refuse(OfAll, at, t.c.Total)
		return nil, false
	}
	t.inside += places
	t.from[at] += places
	return sync.OnceFunc(func() { t.leave(at, places) }), true
}

// refuse counts a refusal and tells of it; t.mu is held.
func (t *Turnstile) refuse(b Bound, at netip.Addr, limit int) {
	t.refused[b].Add(1)
	t.untold++
	now := t.c.Clock.Now()
	if passed := now.Sub(t.told); !t.told.IsZero() && passed >= 0 && passed < tellEvery {
		return
	}
	try := "see who holds them; more than this need several addresses"
	if b == OfAll {
		try = "see who holds them; connections that say nothing are closed after a while"
	}
	t.c.Logger.Warn("connections are refused for want of room", "door", t.c.Door, "bound", b.String(), "limit", limit,
		"remote", at.String(), "inside", t.inside, "refused", t.untold, "try", try)
	t.told, t.untold = now, 0
}

func (t *Turnstile) leave(at netip.Addr, places int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inside -= places
	if t.from[at] -= places; t.from[at] == 0 {
		delete(t.from, at)
	}
}

// Inside returns how many are in.
func (t *Turnstile) Inside() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inside
}

// Refused returns how many found no room.
func (t *Turnstile) Refused() uint64 { return t.refused[OfAll].Load() + t.refused[OfAddress].Load() }

// Listen returns l with every connection counted by t until it is closed.
func (t *Turnstile) Listen(l net.Listener) net.Listener { return &listener{l, t} }

// address is what connections are counted by. Who has one IPv6 address has the 2^64 of
// its network (RFC 4291 §2.5.4). What has no address shares the zero one.
func address(a net.Addr) netip.Addr {
	var at netip.Addr
	switch a := a.(type) {
	case *net.TCPAddr:
		at = a.AddrPort().Addr()
	case nil:
		return at
	default:
		p, err := netip.ParseAddrPort(a.String())
		if err != nil {
			return at
		}
		at = p.Addr()
	}
	at = at.Unmap().WithZone("")
	if at.Is6() {
		if p, err := at.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return at
}

type listener struct {
	net.Listener
	t *Turnstile
}

// Accept returns the next connection that there is room for.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if leave, ok := l.t.Enter(c.RemoteAddr()); ok {
			return &conn{c, leave}, nil
		}
		_ = c.Close()
	}
}

type conn struct {
	net.Conn
	leave func()
}

// SyscallConn lends the socket underneath to those who poll it.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Close ends the connection and gives its place back.
func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}
