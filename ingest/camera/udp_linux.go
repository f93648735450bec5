package camera

import (
	"net"

	"golang.org/x/sys/unix"
)

// force sets the receive buffer beyond the machine's limit; it needs CAP_NET_ADMIN.
func force(uc *net.UDPConn, size int) bool {
	raw, err := uc.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) {
		ok = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil
	})
	return err == nil && ok
}

// Granted returns the receive buffer that the machine gave, in bytes of payload.
func Granted(uc *net.UDPConn) (int, error) {
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var size int
	var get error
	err = raw.Control(func(fd uintptr) {
		size, get = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	if err == nil {
		err = get
	}
	return size / 2, err // the kernel doubles the number for its own needs (socket(7))
}
