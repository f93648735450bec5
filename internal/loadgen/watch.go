package loadgen

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"penstock/internal/host"
)

// Arrival is media that a viewer has in hand.
type Arrival struct {
	Key   bool      // it begins with, or is the rest of, a key frame: a decoder can start here
	Bytes int       // that came since the one before
	Media bool      // false: only words, such as a playlist
	Made  time.Time // when its first picture was made, or came to the server; zero: it does not tell
}

// Viewer is how to get at a server's live streams. It may be used by many viewers at once.
type Viewer struct {
	HTTP   string           // http://host:port
	Token  string           // bearer token; "": none is sent
	Client *http.Client     // for HTTP; nil: one of its own
	Socket websocket.Dialer // for WebSocket
	RTSP   string           // host:port
	Auth   string           // header line of RTSP that ends in CR LF, or nothing
	Dial   host.Dial        // of RTSP; nil: TCP
}

// PlayRTSP plays over TCP, from a DESCRIBE on, until seen says that it is enough, or ctx
// ends, which is an error.
func (v Viewer) PlayRTSP(ctx context.Context, path string, seen func(Arrival) bool) error {
	dial := v.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", v.RTSP)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c := &talk{conn: conn, br: bufio.NewReaderSize(conn, 64<<10), auth: v.Auth}
	address := "rtsp://" + v.RTSP + "/" + path
	sdp, err := c.do("DESCRIBE", address, "Accept: application/sdp\r\n", "")
	if err != nil {
		return err
	}
	control, clock := videoOf(sdp)
	if !strings.HasPrefix(control, "rtsp://") {
		control = address + "/" + control
	}
	if _, err := c.do("SETUP", control, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""); err != nil {
		return err
	}
	if _, err := c.do("PLAY", address+"/", "Range: npt=0.000-\r\n", ""); err != nil {
		return err
	}
	return (&packets{talk: c, clock: clock}).read(seen)
}

// videoOf finds the first video's control address and clock.
func videoOf(sdp string) (control string, clock uint32) {
	clock, video := clockRate, false
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "m=") {
			video = strings.HasPrefix(line, "m=video")
		}
		if v, ok := strings.CutPrefix(line, "a=control:"); ok && video && control == "" {
			control = v
		}
		if _, v, ok := strings.Cut(line, "a=rtpmap:"); ok && video {
			if parts := strings.Split(v, "/"); len(parts) > 1 {
				if n, err := strconv.ParseUint(parts[1], 10, 32); err == nil && n > 0 {
					clock = uint32(n)
				}
			}
		}
	}
	return control, clock
}

// packets reads interleaved RTP of H.264, and what sender reports say of its time.
type packets struct {
	*talk
	clock uint32
	told  time.Time // the instant that a report named
	at    uint32    // the timestamp that it is of
}

// read hands on whole pictures.
func (c *packets) read(seen func(Arrival) bool) error {
	var head [4]byte
	buf := make([]byte, 1<<16)
	size, key := 0, false
	for {
		if err := c.frame(&head, buf); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head[2:]))
		size += 4 + n
		if head[1] == 1 {
			c.report(buf[:n])
		}
		if head[0] != '$' || head[1] != 0 || n < 14 {
			continue
		}
		typ := buf[12] & 0x1f
		key = key || typ == 5 || typ == 28 && buf[13]&0x9f == 0x85
		if buf[1]&0x80 == 0 {
			continue
		}
		if !seen(Arrival{Key: key, Bytes: size, Media: true, Made: c.when(binary.BigEndian.Uint32(buf[4:]))}) {
			return nil
		}
		size, key = 0, false
	}
}

func (c *packets) frame(head *[4]byte, buf []byte) error {
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(c.br, buf[:binary.BigEndian.Uint16(head[2:])])
	return err
}

// report takes the time of a sender report (RFC 3550 §6.4.1).
func (c *packets) report(b []byte) {
	const ntpEpoch = 2208988800 // 1970 in the seconds of NTP
	if len(b) < 20 || b[1] != 200 {
		return
	}
	sec, frac := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	c.told = time.Unix(int64(sec)-ntpEpoch, int64(frac)*1e9>>32)
	c.at = binary.BigEndian.Uint32(b[16:])
}

func (c *packets) when(timestamp uint32) time.Time {
	if c.told.IsZero() {
		return time.Time{}
	}
	return c.told.Add(time.Duration(int32(timestamp-c.at)) * time.Second / time.Duration(c.clock))
}

// PlaySocket watches stream over a WebSocket until seen says that it is enough, or ctx ends,
// which is an error.
func (v Viewer) PlaySocket(ctx context.Context, stream string, seen func(Arrival) bool) error {
	header := http.Header{}
	if v.Token != "" {
		header.Set("Authorization", "Bearer "+v.Token)
	}
	conn, res, err := v.Socket.DialContext(ctx, "ws"+strings.TrimPrefix(v.HTTP, "http")+"/v1/streams/"+stream+"/ws", header)
	if err != nil {
		if res != nil {
			return &Answered{Path: "/v1/streams/" + stream + "/ws", Status: res.Status, Code: res.StatusCode}
		}
		return err
	}
	defer res.Body.Close()
	defer conn.Close()
	conn.SetReadLimit(bodyMax)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		kind, b, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		a := Arrival{Bytes: len(b)}
		// A kind, flags, an id and microseconds (package playback/live).
		if kind == websocket.BinaryMessage && len(b) >= 12 && b[0] == 2 {
			a.Media, a.Key = true, b[1]&1 == 1
			a.Made = time.UnixMicro(int64(binary.BigEndian.Uint64(b[4:])))
		}
		if !seen(a) {
			return nil
		}
	}
}

// Answered is an HTTP request whose answer was no success.
type Answered struct {
	Path, Status string
	Code         int
}

// Error says what was asked and what came.
func (a *Answered) Error() string { return a.Path + ": " + a.Status }
