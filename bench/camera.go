package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is what every camera of a run sends.
type load struct {
	bitrate int // bits/s of video
	fps     int
	gop     int // frames
	audio   bool
}

const (
	clockRate  = 90000
	audioRate  = 48000
	audioFrame = 1024 // samples of one AAC frame
	audioBytes = 170  // 64 kbit/s
	payloadMax = 1400
)

// Parameter sets of a 1080p25 Main profile stream.
var (
	sps = unbase64("Z01AKNoB4AiflwEQAAADABAAAAMDLgYAAyWoAAW42mogB4wZUA==")
	pps = unbase64("aO88gA==")
)

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// unit is one access unit as interleaved RTP packets, ready to send but for sequence
// numbers and timestamps.
type unit struct {
	wire    []byte
	packets []int // offset of each packet's RTP header
}

// film is one GOP, shared by all cameras: the server never decodes it.
type film struct {
	video []unit
	audio unit
}

// newFilm makes a GOP whose key frame is eight times the size of the others.
func newFilm(l load) film {
	rng := rand.New(rand.NewPCG(1, 2))
	perGOP := l.bitrate / 8 * l.gop / l.fps
	p := perGOP / (l.gop + 7)
	var f film
	for i := range l.gop {
		size, header := p, byte(0x41)
		var nals [][]byte
		if i == 0 {
			size, header = 8*p, 0x65
			nals = append(nals, sps, pps)
		}
		nal := make([]byte, size)
		for k := range nal {
			nal[k] = byte(rng.Uint32()) | 1 // no emulation prevention needed
		}
		nal[0] = header
		f.video = append(f.video, packetize(append(nals, nal)))
	}
	au := make([]byte, 4+audioBytes)
	binary.BigEndian.PutUint16(au, 16)
	binary.BigEndian.PutUint16(au[2:], audioBytes<<3)
	f.audio = unit{wire: frame(2, 97, true, au), packets: []int{4}}
	return f
}

func frame(channel, payloadType byte, marker bool, payload []byte) []byte {
	b := make([]byte, 16, 16+len(payload))
	b[0], b[1] = '$', channel
	binary.BigEndian.PutUint16(b[2:], uint16(12+len(payload)))
	b[4], b[5] = 0x80, payloadType
	if marker {
		b[5] |= 0x80
	}
	return append(b, payload...)
}

// packetize is RFC 6184: small NAL units alone, large ones as FU-A.
func packetize(nals [][]byte) unit {
	var u unit
	add := func(last bool, payload []byte) {
		u.packets = append(u.packets, len(u.wire)+4)
		u.wire = append(u.wire, frame(0, 96, last, payload)...)
	}
	for i, nal := range nals {
		final := i == len(nals)-1
		if len(nal) <= payloadMax {
			add(final, nal)
			continue
		}
		rest, first := nal[1:], byte(0x80)
		for len(rest) > 0 {
			n := min(len(rest), payloadMax-2)
			end := byte(0)
			if n == len(rest) {
				end = 0x40
			}
			add(final && end != 0, append([]byte{nal[0]&0xe0 | 28, nal[0]&0x1f | first | end}, rest[:n]...))
			rest, first = rest[n:], 0
		}
	}
	return u
}

// sent counts what all cameras of a run handed to the kernel.
type sent struct {
	bytes, packets, late, errors atomic.Int64
	live                         atomic.Int64
}

// camera is one RTSP producer over TCP.
type camera struct {
	film film
	load load
	st   *sent
	scr  []byte
}

func (c *camera) run(ctx context.Context, address, path, auth string, phase time.Duration) error {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := c.announce(conn, "rtsp://"+address+"/"+path, auth); err != nil {
		return err
	}
	c.st.live.Add(1)
	defer c.st.live.Add(-1)
	go func() { _, _ = io.Copy(io.Discard, conn) }() // receiver reports
	return c.send(ctx, conn, phase)
}

// announce is OPTIONS to RECORD, by hand: the generator must cost little.
func (c *camera) announce(conn net.Conn, address, auth string) error {
	br := bufio.NewReader(conn)
	cseq, session := 0, ""
	do := func(method, uri, extra, body string) error {
		cseq++
		req := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n%s%s%s", method, uri, cseq, auth, session, extra)
		if body != "" {
			req += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
		}
		if _, err := io.WriteString(conn, req+"\r\n"+body); err != nil {
			return err
		}
		status, err := br.ReadString('\n')
		if err != nil {
			return err
		}
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return err
			}
			if line = strings.TrimSpace(line); line == "" {
				break
			}
			if k, v, _ := strings.Cut(line, ":"); strings.EqualFold(k, "session") {
				id, _, _ := strings.Cut(strings.TrimSpace(v), ";")
				session = "Session: " + id + "\r\n"
			}
		}
		if !strings.Contains(status, " 200 ") {
			return errors.New(method + ": " + strings.TrimSpace(status))
		}
		return nil
	}
	sdp := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=bench\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
		"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=" +
		base64.StdEncoding.EncodeToString(sps) + "," + base64.StdEncoding.EncodeToString(pps) + "\r\na=control:trackID=0\r\n"
	if c.load.audio {
		sdp += "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/1\r\na=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188\r\na=control:trackID=1\r\n"
	}
	if err := do("ANNOUNCE", address, "", sdp); err != nil {
		return err
	}
	if err := do("SETUP", address+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n", ""); err != nil {
		return err
	}
	if c.load.audio {
		if err := do("SETUP", address+"/trackID=1", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record\r\n", ""); err != nil {
			return err
		}
	}
	return do("RECORD", address, "", "")
}

// send plays the film for ever, each unit in one write at its time.
func (c *camera) send(ctx context.Context, conn net.Conn, phase time.Duration) error {
	if !sleep(ctx, phase) {
		return nil
	}
	begin := time.Now()
	var seq [2]uint16
	for v, a := int64(0), int64(0); ; {
		dueV := time.Duration(v) * time.Second / time.Duration(c.load.fps)
		dueA := time.Duration(a) * time.Second * audioFrame / audioRate
		u, track, ticks, due := &c.film.video[v%int64(len(c.film.video))], 0, v*clockRate/int64(c.load.fps), dueV
		if c.load.audio && dueA < dueV {
			u, track, ticks, due = &c.film.audio, 1, a*audioFrame, dueA
			a++
		} else {
			v++
		}
		late := time.Since(begin) - due
		if late < 0 && !sleep(ctx, -late) {
			return nil
		}
		if late > time.Second/2 {
			c.st.late.Add(1)
		}
		c.scr = append(c.scr[:0], u.wire...)
		for _, at := range u.packets {
			binary.BigEndian.PutUint16(c.scr[at+2:], seq[track])
			binary.BigEndian.PutUint32(c.scr[at+4:], uint32(ticks))
			seq[track]++
		}
		if _, err := conn.Write(c.scr); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.st.bytes.Add(int64(len(c.scr)))
		c.st.packets.Add(int64(len(u.packets)))
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fleet runs n cameras against an address until ctx ends.
func fleet(ctx context.Context, n int, l load, address, auth string, st *sent) error {
	f := newFilm(l)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for i := range n {
		wg.Go(func() {
			c := &camera{film: f, load: l, st: st}
			phase := time.Duration(i) * time.Second * time.Duration(l.gop) / time.Duration(l.fps) / time.Duration(n)
			if err := c.run(ctx, address, fmt.Sprintf("cam%d", i), auth, phase); err != nil {
				st.errors.Add(1)
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
