package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"penstock/auth"
	"penstock/internal/deadline"
	"penstock/internal/turnstile"
)

// Bounds of HTTP/2, where one connection asks many things at once: each costs a goroutine
// and 14 kB from when its headers are read until its answer has left, and a caller who
// reads no answers keeps all of them. Over HTTP/1 what bounds connections bounds requests.
const (
	// streamsMost is how many requests one connection may have under way, the least that
	// RFC 9113 §6.5.2 advises.
	streamsMost = 100
	// http2Part is the part of all connections that strangers may have over HTTP/2: 128 of 8192. Over TLS
	// the rest agree on HTTP/1; without it those who begin with HTTP/2 are hung up on.
	http2Part = 64
	// arriving is how much of the bodies of one connection is taken before handlers read it,
	// and frameMost the largest frame, whose buffer a connection keeps.
	arriving  = 512 << 10
	frameMost = 64 << 10
	// place is how long a header list may be for each place that its request takes: long ones
	// take several.
	place = 2 << 10
	// refusedMost is how many refusals may wait to leave: whoever is refused past them reads
	// none, and is hung up on.
	refusedMost = 1024
)

// crowd counts what strangers have under way over HTTP/2. Whoever proves who they are is
// counted no more, nor is their connection: many producers and consumers may come from one
// address.
type crowd struct {
	requests, conns *turnstile.Turnstile
	refused         atomic.Int64 // refusals that have not left yet
}

func newCrowd(most, perAddress int) *crowd {
	return &crowd{
		requests: turnstile.New(turnstile.Config{Total: most, PerAddress: perAddress}),
		conns:    turnstile.New(turnstile.Config{Total: max(most/http2Part, turnstile.Share), PerAddress: min(perAddress, 0)}),
	}
}

// enter lets r in, or answers that there is no room and reports false. in is r from then on. leave is to be called when it is
// answered; it waits until the answer is on its way.
func (c *crowd) enter(w http.ResponseWriter, r *http.Request) (in *http.Request, leave func(), ok bool) {
	if r.ProtoMajor < 2 {
		return r, func() {}, true
	}
	conn, _ := r.Context().Value(crowdKey{}).(*crowdConn)
	out, ok := c.requests.EnterAs(address(r), places(r))
	if !ok {
		c.turnAway(w, conn)
		return nil, nil, false
	}
	in = r.WithContext(auth.WithProof(r.Context(), func() {
		out()
		conn.known()
	}))
	return in, func() {
		// The last of a short answer would be sent, and waited for, when nobody counts any more.
		_ = http.NewResponseController(w).Flush() // a caller who left, or a writer that can't
		out()
	}, true
}

type crowdKey struct{}

// context fits http.Server.ConnContext.
func (*crowd) context(ctx context.Context, c net.Conn) context.Context {
	ctx = deadline.NewContext(ctx, c)
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if conn := counted(c); conn != nil {
		ctx = context.WithValue(ctx, crowdKey{}, conn)
	}
	return ctx
}

// address is where r comes from; nil when that is no IP address.
func address(r *http.Request) net.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(at)
}

// places is how many r takes: its headers are held as long as it is, and each of them costs
// a place in a map beside its text.
func places(r *http.Request) int {
	const each = 64
	n := len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		n += len(name) + each
		for _, v := range values {
			n += len(v) + each/2
		}
	}
	return 1 + n/place
}

// turnAway answers a request that there is no room for, with headers alone: they need no
// leave of a caller who takes no data. They are waited for, and counted: a caller who takes
// no bytes at all would have as many requests held as it may ask at a time.
func (c *crowd) turnAway(w http.ResponseWriter, conn *crowdConn) {
	if c.refused.Add(1) > refusedMost && conn != nil {
		_ = conn.Close() // ends all its requests
	}
	defer c.refused.Add(-1)
	h := w.Header()
	h.Set("Retry-After", "2")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = http.NewResponseController(w).Flush() // a caller who left, or a writer that can't
}

// limits are what http.Server is told.
func (*crowd) limits() *http.HTTP2Config {
	return &http.HTTP2Config{MaxConcurrentStreams: streamsMost, MaxReadFrameSize: frameMost, MaxReceiveBufferPerConnection: arriving, MaxReceiveBufferPerStream: arriving}
}

// listen returns l with every connection that speaks HTTP/2 counted.
func (c *crowd) listen(l net.Listener) net.Listener { return &crowdListener{l, c} }

// secure returns t, or nil for nil, with HTTP/2 offered as long as there is room for it.
func (c *crowd) secure(t *tls.Config) *tls.Config {
	if t == nil {
		return nil
	}
	t = t.Clone()
	first := t.Clone()
	first.NextProtos = append(slices.DeleteFunc(slices.Clone(t.NextProtos), func(p string) bool { return p == "h2" || p == "http/1.1" }), "http/1.1")
	before := t.GetConfigForClient
	t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if conn := counted(hello.Conn); conn != nil && slices.Contains(hello.SupportedProtos, "h2") && !conn.count() {
			return first, nil
		}
		if before != nil {
			return before(hello)
		}
		return nil, nil
	}
	return t
}

// counted is the connection that listen made, beneath that of package deadline.
func counted(c net.Conn) *crowdConn {
	if d, ok := c.(*deadline.Conn); ok {
		c = d.Conn
	}
	conn, _ := c.(*crowdConn) // nil: another listener's
	return conn
}

type crowdListener struct {
	net.Listener
	crowd *crowd
}

// Accept returns the next connection.
func (l *crowdListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &crowdConn{Conn: c, crowd: l.crowd}, nil
}

// crowdConn looks at the first bytes of a connection: those of RFC 9113 §3.4, which no
// method of HTTP/1 begins with, speak HTTP/2 without TLS.
type crowdConn struct {
	net.Conn
	crowd *crowd
	begin []byte // of what was read, up to preface's length; the reader's

	mu    sync.Mutex
	leave func() // nil: not counted
	past  bool   // it needs no place any more
}

var errCrowded = errors.New("too many connections speak HTTP/2")

// preface is as much of HTTP/2's as tells it.
const preface = "PRI "

// Read is net.Conn's.
func (c *crowdConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if missing := len(preface) - len(c.begin); missing > 0 && n > 0 {
		c.begin = append(c.begin, b[:min(n, missing)]...)
		if bytes.Equal(c.begin, []byte(preface)) && !c.count() {
			return 0, errCrowded
		}
	}
	return n, err
}

// count takes a place among those who speak HTTP/2, or reports that there is none.
func (c *crowdConn) count() bool {
	leave, ok := c.crowd.conns.Enter(c.RemoteAddr())
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave != nil || c.past {
		leave() // it has a place, or needs none any more
		return true
	}
	c.leave = leave
	return true
}

// known gives the connection's place back: whoever has it is no stranger. The connection
// may be nil.
func (c *crowdConn) known() {
	if c == nil {
		return
	}
	c.mu.Lock()
	leave := c.leave
	c.leave, c.past = nil, true
	c.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// Close ends the connection and gives its place back.
func (c *crowdConn) Close() error {
	c.known()
	return c.Conn.Close()
}
