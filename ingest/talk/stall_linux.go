package talk

import (
	"context"
	"net"

	"golang.org/x/sys/unix"

	"penstock/internal/host"
)

// stallMost is how long a camera may leave what it was sent unacknowledged, in
// milliseconds. Nothing else tells that it is gone: it sends nothing while it listens.
const stallMost = 8000

// bounded makes connections break that the other side has left.
func bounded(dial host.Dial) host.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if tc, ok := c.(*net.TCPConn); ok && err == nil {
			if raw, err := tc.SyscallConn(); err == nil {
				// Where the kernel refuses, it finds out by itself, minutes later.
				_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, stallMost) })
			}
		}
		return c, err
	}
}
