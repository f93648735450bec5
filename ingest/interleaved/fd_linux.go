package interleaved

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// canPoll says that a descriptor can be read without waiting here.
const canPoll = true

// readFD reads what is there; EAGAIN when nothing is.
func readFD(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func isAgain(err error) bool { return errors.Is(err, unix.EAGAIN) }

func closeFD(fd int) error { return unix.Close(fd) }

// eventsMax is how many ready sockets the kernel names in one call.
const eventsMax = 256

// readiness is an epoll instance of our own (epoll(7)), level-triggered. One call in a
// round says which sockets have data, so those that have none cost nothing.
type readiness struct {
	fd   int
	list []unix.EpollEvent // nil while the poller does not run; then fd is none
}

// begin opens the epoll instance for Run.
func (p *Poller) begin() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = readiness{fd: fd, list: make([]unix.EpollEvent, eventsMax)}
	for s := range p.sockets {
		_ = p.events.set(unix.EPOLL_CTL_ADD, s, unix.EPOLLIN)
	}
	return nil
}

// end closes it.
func (p *Poller) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Close(p.events.fd)
	p.events = readiness{}
}

func (r *readiness) set(op, fd int, what uint32) error {
	if r.list == nil {
		return net.ErrClosed
	}
	return unix.EpollCtl(r.fd, op, fd, &unix.EpollEvent{Events: what, Fd: int32(fd)})
}

func (r *readiness) remove(fd int) {
	if r.list != nil {
		_ = unix.EpollCtl(r.fd, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// adopt makes a descriptor of our own for c and reads it in rounds.
func (p *Poller) adopt(c *Conn) error {
	fd, dupErr := -1, error(nil)
	err := c.raw.Control(func(of uintptr) { fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.events.list != nil { // else Run adds it
		if err := p.events.set(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			_ = unix.Close(fd)
			return os.NewSyscallError("epoll_ctl", err)
		}
	}
	s := newSocket(fd)
	c.socket.Store(s)
	p.sockets[fd] = c
	if len(p.sockets) == 1 {
		p.rouse()
	}
	return nil
}

// round reads all sockets that have data and appends those that had much to hot.
func (p *Poller) round(hot []*Conn, buf []byte, now time.Time) []*Conn {
	p.mu.Lock()
	most := len(p.sockets)/eventsMax + 1
	p.mu.Unlock()
	for range most {
		n, err := unix.EpollWait(p.events.fd, p.events.list, 0)
		if err != nil {
			break // EINTR: in the next round
		}
		for _, e := range p.events.list[:n] {
			if c := p.reach(e); c != nil && c.look(c.socket.Load(), buf, now) >= burst {
				hot = append(hot, c)
			}
		}
		if n < eventsMax {
			break
		}
	}
	return hot
}

// reach is the connection that an event is about; nil: it was closed meanwhile, or only
// its writer is meant.
func (p *Poller) reach(e unix.EpollEvent) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.sockets[int(e.Fd)]
	if c == nil {
		return nil
	}
	if e.Events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		_ = p.events.set(unix.EPOLL_CTL_MOD, int(e.Fd), unix.EPOLLIN)
		signal(c.socket.Load().writable)
	}
	return c
}

// write sends all of b; deadline is in ns since 1970, 0: none.
func (p *Poller) write(s *socket, b []byte, deadline int64) (sent int, err error) {
	if !s.hold() {
		return 0, net.ErrClosed
	}
	defer s.release()
	for sent < len(b) {
		n, err := unix.Write(s.fd, b[sent:])
		sent += max(n, 0)
		switch {
		case err == nil, err == unix.EINTR:
		case isAgain(err):
			p.mu.Lock()
			err = p.events.set(unix.EPOLL_CTL_MOD, s.fd, unix.EPOLLIN|unix.EPOLLOUT)
			p.mu.Unlock()
			if err == nil {
				err = s.until(deadline)
			}
			if err != nil {
				return sent, err
			}
		default:
			return sent, os.NewSyscallError("write", err)
		}
	}
	return sent, nil
}
