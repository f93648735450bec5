package interleaved

import (
	"errors"

	"golang.org/x/sys/unix"
)

// canPoll says that a descriptor can be read without waiting here.
const canPoll = true

// readFD reads what is there; EAGAIN when nothing is.
func readFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func isAgain(err error) bool { return errors.Is(err, unix.EAGAIN) }

// burst is how much must have come before the kernel wakes anyone for a polled
// connection: the poller reads the rest in time, but a large key frame should not
// have to wait for it with a closed window.
const burst = 32 << 10

// quieten tells the kernel to stay silent for little data (SO_RCVLOWAT, socket(7)).
func (c *Conn) quieten(fd uintptr) {
	if !c.lowat && unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, burst) == nil {
		c.lowat = true
	}
}

// loud takes quieten back. The kernel then wakes the reader if data is waiting.
func (c *Conn) loud(fd uintptr) {
	if c.lowat && unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1) == nil {
		c.lowat = false
	}
}
