// Package deadline makes the deadlines of connections cheap, and the look-out of net/http
// for clients that leave.
//
// net/http sets some ten deadlines for each request, seconds ahead, and takes them back a
// moment later. Each costs the runtime two looks at the clock and a change of a timer. A
// Conn remembers what was asked for and leaves the timer alone while it stands for an
// earlier time: when that comes, the timer is set anew and whoever reads or writes goes
// on, noticing nothing. A deadline that is earlier than the timer's acts at once.
package deadline

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Listen returns l with connections whose deadlines are cheap: each is a *Conn.
func Listen(l net.Listener) net.Listener { return &listener{l} }

type listener struct{ net.Listener }

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return New(c), nil
}

// Conn is a connection whose deadlines act as those of any net.Conn.
type Conn struct {
	net.Conn
	read, write limit

	brief  atomic.Bool // the last request was answered at once
	unseen atomic.Bool // the next look-out is to be left out
}

// New returns c with cheap deadlines.
func New(c net.Conn) *Conn { return &Conn{Conn: c} }

// limit is the deadline of one direction. Zero times are none.
type limit struct {
	mu  sync.Mutex
	due time.Time // what was asked for
	set time.Time // what the connection beneath was told: due, or an earlier time
}

// ask takes note of a deadline, and tells the connection beneath of one that is earlier
// than what it knows.
func (l *limit) ask(due time.Time, tell func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = due
	if due.Equal(l.set) || !l.set.IsZero() && (due.IsZero() || due.After(l.set)) {
		return nil
	}
	l.set = due
	return tell(due)
}

// passed reports whether the deadline that ended a call is the one that was asked for. Of
// an earlier one the connection is told the right one, and the call is to be made again.
func (l *limit) passed(tell func(time.Time) error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.due.IsZero() && !time.Now().Before(l.due) {
		return true
	}
	l.set = l.due
	return tell(l.due) != nil
}

// Read is that of net.Conn, except when Unwatch was called.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.unseen.CompareAndSwap(true, false) {
		return 0, nil
	}
	for {
		n, err := c.Conn.Read(p)
		if err == nil || n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.read.passed(c.Conn.SetReadDeadline) {
			return n, err
		}
	}
}

// Write is that of net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	for sent := 0; ; {
		n, err := c.Conn.Write(p[sent:])
		sent += n
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || c.write.passed(c.Conn.SetWriteDeadline) {
			return sent, err
		}
	}
}

// SetReadDeadline is that of net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.read.ask(t, c.Conn.SetReadDeadline) }

// SetWriteDeadline is that of net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.write.ask(t, c.Conn.SetWriteDeadline) }

// SetDeadline is that of net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SyscallConn lends the socket underneath to those who poll it.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Unwatch tells that the request under way, over HTTP/1.1, will be answered in a moment.
// Once it has a body, net/http starts to read one byte, to learn whether the client leaves
// meanwhile, and to answer it breaks that read off: a goroutine, a system call, two
// deadlines and two switches. The first read of one byte after Unwatch returns (0, nil)
// instead, as an io.Reader may, and net/http watches no more until the next request.
//
// A connection whose last request took long is watched all the same: when a disk stalls,
// clients that gave up are noticed from their next request on. Unwatch of nil does
// nothing.
func (c *Conn) Unwatch() {
	if c != nil && c.brief.Load() {
		c.unseen.Store(true)
	}
}

// Answered ends what Unwatch began; brief: the request was answered in a moment.
func (c *Conn) Answered(brief bool) {
	if c != nil {
		c.unseen.Store(false)
		c.brief.Store(brief)
	}
}

type key struct{}

// NewContext returns ctx with c, if c is a *Conn. It fits http.Server.ConnContext.
func NewContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*Conn); ok {
		return context.WithValue(ctx, key{}, c)
	}
	return ctx
}

// FromContext returns the connection that NewContext put there; nil: none. Over TLS there
// is none: net/http reads from what is decrypted.
func FromContext(ctx context.Context) *Conn {
	c, _ := ctx.Value(key{}).(*Conn)
	return c
}
