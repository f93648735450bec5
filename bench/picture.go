package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	pictureCameras = 4
	pictureTries   = 30
	pictureTarget  = 800 // ms, p95
	pictureWait    = 20 * time.Second
)

// pictures measures how long a viewer who comes at any moment waits for the first
// picture: until the bytes of a whole key frame are there, from before the connection is
// made. Decoding is not in it.
func (b *bench) pictures(ctx context.Context) error {
	for _, gop := range []int{25, 100} {
		l := load{bitrate: 3_000_000, fps: 25, gop: gop, audio: true}
		s, err := b.serve(ctx, filepath.Join(b.dir, fmt.Sprintf("picture-%d", gop)))
		if err != nil {
			return err
		}
		here, err := b.watchPictures(ctx, s, l, s.auth(), []way{
			{"RTSP", func(ctx context.Context, cam string) error { return s.pictureRTSP(ctx, cam, s.auth()) }},
			{"LL-HLS", func(ctx context.Context, cam string) error {
				return s.pictureHLS(ctx, "/v1/streams/"+cam+"/live.m3u8")
			}},
			{"WebSocket", s.pictureSocket},
		})
		s.end()
		if err != nil {
			return fmt.Errorf("first picture: %w", err)
		}
		peer := map[string]waits{}
		if b.peer != "" {
			p, err := b.startPeer(ctx, false, true)
			if err != nil {
				return err
			}
			peer, err = b.watchPictures(ctx, p, l, "", []way{
				{"RTSP", func(ctx context.Context, cam string) error { return p.pictureRTSP(ctx, cam, "") }},
				{"LL-HLS", func(ctx context.Context, cam string) error { return p.pictureHLS(ctx, "/"+cam+"/index.m3u8") }},
			})
			p.end()
			if err != nil {
				return fmt.Errorf("first picture of the peer: %w", err)
			}
		}
		for _, name := range []string{"RTSP", "LL-HLS", "WebSocket"} {
			label := fmt.Sprintf("first picture, %s, GOP %d s", name, gop/l.fps)
			note := fmt.Sprintf("%d viewers, one after the other", pictureTries)
			b.add(figure{Name: label + ": p50", Value: here[name].at(0.5), Unit: "ms", Peer: peer[name].at(0.5), Note: note})
			b.add(figure{Name: label + ": p95", Value: here[name].at(0.95), Unit: "ms", Peer: peer[name].at(0.95), Target: pictureTarget, Note: note})
		}
	}
	return nil
}

// way is how a viewer gets to a picture.
type way struct {
	name string
	see  func(ctx context.Context, cam string) error
}

// waits are sorted, in ms.
type waits []float64

func (w waits) at(share float64) float64 {
	if len(w) == 0 {
		return 0
	}
	return w[min(int(share*float64(len(w))), len(w)-1)]
}

// watchPictures runs a few cameras against s and lets viewers come by each way.
func (b *bench) watchPictures(ctx context.Context, s *server, l load, auth string, ways []way) (map[string]waits, error) {
	cams, stop := context.WithCancel(ctx)
	st := &sent{}
	ended := make(chan error, 1)
	go func() { ended <- fleet(cams, pictureCameras, l, s.rtsp, auth, st) }()
	defer func() { stop(); <-ended }()
	if !sleep(ctx, 12*time.Second) { // some GOPs, so that history is there for a playlist
		return nil, ctx.Err()
	}
	out := map[string]waits{}
	for _, w := range ways {
		for i := range pictureTries {
			if !sleep(ctx, time.Duration(rand.Int64N(int64(400*time.Millisecond)))) {
				return nil, ctx.Err()
			}
			try, cancel := context.WithTimeout(ctx, pictureWait)
			begin := time.Now()
			err := w.see(try, fmt.Sprintf("cam%d", i%pictureCameras))
			cancel()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			out[w.name] = append(out[w.name], float64(time.Since(begin).Microseconds())/1000)
		}
		slices.Sort(out[w.name])
	}
	return out, nil
}

// pictureRTSP plays over TCP until a whole IDR picture came.
func (s *server) pictureRTSP(ctx context.Context, cam, auth string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.rtsp)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c := &talk{conn: conn, br: bufio.NewReader(conn), auth: auth}
	address := "rtsp://" + s.rtsp + "/" + cam
	sdp, err := c.do("DESCRIBE", address, "Accept: application/sdp\r\n")
	if err != nil {
		return err
	}
	base, control, video := address+"/", "", false
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "m=") {
			video = strings.HasPrefix(line, "m=video")
		}
		if v, ok := strings.CutPrefix(line, "a=control:"); ok && video && control == "" {
			control = v
		}
	}
	if !strings.HasPrefix(control, "rtsp://") {
		control = base + control
	}
	if _, err := c.do("SETUP", control, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"); err != nil {
		return err
	}
	if _, err := c.do("PLAY", base, "Range: npt=0.000-\r\n"); err != nil {
		return err
	}
	return c.untilKeyFrame()
}

// talk is an RTSP client's side of a connection.
type talk struct {
	conn    net.Conn
	br      *bufio.Reader
	auth    string
	session string
	cseq    int
}

// do sends a request and returns the answer's body.
func (c *talk) do(method, uri, extra string) (string, error) {
	c.cseq++
	if _, err := fmt.Fprintf(c.conn, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s%s%s\r\n", method, uri, c.cseq, c.auth, c.session, extra); err != nil {
		return "", err
	}
	status, err := c.br.ReadString('\n')
	if err != nil {
		return "", err
	}
	length := 0
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		k, v, _ := strings.Cut(line, ":")
		switch strings.ToLower(k) {
		case "session":
			id, _, _ := strings.Cut(strings.TrimSpace(v), ";")
			c.session = "Session: " + id + "\r\n"
		case "content-length":
			if _, err := fmt.Sscan(v, &length); err != nil {
				return "", err
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.br, body); err != nil {
		return "", err
	}
	if !strings.Contains(status, " 200 ") {
		return "", errors.New(method + ": " + strings.TrimSpace(status))
	}
	return string(body), nil
}

// untilKeyFrame reads interleaved RTP of H.264 until an IDR picture's last packet.
func (c *talk) untilKeyFrame() error {
	var head [4]byte
	buf := make([]byte, 1<<16)
	for key := false; ; {
		if _, err := io.ReadFull(c.br, head[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head[2:]))
		if _, err := io.ReadFull(c.br, buf[:n]); err != nil {
			return err
		}
		if head[0] != '$' || head[1] != 0 || n < 14 {
			continue
		}
		typ := buf[12] & 0x1f
		key = key || typ == 5 || typ == 28 && buf[13]&0x9f == 0x85
		if key && buf[1]&0x80 != 0 {
			return nil
		}
	}
}

// pictureHLS does what a player does: the playlist, the initialization section, and the
// newest part, or else segment, that begins with a key frame.
func (s *server) pictureHLS(ctx context.Context, path string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Jar: jar, Transport: transport}
	at, err := url.Parse("http://" + s.http + path)
	if err != nil {
		return err
	}
	text, at, err := s.get(ctx, client, at)
	if err != nil {
		return err
	}
	for strings.Contains(text, "#EXT-X-STREAM-INF") {
		_, rest, _ := strings.Cut(text, "#EXT-X-STREAM-INF")
		lines := strings.SplitN(rest, "\n", 3)
		if len(lines) < 3 {
			return errors.New("a multivariant playlist without a variant")
		}
		if at, err = at.Parse(strings.TrimSpace(lines[1])); err != nil {
			return err
		}
		if text, at, err = s.get(ctx, client, at); err != nil {
			return err
		}
	}
	var init, media string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		_, quoted, _ := strings.Cut(line, `URI="`)
		uri, _, _ := strings.Cut(quoted, `"`)
		switch {
		case strings.HasPrefix(line, "#EXT-X-MAP:"):
			init = uri
		case strings.HasPrefix(line, "#EXT-X-PART:") && strings.Contains(line, "INDEPENDENT=YES"), line != "" && line[0] != '#':
			if media = uri; media == "" {
				media = line
			}
		}
	}
	for _, uri := range []string{init, media} {
		if uri == "" {
			return errors.New("a playlist without media:\n" + text)
		}
		next, err := at.Parse(uri)
		if err != nil {
			return err
		}
		if _, _, err := s.get(ctx, client, next); err != nil {
			return err
		}
	}
	return nil
}

// get returns a body and where it came from in the end.
func (s *server) get(ctx context.Context, client *http.Client, at *url.URL) (string, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", nil, err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", at.Path, res.Status)
	}
	return string(body), res.Request.URL, err
}

// pictureSocket reads a socket's messages until one begins with a key frame.
func (s *server) pictureSocket(ctx context.Context, cam string) error {
	conn, res, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+s.http+"/v1/streams/"+cam+"/ws",
		http.Header{"Authorization": {"Bearer " + s.token}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		kind, b, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if kind == websocket.BinaryMessage && len(b) > 2 && b[0] == 2 && b[1]&1 == 1 {
			return nil
		}
	}
}
