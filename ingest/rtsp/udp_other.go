//go:build !linux

package rtsp

import (
	"net"
	"net/netip"
	"syscall"
)

// udpSockets is 1: sharing a port is Linux's.
const udpSockets = 1

func share(syscall.RawConn) error { return nil }

// enlarge asks for a receive buffer of n bytes and trusts that it was given.
func enlarge(c *net.UDPConn, n int) int {
	if c.SetReadBuffer(n) != nil {
		return 0
	}
	return n
}

// drain is receive's work here, within udpLinger.
func (*udp) drain() {}

// receive reads packets of one socket until it is closed.
func (u *udp) receive(c *net.UDPConn) {
	b := make([]byte, udpPacket)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		u.datagram(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), b[:n], u.s.c.Clock.Now())
	}
}
