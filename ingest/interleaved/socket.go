package interleaved

import (
	"net"
	"os"
	"sync"
	"time"
)

// socket is a connection's descriptor that the Go runtime does not know: its own notices,
// one for each packet, would cost more than the reads.
type socket struct {
	fd       int
	ready    chan struct{} // Read has something to look at
	writable chan struct{} // a Write that waited may go on
	done     chan struct{} // closed

	mu     sync.Mutex
	users  int // calls that use fd now
	closed bool
}

func newSocket(fd int) *socket {
	return &socket{fd: fd, ready: make(chan struct{}, 1), writable: make(chan struct{}, 1), done: make(chan struct{})}
}

// hold keeps fd open until release; false: it was closed.
func (s *socket) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.users++
	return true
}

func (s *socket) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.closed && s.users == 0 {
		_ = closeFD(s.fd)
	}
}

// close closes fd, or lets the last who uses it do so.
func (s *socket) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	close(s.done)
	if s.users == 0 {
		return closeFD(s.fd)
	}
	return nil
}

// tell makes Read look.
func (s *socket) tell() { signal(s.ready) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait returns when Read has something to look at.
func (s *socket) wait() error {
	select {
	case <-s.ready:
		return nil
	case <-s.done:
		return net.ErrClosed
	}
}

// until returns when s is writable; an error when the deadline, ns since 1970 by the
// system's clock, which the library reads, passed or s was closed. 0: there is none.
func (s *socket) until(deadline int64) error {
	var late <-chan time.Time
	if deadline != 0 {
		timer := time.NewTimer(time.Until(time.Unix(0, deadline)))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-s.writable:
		return nil
	case <-s.done:
		return net.ErrClosed
	case <-late:
		return os.ErrDeadlineExceeded
	}
}
