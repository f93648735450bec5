package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"penstock/ingest/interleaved"
	"penstock/internal/fault"
	"penstock/internal/turnstile"
)

// gate accepts connections, RTSP and RTSPS, as far as there is room, and hands them to
// the library as tapped ones.
type gate struct {
	s        *Server
	plain    net.Listener
	tls      net.Listener // nil: off
	conns    chan net.Conn
	done     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
	room     *turnstile.Turnstile
	accepted atomic.Uint64
}

func openGate(ctx context.Context, s *Server) (*gate, error) {
	room := turnstile.New(turnstile.Config{Total: s.c.Connections, PerAddress: s.c.PerAddress,
		Door: "rtsp", Logger: s.log, Clock: s.c.Clock, Registerer: s.c.Registerer})
	g := &gate{s: s, room: room, conns: make(chan net.Conn), done: make(chan struct{})}
	var lc net.ListenConfig
	var err error
	if g.plain, err = lc.Listen(ctx, "tcp", s.c.Address); err != nil {
		return nil, bindError("rtsp", s.c.Address, err)
	}
	if s.c.TLSAddress != "" {
		if g.tls, err = lc.Listen(ctx, "tcp", s.c.TLSAddress); err != nil {
			_ = g.plain.Close()
			return nil, bindError("rtsps", s.c.TLSAddress, err)
		}
	}
	g.wg.Add(1)
	go g.accept(room.Listen(g.plain), nil)
	if g.tls != nil {
		g.wg.Add(1)
		go g.accept(room.Listen(g.tls), s.c.TLS)
	}
	return g, nil
}

func bindError(what, address string, err error) error {
	e := &fault.Error{Kind: fault.Internal, Op: "listen for " + what + " on", Resource: address, Err: err}
	return e.WithHint("choose another port, or stop the program that holds this one")
}

// accept keeps accepting: an error of one connection, or too many open files, is no
// reason to stop for good.
func (g *gate) accept(ln net.Listener, secure *tls.Config) {
	defer g.wg.Done()
	wait := 5 * time.Millisecond
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			g.s.log.Warn("accept connection", "err", err)
			select {
			case <-time.After(wait):
				wait = min(2*wait, time.Second)
				continue
			case <-g.done:
				return
			}
		}
		wait = 5 * time.Millisecond
		g.accepted.Add(1)
		if secure != nil {
			c = tls.Server(c, secure)
		}
		tapped := g.s.poller.Conn(c)
		tapped.Allow(strangerTime)
		tapped.Bound(strangerBytes, strangerLife)
		select {
		case g.conns <- tapped:
		case <-g.done:
			_ = tapped.Close()
			return
		}
	}
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.conns:
		return c, nil
	case <-g.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (g *gate) Close() error {
	g.once.Do(func() {
		close(g.done)
		_ = g.plain.Close()
		if g.tls != nil {
			_ = g.tls.Close()
		}
		g.wg.Wait()
	})
	return nil
}

// Addr implements net.Listener.
func (g *gate) Addr() net.Addr { return g.plain.Addr() }

func (g *gate) secure() net.Addr {
	if g.tls == nil {
		return nil
	}
	return g.tls.Addr()
}

var _ interleaved.Handler = (*push)(nil)
