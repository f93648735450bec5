package loadgen

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
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
// ends, which is an error. It does not tell when a picture was made.
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
	control := videoOf(sdp)
	if !strings.HasPrefix(control, "rtsp://") {
		control = address + "/" + control
	}
	if _, err := c.do("SETUP", control, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""); err != nil {
		return err
	}
	if _, err := c.do("PLAY", address+"/", "Range: npt=0.000-\r\n", ""); err != nil {
		return err
	}
	return c.pictures(seen)
}

// videoOf finds the first video's control address.
func videoOf(sdp string) (control string) {
	video := false
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "m=") {
			video = strings.HasPrefix(line, "m=video")
		}
		if v, ok := strings.CutPrefix(line, "a=control:"); ok && video && control == "" {
			control = v
		}
	}
	return control
}

// pictures reads interleaved RTP of H.264 and hands on whole pictures.
func (c *talk) pictures(seen func(Arrival) bool) error {
	var head [4]byte
	buf := make([]byte, 1<<16)
	size, key := 0, false
	for {
		if _, err := io.ReadFull(c.br, head[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head[2:]))
		if _, err := io.ReadFull(c.br, buf[:n]); err != nil {
			return err
		}
		size += 4 + n
		if head[0] != '$' || head[1] != 0 || n < 14 {
			continue
		}
		typ := buf[12] & 0x1f
		key = key || typ == 5 || typ == 28 && buf[13]&0x9f == 0x85
		if buf[1]&0x80 == 0 {
			continue
		}
		if !seen(Arrival{Key: key, Bytes: size, Media: true}) {
			return nil
		}
		size, key = 0, false
	}
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
