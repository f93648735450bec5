package loadgen

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"penstock/internal/host"
)

// Sent counts what all cameras of a run handed to the kernel.
type Sent struct {
	Bytes, Packets, Units atomic.Int64
	Late                  atomic.Int64 // units that were sent half a second late or more: the generator does not keep up
	Live                  atomic.Int64 // cameras that were let in and send
	Accepted, Errors      atomic.Int64 // cameras that were let in; that ended in an error
}

// Fleet is cameras that push to one server.
type Fleet struct {
	Cameras int
	Load    Load
	Address string           // of RTSP: host and port
	Auth    string           // a header line that ends in CR LF, or nothing
	Name    func(int) string // of a camera's stream
	Dial    host.Dial        // nil: TCP
}

// Run lets all cameras send until ctx ends, and returns the first error there was.
func (f Fleet) Run(ctx context.Context, st *Sent) error {
	if f.Dial == nil {
		f.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	reel := newFilm(f.Load)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for i := range f.Cameras {
		wg.Go(func() {
			c := &camera{fleet: f, film: reel, load: f.Load, st: st}
			phase := time.Duration(i) * time.Second * time.Duration(f.Load.GOP) / time.Duration(f.Load.FPS) / time.Duration(f.Cameras)
			if err := c.run(ctx, f.Name(i), phase); err != nil && ctx.Err() == nil {
				st.Errors.Add(1)
				mu.Lock()
				if first == nil {
					first = fmt.Errorf("camera %d: %w", i, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// camera is one RTSP producer.
type camera struct {
	fleet Fleet
	film  film
	load  Load
	st    *Sent
	scr   []byte
	udp   [2]udpTrack // when RTP goes there
}

// udpTrack is where a track's packets come from and go to.
type udpTrack struct {
	from *net.UDPConn
	to   *net.UDPAddr
}

func (c *camera) run(ctx context.Context, path string, phase time.Duration) error {
	conn, err := c.fleet.Dial(ctx, "tcp", c.fleet.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() {
		for _, u := range c.udp {
			if u.from != nil {
				_ = u.from.Close() // what was sent is sent
			}
		}
	}()
	br := bufio.NewReader(conn)
	if err := c.announce(conn, br, "rtsp://"+c.fleet.Address+"/"+path); err != nil {
		return err
	}
	c.st.Accepted.Add(1)
	c.st.Live.Add(1)
	defer c.st.Live.Add(-1)
	gone := make(chan struct{})
	go func() { // receiver reports, and the end
		_, _ = io.Copy(io.Discard, br)
		close(gone)
	}()
	defer func() { _ = conn.Close(); <-gone }()
	return c.send(ctx, conn, gone, phase)
}

// announce is ANNOUNCE to RECORD.
func (c *camera) announce(conn net.Conn, br *bufio.Reader, address string) error {
	t := &talk{conn: conn, br: br, auth: c.fleet.Auth}
	sps, pps := parameterSets()
	sdp := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=bench\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
		"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=" +
		base64.StdEncoding.EncodeToString(sps) + "," + base64.StdEncoding.EncodeToString(pps) + "\r\na=control:trackID=0\r\n"
	tracks := 1
	if c.load.Audio {
		sdp += "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/1\r\na=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188\r\na=control:trackID=1\r\n"
		tracks = 2
	}
	if _, err := t.do("ANNOUNCE", address, "", sdp); err != nil {
		return err
	}
	for i := range tracks {
		if err := c.setup(t, address, i); err != nil {
			return err
		}
	}
	_, err := t.do("RECORD", address, "", "")
	return err
}

// setup asks for a track to be taken, over the connection or by UDP.
func (c *camera) setup(t *talk, address string, track int) error {
	uri := address + "/trackID=" + strconv.Itoa(track)
	if !c.load.UDP {
		_, err := t.do("SETUP", uri, fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d;mode=record\r\n", 2*track, 2*track+1), "")
		return err
	}
	from, ok := t.conn.LocalAddr().(*net.TCPAddr)
	to, ok2 := t.conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return errors.New("RTP by UDP needs a TCP connection")
	}
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: from.IP, Zone: from.Zone})
	if err != nil {
		return err
	}
	c.udp[track].from = u
	local := u.LocalAddr().(*net.UDPAddr)
	// Nothing comes back on the port of RTCP that matters, so nobody listens there.
	if _, err = t.do("SETUP", uri, fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d;mode=record\r\n", local.Port, local.Port+1), ""); err != nil {
		return err
	}
	port, err := t.serverPort()
	c.udp[track].to = &net.UDPAddr{IP: to.IP, Port: port, Zone: to.Zone}
	return err
}

// errGone is a server that hung up.
var errGone = errors.New("the server ended the session")

// send plays the film for ever, each unit in one write at its time.
func (c *camera) send(ctx context.Context, conn net.Conn, gone <-chan struct{}, phase time.Duration) error {
	if !Sleep(ctx, phase) {
		return nil
	}
	begin := time.Now()
	var seq [2]uint16
	for v, a := int64(0), int64(0); ; {
		select {
		case <-gone:
			return errGone
		default:
		}
		dueV := time.Duration(v) * time.Second / time.Duration(c.load.FPS)
		dueA := time.Duration(a) * time.Second * audioFrame / audioRate
		u, track, ticks, due := &c.film.video[v%int64(len(c.film.video))], 0, v*clockRate/int64(c.load.FPS), dueV
		if c.load.Audio && dueA < dueV {
			u, track, ticks, due = &c.film.audio, 1, a*audioFrame, dueA
			a++
		} else {
			v++
		}
		late := time.Since(begin) - due
		if late < 0 && !Sleep(ctx, -late) {
			return nil
		}
		if late > time.Second/2 {
			c.st.Late.Add(1)
		}
		c.scr = append(c.scr[:0], u.wire...)
		for _, at := range u.packets {
			binary.BigEndian.PutUint16(c.scr[at+2:], seq[track])
			binary.BigEndian.PutUint32(c.scr[at+4:], uint32(ticks))
			seq[track]++
		}
		if err := c.hand(conn, track, u.packets); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.st.Bytes.Add(int64(len(c.scr)))
		c.st.Packets.Add(int64(len(u.packets)))
		c.st.Units.Add(1)
	}
}

// hand gives c.scr to the kernel: at once, or its packets one by one.
func (c *camera) hand(conn net.Conn, track int, packets []int) error {
	u := c.udp[track]
	if u.from == nil {
		_, err := conn.Write(c.scr)
		return err
	}
	for _, at := range packets {
		n := int(binary.BigEndian.Uint16(c.scr[at-2:]))
		if _, err := u.from.WriteToUDP(c.scr[at:at+n], u.to); err != nil {
			return err
		}
	}
	return nil
}
