package camera

import (
	"net"
	"runtime"
)

// udpBuffer is the receive buffer asked for: a key frame of a 4K camera (1-2 MB) comes
// as one burst, and the kernel's default of 212 kB holds 150 packets.
const udpBuffer = 4 << 20

// ListenPacket opens a socket for media over UDP with as large a receive buffer as
// the machine grants.
func ListenPacket(network, address string) (net.PacketConn, error) {
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if uc, ok := pc.(*net.UDPConn); ok {
		enlarge(uc)
	}
	return pc, nil
}

// enlarge asks for udpBuffer and takes what it is given. With CAP_NET_ADMIN the limit
// of net.core.rmem_max does not bind.
func enlarge(uc *net.UDPConn) {
	if runtime.GOOS == "linux" && force(uc, udpBuffer) {
		return
	}
	for n := udpBuffer; n >= 256<<10; n /= 2 {
		if uc.SetReadBuffer(n) == nil {
			return
		}
	}
}
