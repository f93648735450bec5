package rtsp

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"penstock/internal/fault"
	"penstock/streams"
)

// guard wants user "cam" with password "s3cr%t: @ü", by Basic or Digest.
type guard struct {
	user, password string
	grant          context.Context
	asked          chan Ask
}

func newGuard() *guard {
	return &guard{user: "cam", password: "s3cr%t: @ü", asked: make(chan Ask, 100)}
}

func (g *guard) Authenticate(_ context.Context, a Ask) (Grant, error) {
	g.asked <- a
	ok := a.Basic && a.User == g.user && a.Password == g.password
	if a.Digest != "" {
		req := &base.Request{Method: base.Method(a.Method), Header: base.Header{"Authorization": {a.Digest}}}
		if _, rest, found := strings.Cut(a.Digest, `uri="`); found {
			uri, _, _ := strings.Cut(rest, `"`)
			req.URL, _ = base.ParseURL(uri)
		}
		ok = req.URL != nil && auth.Verify(req, g.user, g.password, nil, "penstock", a.Nonce) == nil
	}
	if a.Token == "t0ken" {
		ok = true
	}
	if !ok {
		return Grant{}, fault.New(fault.Unauthentic, "sign in", "", "wrong password")
	}
	if a.Stream == "forbidden" {
		return Grant{}, fault.New(fault.Denied, "publish", a.Stream, "not yours")
	}
	return Grant{Principal: "arn:cam", Stream: streams.Stream{ID: a.Stream, Name: a.Stream}, Context: g.grant}, nil
}

// wire is a client that says exactly what a test wants.
type wire struct {
	t    *testing.T
	c    net.Conn
	r    *bufio.Reader
	base string
	seq  int
	sess string
}

func dial(t *testing.T, s *Server, name string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	return &wire{t: t, c: c, r: bufio.NewReader(c), base: "rtsp://" + s.Addr().String() + "/" + name}
}

// ask sends a request and returns status, reason and headers.
func (w *wire) ask(method, uri, body string, headers ...string) (int, string, textproto.MIMEHeader) {
	w.t.Helper()
	w.seq++
	msg := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, uri, w.seq)
	if w.sess != "" {
		msg += "Session: " + w.sess + "\r\n"
	}
	for _, h := range headers {
		msg += h + "\r\n"
	}
	if body != "" {
		msg += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	if _, err := io.WriteString(w.c, msg+"\r\n"+body); err != nil {
		w.t.Fatal(err)
	}
	return w.answer()
}

func (w *wire) answer() (int, string, textproto.MIMEHeader) {
	w.t.Helper()
	tp := textproto.NewReader(w.r)
	line, err := tp.ReadLine()
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		w.t.Fatal(err)
	}
	if n, _ := strconv.Atoi(h.Get("Content-Length")); n > 0 {
		_, _ = io.CopyN(io.Discard, w.r, int64(n))
	}
	if s := h.Get("Session"); s != "" {
		w.sess, _, _ = strings.Cut(s, ";")
	}
	f := strings.SplitN(line, " ", 3)
	code, _ := strconv.Atoi(f[1])
	return code, f[2], h
}

const testSDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n" +
	"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAKNkAeAIn5YQAAAMABAAAAwDwPGDJIA==,aMuMsg==\r\na=control:trackID=0\r\n"

const sdpType = "Content-Type: application/sdp"

// record goes through to RECORD over TCP.
func (w *wire) record(headers ...string) {
	w.t.Helper()
	if code, why, _ := w.ask("ANNOUNCE", w.base, testSDP, append(headers, sdpType)...); code != 200 {
		w.t.Fatalf("ANNOUNCE: %d %s", code, why)
	}
	if code, why, _ := w.ask("SETUP", w.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"); code != 200 {
		w.t.Fatalf("SETUP: %d %s", code, why)
	}
	if code, why, _ := w.ask("RECORD", w.base, ""); code != 200 {
		w.t.Fatalf("RECORD: %d %s", code, why)
	}
}

// picture sends one small picture as a frame on channel 0.
func (w *wire) picture(seq uint16, ts uint32) {
	p := rtpPicture(seq, ts)
	if _, err := w.c.Write(append([]byte{'$', 0, 0, byte(len(p))}, p...)); err != nil {
		w.t.Fatal(err)
	}
}

// rtpPicture is one small picture in one packet.
func rtpPicture(seq uint16, ts uint32) []byte {
	return []byte{0x80, 0x80 | 96, byte(seq >> 8), byte(seq), byte(ts >> 24), byte(ts >> 16), byte(ts >> 8), byte(ts),
		0, 0, 0, 9, 0x65, 0x88, byte(seq), 1, 2, 3}
}

func TestSignIn(t *testing.T) {
	g := newGuard()
	hub := newMemHub()
	s := serve(t, Config{Hub: hub, Authenticator: g})
	basic := func(p string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("cam:"+p))
	}
	t.Run("nobody gets in without a password", func(t *testing.T) {
		w := dial(t, s, "door")
		code, _, h := w.ask("ANNOUNCE", w.base, testSDP, sdpType)
		if got := strings.Join(h["Www-Authenticate"], " "); code != 401 || !strings.Contains(got, "Digest") || !strings.Contains(got, `Basic realm="penstock"`) {
			t.Fatalf("%d %v", code, h)
		}
		if code, _, _ = w.ask("DESCRIBE", w.base, ""); code != 401 {
			t.Fatalf("DESCRIBE: %d", code)
		}
		if code, _, _ = w.ask("SETUP", w.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"); code != 401 {
			t.Fatalf("SETUP: %d", code)
		}
	})
	t.Run("basic", func(t *testing.T) {
		w := dial(t, s, "basic")
		w.record(basic(g.password))
		w.picture(1, 0)
		m := hub.await(t, "basic", "a picture", func(m *memStream) bool { return len(m.samples(1)) == 1 })
		if m.prod.Principal != "arn:cam" {
			t.Errorf("producer %+v", m.prod)
		}
	})
	t.Run("digest, by ffmpeg", func(t *testing.T) {
		ffmpeg(t, "-f", "lavfi", "-i", "sine=sample_rate=8000:duration=1", "-c:a", "pcm_alaw", "-f", "rtsp", "-rtsp_transport", "tcp",
			"rtsp://cam:s3cr%25t%3A%20%40%C3%BC@"+s.Addr().String()+"/digest")
		hub.await(t, "digest", "end", func(m *memStream) bool { return m.closed == 1 })
	})
	t.Run("a token in the query", func(t *testing.T) {
		w := dial(t, s, "token?token=t0ken")
		if code, why, _ := w.ask("ANNOUNCE", w.base, testSDP, sdpType); code != 200 {
			t.Fatalf("%d %s", code, why)
		}
	})
	t.Run("who may not hears it", func(t *testing.T) {
		w := dial(t, s, "forbidden")
		if code, why, _ := w.ask("ANNOUNCE", w.base, testSDP, sdpType, basic(g.password)); code != 403 || !strings.Contains(why, "not yours") {
			t.Fatalf("%d %s", code, why)
		}
	})
	t.Run("guessing ends", func(t *testing.T) {
		w := dial(t, s, "door")
		for range AuthFailuresMax {
			if code, _, _ := w.ask("DESCRIBE", w.base, "", basic("wrong")); code != 401 {
				t.Fatalf("%d", code)
			}
		}
		if _, err := w.r.ReadByte(); err == nil {
			t.Fatal("the connection is still open")
		}
	})
}

func TestPermissionTakenBackEndsTheSession(t *testing.T) {
	g := newGuard()
	ctx, revoke := context.WithCancel(context.Background())
	g.grant = ctx
	hub := newMemHub()
	s := serve(t, Config{Hub: hub, Authenticator: g})
	w := dial(t, s, "x?token=t0ken")
	w.record()
	revoke()
	m := hub.await(t, "x", "end", func(m *memStream) bool { return m.closed == 1 })
	if m.cause == nil || !strings.Contains(m.cause.Error(), "permission") {
		t.Fatalf("cause %v", m.cause)
	}
}

func TestTheSecondProducerHearsWhy(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub})
	first := dial(t, s, "door")
	first.record()
	w := dial(t, s, "door")
	w.ask("ANNOUNCE", w.base, testSDP, sdpType)
	w.ask("SETUP", w.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
	code, why, _ := w.ask("RECORD", w.base, "")
	if code != 409 || !strings.Contains(why, first.c.LocalAddr().String()) {
		t.Fatalf("%d %s", code, why)
	}
}

func TestReplacedProducerIsHungUpOn(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub})
	w := dial(t, s, "door")
	w.record()
	hub.mu.Lock()
	close(hub.shelf["door"].session.done)
	hub.mu.Unlock()
	if _, err := io.Copy(io.Discard, w.r); err != nil {
		t.Fatal(err)
	}
}

func TestProducersThatMisbehave(t *testing.T) {
	for name, c := range map[string]struct {
		act   func(w *wire)
		cause string
	}{
		"it says nothing": {func(*wire) {}, "no media came"},
		"it hangs up":     {func(w *wire) { _ = w.c.Close() }, "without TEARDOWN"},
		"it hangs up within a frame": {func(w *wire) {
			_, _ = w.c.Write([]byte{'$', 0, 0x10, 0, 1, 2, 3})
			_ = w.c.Close()
		}, "without TEARDOWN"},
		"it sends garbage":           {func(w *wire) { _, _ = w.c.Write(make([]byte, 10000)) }, "neither RTSP nor"},
		"it sends an endless header": {func(w *wire) { _, _ = io.WriteString(w.c, "OPTIONS "+strings.Repeat("x", 100_000)) }, "header is too long"},
		"it tears down within a frame": {func(w *wire) {
			// The frame announces more than comes: TEARDOWN is swallowed by it, then silence.
			_, _ = io.WriteString(w.c, "$\x00\xff\xffTEARDOWN "+w.base+" RTSP/1.0\r\nCSeq: 9\r\nSession: "+w.sess+"\r\n\r\n")
		}, "no media came"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := newMemHub()
			s := serve(t, Config{Hub: hub, Silence: 500 * time.Millisecond})
			w := dial(t, s, "door")
			w.record()
			w.picture(65535, 0xffffffff)
			w.picture(0, 3599)
			hub.await(t, "door", "two pictures", func(m *memStream) bool { return len(m.samples(1)) == 2 })
			c.act(w)
			m := hub.await(t, "door", "end", func(m *memStream) bool { return m.closed == 1 })
			if m.cause == nil || !strings.Contains(m.cause.Error(), c.cause) {
				t.Errorf("the session ended with %v", m.cause)
			}
			if got := m.samples(1); len(got) != 2 || got[1].DTS-got[0].DTS != 3600 || m.lost != 0 {
				t.Errorf("%d samples, %d lost", len(got), m.lost)
			}
		})
	}
}

func TestKeepAliveWithinMedia(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub})
	w := dial(t, s, "door")
	w.record()
	for i := range 20 {
		w.picture(uint16(i), uint32(i*3600))
		if code, why, _ := w.ask("GET_PARAMETER", w.base, ""); code != 200 {
			t.Fatalf("%d %s", code, why)
		}
	}
	if code, why, _ := w.ask("TEARDOWN", w.base, ""); code != 200 {
		t.Fatalf("%d %s", code, why)
	}
	m := hub.await(t, "door", "end", func(m *memStream) bool { return m.closed == 1 })
	if len(m.samples(1)) != 20 || m.cause != nil {
		t.Fatalf("%d samples, %v", len(m.samples(1)), m.cause)
	}
}

func TestUDPProducerThatGoesSilent(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub, Silence: 500 * time.Millisecond})
	w := dial(t, s, "door")
	w.ask("ANNOUNCE", w.base, testSDP, sdpType)
	if code, why, _ := w.ask("SETUP", w.base+"/trackID=0", "", "Transport: RTP/AVP;unicast;client_port=40000-40001;mode=record"); code != 200 {
		t.Fatalf("%d %s", code, why)
	}
	if code, why, _ := w.ask("RECORD", w.base, ""); code != 200 {
		t.Fatalf("%d %s", code, why)
	}
	m := hub.await(t, "door", "end", func(m *memStream) bool { return m.closed == 1 })
	if m.cause == nil || !strings.Contains(m.cause.Error(), "no media") {
		t.Fatalf("cause %v", m.cause)
	}
}

func TestMediaThatCannotBeRecordedIsRefused(t *testing.T) {
	s := serve(t, Config{Hub: newMemHub()})
	w := dial(t, s, "door")
	sdp := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:trackID=0\r\n"
	if code, why, _ := w.ask("ANNOUNCE", w.base, sdp, sdpType); code != 400 || !strings.Contains(why, "H.264") {
		t.Fatalf("%d %s", code, why)
	}
}

func TestSessionOfAnotherConnection(t *testing.T) {
	s := serve(t, Config{Hub: newMemHub()})
	w := dial(t, s, "door")
	w.ask("ANNOUNCE", w.base, testSDP, sdpType)
	w.ask("SETUP", w.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
	thief := dial(t, s, "door")
	thief.sess = w.sess
	if code, _, _ := thief.ask("RECORD", thief.base, ""); code != 454 {
		t.Fatalf("%d", code)
	}
}

func TestConnectionsPastTheLimitAreClosed(t *testing.T) {
	s := serve(t, Config{Hub: newMemHub(), Connections: 2, PerAddress: -1})
	for range 2 {
		w := dial(t, s, "door")
		w.ask("OPTIONS", w.base, "")
	}
	w := dial(t, s, "door")
	if _, err := w.r.ReadByte(); err == nil {
		t.Fatal("a third connection was served")
	}
}
