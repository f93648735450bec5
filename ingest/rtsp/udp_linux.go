package rtsp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpSockets share the RTP port (SO_REUSEPORT): the kernel spreads senders over them,
// each with its own buffer, so that a burst of many cameras finds room even where the
// limit of one buffer cannot be raised.
const udpSockets = 16

// share lets sockets of this process bind one port.
func share(c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); e != nil {
		return e
	}
	return err
}

// enlarge asks for a receive buffer of n bytes, past net.core.rmem_max where we are
// allowed to, and returns what the kernel gave.
func enlarge(c *net.UDPConn, n int) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	got := 0
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, n)
		}
		got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return got
}

// mmsghdr is struct mmsghdr of recvmmsg(2). Go pads it as C does, on 32 bits and on 64.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// batch is what one recvmmsg fills.
type batch struct {
	heads [udpBatch]mmsghdr
	iovs  [udpBatch]unix.Iovec
	names [udpBatch]unix.RawSockaddrInet6 // large enough for IPv4 as well
	data  []byte
}

func newBatch() *batch {
	b := &batch{data: make([]byte, udpBatch*udpPacket)}
	for i := range b.heads {
		b.iovs[i].Base = &b.data[i*udpPacket]
		b.iovs[i].SetLen(udpPacket)
		h := &b.heads[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
	return b
}

// receive reads packets of one socket until it is closed. It stays inside one call of
// RawConn.Read, so no notice of the kernel is lost; after each batch it naps, so that
// a busy socket costs some hundred system calls a second and not one for each packet.
func (u *udp) receive(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		// Only while packets come: a server whose cameras use TCP has no memory in this.
		b, _ := u.batches.Get().(*batch)
		if b == nil {
			b = newBatch()
		}
		defer u.batches.Put(b)
		for {
			n := u.take(c, b, int(fd))
			if n <= 0 || u.closed.Load() {
				return n > 0
			}
			if n < udpBatch {
				time.Sleep(udpNap)
			}
		}
	})
}

// take hands on the next packets that c holds and returns how many they were; 0 or less:
// there was none. One call at a time, which keeps a sender's packets in order.
func (u *udp) take(c *net.UDPConn, b *batch, fd int) int {
	lock := u.reads[c]
	lock.Lock()
	defer lock.Unlock()
	n := b.read(fd)
	if n <= 0 {
		return n
	}
	now := u.s.c.Clock.Now()
	for i := range n {
		if m := &b.heads[i]; m.hdr.Flags&unix.MSG_TRUNC == 0 {
			u.datagram(b.from(i), b.data[i*udpPacket:][:m.n], now)
		}
	}
	return n
}

// drain hands on what has arrived by now, however late receive is.
func (u *udp) drain() {
	b, _ := u.batches.Get().(*batch)
	if b == nil {
		b = newBatch()
	}
	defer u.batches.Put(b)
	for _, c := range u.socks {
		raw, err := c.SyscallConn()
		if err != nil {
			continue
		}
		_ = raw.Control(func(fd uintptr) { // fails when it is closed: nothing is left then
			for range udpRounds {
				if u.take(c, b, int(fd)) < udpBatch {
					return
				}
			}
		})
	}
}

// read fills the batch with what is there; 0 or less: nothing was.
func (b *batch) read(fd int) int {
	for i := range b.heads {
		b.heads[i].hdr.Namelen = uint32(unsafe.Sizeof(b.names[i]))
		b.heads[i].hdr.Flags = 0
	}
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.heads[0])),
			udpBatch, unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n)
		case unix.EINTR:
			continue
		}
		return -1
	}
}

// from is the sender of packet i.
func (b *batch) from(i int) netip.AddrPort {
	sa := &b.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	if sa.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port)
}
