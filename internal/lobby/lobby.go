// Package lobby bounds what is held in memory for callers who have not proved yet who they
// are: bodies whose signature can be judged only when all of them is there. Whoever finds no
// room waits a moment for it.
package lobby

import (
	"cmp"
	"context"
	"net/netip"
	"sync"
	"time"

	"penstock/internal/host"
)

// Defaults of Config.
const (
	// Total is for all callers together, PerAddress for one IPv4 address or IPv6 /64: two of
	// the largest bodies.
	Total      = 64 << 20
	PerAddress = Total / 2
	// Patience is how long a caller waits for room.
	Patience = 10 * time.Second
)

// Config bounds a Lobby. The zero value means the defaults.
type Config struct {
	Total, PerAddress int64
	Patience          time.Duration
	Clock             host.Clock // host.System
}

// Lobby counts bytes. Its methods may be called at once.
type Lobby struct {
	c Config

	mu     sync.Mutex
	inside int64
	from   map[netip.Addr]int64
	freed  chan struct{} // closed when somebody leaves; nil: nobody waits
}

// New returns an empty Lobby.
func New(c Config) *Lobby {
	c.Total = cmp.Or(c.Total, Total)
	c.PerAddress = min(cmp.Or(c.PerAddress, PerAddress), c.Total)
	c.Patience = cmp.Or(c.Patience, Patience)
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	return &Lobby{c: c, from: map[netip.Addr]int64{}}
}

// Enter takes n bytes for a caller at remote, an address with a port; more than one caller
// may have are as many. It waits until there is room, or until proved, which is asked
// whenever somebody left, says that this caller needs none any more: others who came before
// from the same address may have proved who they are. leave gives the bytes back, once
// however often it is called. It reports false when there was no room in time.
func (l *Lobby) Enter(ctx context.Context, remote string, n int64, proved func() bool) (leave func(), ok bool) {
	at := address(remote)
	n = min(n, l.c.PerAddress)
	leave, wait := l.try(at, n)
	if leave != nil {
		return leave, true
	}
	timer := l.c.Clock.NewTimer(l.c.Patience)
	defer timer.Stop()
	for {
		select {
		case <-wait:
		case <-timer.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
		if proved() {
			return func() {}, true
		}
		if leave, wait = l.try(at, n); leave != nil {
			return leave, true
		}
	}
}

// try takes n bytes, or returns what is closed when it is worth another try.
func (l *Lobby) try(at netip.Addr, n int64) (leave func(), wait <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside+n > l.c.Total || l.from[at]+n > l.c.PerAddress {
		if l.freed == nil {
			l.freed = make(chan struct{})
		}
		return nil, l.freed
	}
	l.inside += n
	l.from[at] += n
	return sync.OnceFunc(func() { l.leave(at, n) }), nil
}

func (l *Lobby) leave(at netip.Addr, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside -= n
	if l.from[at] -= n; l.from[at] == 0 {
		delete(l.from, at)
	}
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}

// Inside is how many bytes are taken.
func (l *Lobby) Inside() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inside
}

// address is where remote is, an IPv6 address by its /64; what is no address is one place.
func address(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	a := at.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
