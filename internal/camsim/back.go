package camsim

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/aler9/gortsplib"
	"github.com/aler9/gortsplib/pkg/base"
	"github.com/aler9/gortsplib/pkg/headers"
	"github.com/pion/rtp"
)

// requireBack is what a client asks for that wants to be heard (ONVIF Streaming §5.3).
const requireBack = "www.onvif.org/ver20/backchannel"

// Back is the codec of a camera's back channel, as its SDP names it.
type Back string

// The back channels that a camera here can offer; it hears the first two.
const (
	PCMU     Back = "PCMU/8000"
	PCMA     Back = "PCMA/8000"
	PCMU16k  Back = "PCMU/16000"
	G726     Back = "G726-32/8000"
	BackAAC  Back = "MPEG4-GENERIC/16000/1"
	backMime      = 98 // payload type of all that have none of their own
)

// payload is the RTP payload type.
func (b Back) payload() int {
	switch b {
	case PCMU:
		return 0
	case PCMA:
		return 8
	}
	return backMime
}

// section is the m= section that only those are shown who ask for it.
func (b Back) section(track int) string {
	s := fmt.Sprintf("m=audio 0 RTP/AVP %d\r\na=control:trackID=%d\r\na=rtpmap:%d %s\r\na=sendonly\r\n", b.payload(), track, b.payload(), b)
	if b == BackAAC {
		s += fmt.Sprintf("a=fmtp:%d streamtype=5;mode=AAC-hbr;config=1408;sizelength=13;indexlength=3;indexdeltalength=3\r\n", b.payload())
	}
	return s
}

// asksBack reports whether a request has the Require header of back channels.
func asksBack(req *base.Request) bool {
	for _, v := range req.Header["Require"] {
		if strings.Contains(v, requireBack) {
			return true
		}
	}
	return false
}

// describeBack is the answer to DESCRIBE of a camera with a loudspeaker: the back channel
// is the last track, and hidden from those who do not ask for it.
func (s *Server) describeBack(req *base.Request, st *gortsplib.ServerStream) *base.Response {
	tracks := st.Tracks()
	res := status(base.StatusOK)
	res.Body = tracks[:len(tracks)-1].Marshal(false)
	if asksBack(req) {
		res.Body = append(res.Body, s.conf.Back.section(len(tracks)-1)...)
	}
	return res
}

// backTrack reports whether track is the loudspeaker.
func (s *Server) backTrack(track int) bool {
	return s.conf.Back != "" && track == len(s.conf.Material.Tracks())
}

// onlyBack reports whether a session wants to be heard and to see nothing.
func (s *Server) onlyBack(ss *gortsplib.ServerSession) bool {
	tracks := ss.SetuppedTracks()
	return len(tracks) == 1 && tracks[len(s.conf.Material.Tracks())] != nil
}

// loudspeaker takes what comes over the back channels of a server. The RTSP library drops
// what a session that plays is sent, so this listens below it: at the connections, and
// over UDP with a socket of its own.
type loudspeaker struct {
	say     func(*rtp.Packet)
	payload uint8
	udp     net.PacketConn // nil: no UDP
	rtcp    net.PacketConn
	wg      sync.WaitGroup

	mu sync.Mutex // guards say, and what is below
	at map[*gortsplib.ServerConn]bool
}

func newLoudspeaker(b Back, host string, udp bool, say func(*rtp.Packet)) (*loudspeaker, error) {
	l := &loudspeaker{say: say, payload: uint8(b.payload()), at: map[*gortsplib.ServerConn]bool{}}
	if !udp {
		return l, nil
	}
	port, err := freePair(host)
	if err != nil {
		return nil, err
	}
	if l.udp, err = net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
		return nil, err
	}
	if l.rtcp, err = net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port+1))); err != nil {
		l.udp.Close()
		return nil, err
	}
	l.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := l.udp.ReadFrom(buf)
			if err != nil {
				return
			}
			l.hear(buf[:n])
		}
	})
	return l, nil
}

func (l *loudspeaker) close() {
	if l.udp != nil {
		l.udp.Close()
		l.rtcp.Close()
	}
	l.wg.Wait()
}

// hear plays one packet, if it is one of the codec.
func (l *loudspeaker) hear(data []byte) {
	var p rtp.Packet
	if p.Unmarshal(bytes.Clone(data)) != nil || p.PayloadType != l.payload || len(p.Payload) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.say != nil {
		l.say(&p)
	}
}

// OnRequest notes which connections set the loudspeaker up.
func (h handler) OnRequest(c *gortsplib.ServerConn, req *base.Request) {
	l := h.s.speaker
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[c] = req.Method == base.Setup && strings.HasSuffix(req.URL.Path, "trackID="+strconv.Itoa(len(h.s.conf.Material.Tracks())))
}

// OnResponse sends what is said over UDP to the loudspeaker's own socket.
func (h handler) OnResponse(c *gortsplib.ServerConn, res *base.Response) {
	l := h.s.speaker
	if l == nil || l.udp == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var th headers.Transport
	if !l.at[c] || th.Unmarshal(res.Header["Transport"]) != nil || th.ServerPorts == nil {
		return
	}
	port := l.udp.LocalAddr().(*net.UDPAddr).Port
	th.ServerPorts = &[2]int{port, port + 1}
	res.Header["Transport"] = th.Marshal()
}

// OnConnClose forgets a connection.
func (h handler) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	if l := h.s.speaker; l != nil {
		l.mu.Lock()
		delete(l.at, ctx.Conn)
		l.mu.Unlock()
	}
}

// listener puts an ear on each connection.
type listener struct {
	net.Listener
	l *loudspeaker
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &ear{Conn: c, l: l.l}, nil
}

// ear hears the interleaved frames (RFC 2326 §10.12) that a connection reads, which it
// leaves as they are.
type ear struct {
	net.Conn
	l   *loudspeaker
	buf []byte
}

// Read reads from the connection.
func (e *ear) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	e.buf = append(e.buf, b[:n]...)
	for e.next() {
	}
	return n, err
}

// next takes one frame or request from the buffer.
func (e *ear) next() bool {
	if len(e.buf) >= 4 && e.buf[0] == '$' {
		n := 4 + int(e.buf[2])<<8 + int(e.buf[3])
		if len(e.buf) < n {
			return false
		}
		if e.buf[1]%2 == 0 {
			e.l.hear(e.buf[4:n])
		}
		e.buf = e.buf[n:]
		return true
	}
	head, _, found := bytes.Cut(e.buf, []byte("\r\n\r\n"))
	if !found || e.buf[0] == '$' {
		return false
	}
	size := len(head) + 4
	for line := range strings.Lines(string(head)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Content-Length") {
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				size += n
			}
		}
	}
	if len(e.buf) < size {
		return false
	}
	e.buf = e.buf[size:]
	return true
}
