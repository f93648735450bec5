package rtsp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bluenviron/gortsplib/v4"

	"penstock/internal/fault"
)

// What the UDP sockets are like.
const (
	firstPort = 8000 // tried when no port is asked for; RTCP is on the next
	pairTries = 200
	// udpBuffer is asked for each: 100 ms of 50 cameras that send a key frame at once.
	udpBuffer = 4 << 20
	// udpEnough is what all of them need together to lose nothing in such a burst.
	udpEnough = 3 << 20
	// udpNap lets packets gather between two looks at a socket.
	udpNap = 2 * time.Millisecond
	// udpLinger is how long packets are taken after the session's end.
	udpLinger = 20 * time.Millisecond
	// udpBatch packets of up to udpPacket bytes are read with one system call.
	udpBatch  = 64
	udpPacket = 2048
	// udpRounds of batches are more than a buffer holds: small packets take 768 bytes of it.
	udpRounds = 2*udpBuffer/768/udpBatch + 1
)

// udp receives RTP. gortsplib cannot be given a wrapped socket, so it is lent one of
// ours whose reads fail at once: it sends through it and tells its number to peers,
// and everything that arrives is ours.
type udp struct {
	s      *Server
	socks  []*net.UDPConn
	reads  map[*net.UDPConn]*sync.Mutex // held while packets are read and handed on; does not change after bind
	rtcp   *net.UDPConn
	lent   *net.UDPConn
	notice string

	batches sync.Pool // *batch

	mu     sync.RWMutex
	routes map[netip.AddrPort]target
	once   sync.Once
	closed atomic.Bool
}

// target is where the packets of one sender go.
type target struct {
	p     *push
	index int
}

// openUDP binds a pair of ports.
func openUDP(ctx context.Context, s *Server) (*udp, error) {
	host, port := s.c.UDPAddress, ""
	if h, p, err := net.SplitHostPort(s.c.UDPAddress); err == nil {
		host, port = h, p
	} else if s.c.UDPAddress == "" {
		host, _, _ = net.SplitHostPort(s.c.Address)
	}
	u := &udp{s: s, routes: map[netip.AddrPort]target{}}
	if port != "" && port != "0" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 2 || n > 65534 || n%2 != 0 {
			return nil, fault.New(fault.Invalid, "configure rtsp", s.c.UDPAddress, "the port of RTP must be an even number")
		}
		if err := u.bind(ctx, host, n); err != nil {
			return nil, bindError("rtp over udp", s.c.UDPAddress, err)
		}
		return u, nil
	}
	try := firstPort
	var err error
	for range pairTries {
		if port != "0" || try != firstPort {
			if err = u.bind(ctx, host, try); err == nil {
				return u, nil
			}
		}
		if try, err = freePort(ctx, host); err != nil {
			break
		}
	}
	return nil, bindError("rtp over udp", s.c.UDPAddress, err)
}

// freePort asks the system for a port and returns the even one at or below it.
func freePort(ctx context.Context, host string) (int, error) {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port &^ 1, nil
}

// bind opens the sockets of one pair of ports.
func (u *udp) bind(ctx context.Context, host string, port int) (err error) {
	defer func() {
		if err != nil {
			u.release()
		}
	}()
	// A first socket without sharing makes sure that nobody else has the port.
	var lc net.ListenConfig
	probe, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	_ = probe.Close()
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return share(c) }}
	u.reads = map[*net.UDPConn]*sync.Mutex{}
	total := 0
	for range udpSockets {
		c, err := shared.ListenPacket(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		sock := c.(*net.UDPConn)
		u.socks = append(u.socks, sock)
		u.reads[sock] = &sync.Mutex{}
		total += enlarge(sock, udpBuffer)
	}
	c, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(port+1)))
	if err != nil {
		return err
	}
	u.rtcp = c.(*net.UDPConn)
	if u.lent, err = twin(u.socks[0]); err != nil {
		return err
	}
	if total < udpEnough {
		u.notice = fmt.Sprintf("the receive buffers for UDP hold %d KiB in all, and bursts of many cameras need %d: "+
			"run `sysctl -w net.core.rmem_max=%d`, or let cameras use TCP", total>>10, udpEnough>>10, udpBuffer)
	}
	return nil
}

// release closes what bind opened.
func (u *udp) release() {
	for _, c := range u.socks {
		_ = c.Close()
	}
	if u.rtcp != nil {
		_ = u.rtcp.Close()
	}
	if u.lent != nil {
		_ = u.lent.Close()
	}
	u.socks, u.rtcp, u.lent = nil, nil, nil
}

// twin returns a second handle of a socket, which never reads.
func twin(c *net.UDPConn) (*net.UDPConn, error) {
	f, err := c.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	t := pc.(*net.UDPConn)
	return t, t.SetReadDeadline(time.Unix(1, 0))
}

func (u *udp) addr() net.Addr { return u.socks[0].LocalAddr() }

// lend gives the library its sockets.
func (u *udp) lend(l *gortsplib.Server) {
	port := u.addr().(*net.UDPAddr).Port
	l.UDPRTPAddress = ":" + strconv.Itoa(port)
	l.UDPRTCPAddress = ":" + strconv.Itoa(port+1)
	l.ListenPacket = func(_, address string) (net.PacketConn, error) {
		if address == l.UDPRTPAddress {
			return u.lent, nil
		}
		return u.rtcp, nil
	}
}

// route makes packets from an address go to a session.
func (u *udp) route(from netip.AddrPort, t target) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.routes[from] = t
}

func (u *udp) drop(from netip.AddrPort) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.routes, from)
}

// datagram hands one packet on.
func (u *udp) datagram(from netip.AddrPort, packet []byte, arrival time.Time) {
	u.mu.RLock()
	t, ok := u.routes[from]
	u.mu.RUnlock()
	if ok {
		t.p.datagram(t.index, packet, arrival)
	}
}

// run receives until close.
func (u *udp) run() {
	var wg sync.WaitGroup
	for _, c := range u.socks {
		wg.Go(func() { u.receive(c) })
	}
	wg.Wait()
}

// close ends run and releases the ports.
func (u *udp) close() {
	u.once.Do(func() {
		u.closed.Store(true)
		for _, c := range u.socks {
			_ = c.Close()
		}
		_ = u.rtcp.Close()
		_ = u.lent.Close()
	})
}
