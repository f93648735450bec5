package interleaved

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taker is a Handler that keeps what came.
type taker struct {
	mu     sync.Mutex
	frames []string
	wake   chan struct{}
	fail   error
}

func newTaker() *taker { return &taker{wake: make(chan struct{}, 1)} }

func (k *taker) Frame(channel uint8, payload []byte, _ time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frames = append(k.frames, fmt.Sprintf("%d:%s", channel, payload))
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return k.fail
}

func (k *taker) await(t *testing.T, n int) []string {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		k.mu.Lock()
		got := append([]string(nil), k.frames...)
		k.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-k.wake:
		case <-limit:
			t.Fatalf("%d of %d frames came", len(got), n)
		}
	}
}

// pair is a tapped connection and its peer over loopback, with a running poller.
func pair(t *testing.T) (*Conn, net.Conn) { return pairWith(t, Config{}) }

func pairWith(t *testing.T, conf Config) (*Conn, net.Conn) {
	t.Helper()
	conf.Tick = 5 * time.Millisecond
	p := NewPoller(conf)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := p.Conn(c)
	t.Cleanup(func() { _ = conn.Close(); _ = peer.Close(); cancel(); <-done })
	return conn, peer
}

func frame(channel byte, payload string) string {
	return string([]byte{'$', channel, byte(len(payload) >> 8), byte(len(payload))}) + payload
}

const options = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"

func send(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesGoUpOneAtATime(t *testing.T) {
	c, peer := pair(t)
	announce := "ANNOUNCE rtsp://x/y RTSP/1.0\r\ncontent-length: 5\r\n\r\nv=0\r\n"
	send(t, peer, options+announce+options)
	b := make([]byte, 4096)
	for i, want := range []string{options, announce, options} {
		n, err := c.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("read %d: %q, %v; want %q", i, b[:n], err, want)
		}
	}
}

func TestFramesGoUpUntilTheyAreTapped(t *testing.T) {
	c, peer := pair(t)
	send(t, peer, frame(0, "early")+options)
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != frame(0, "early") {
		t.Fatalf("%q %v", b[:n], err)
	}
	if n, err = c.Read(b); err != nil || string(b[:n]) != options {
		t.Fatalf("%q %v", b[:n], err)
	}
	k := newTaker()
	c.Tap(k, TapConfig{})
	up := make(chan string, 10)
	go func() {
		for {
			n, err := c.Read(b)
			if err != nil {
				up <- err.Error()
				return
			}
			up <- string(b[:n])
		}
	}()
	for i := range 50 {
		send(t, peer, frame(byte(i%4), fmt.Sprint("f", i)))
	}
	got := k.await(t, 50)
	if got[49] != "1:f49" {
		t.Fatalf("last frame %q", got[49])
	}
	send(t, peer, frame(0, "a")+options+frame(0, "b"))
	if s := <-up; s != options {
		t.Fatalf("%q came up", s)
	}
	k.await(t, 52)
	_ = peer.Close()
	if s := <-up; s != "EOF" {
		t.Fatalf("%q came up", s)
	}
}

// TestEveryCutOfTheBytesGivesTheSame feeds the same conversation in pieces of each size.
func TestEveryCutOfTheBytesGivesTheSame(t *testing.T) {
	long := strings.Repeat("x", 3000)
	text := frame(0, "one") + "\r\n" + options + frame(1, long) + "GET_PARAMETER rtsp://h/s RTSP/1.0\r\nContent-Length: 3\r\n\r\nabc" +
		frame(0, "") + frame(0, "two")
	for size := 1; size < len(text); size += 1 + size/3 {
		k := newTaker()
		c := bare(k)
		var up bytes.Buffer
		for b := []byte(text); len(b) > 0; {
			n := min(size, len(b))
			feed(c, b[:n], &up)
			b = b[n:]
		}
		if got := fmt.Sprint(k.frames); got != "[0:one 1:"+long+" 0: 0:two]" {
			t.Fatalf("pieces of %d: frames %.80q", size, got)
		}
		if want := options + "GET_PARAMETER rtsp://h/s RTSP/1.0\r\nContent-Length: 3\r\n\r\nabc"; up.String() != want {
			t.Fatalf("pieces of %d: %q went up", size, up.String())
		}
	}
}

// bare is a tapped Conn without a socket, to drive its parser.
func bare(h Handler) *Conn {
	p := NewPoller(Config{})
	return &Conn{poller: p, handler: h}
}

func TestLiesAboutFramingEndTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"garbage":                    {strings.Repeat("\x00", GarbageMax+1), errGarbage},
		"a header without end":       {"OPTIONS " + strings.Repeat("x", HeaderMax+10), errHeader},
		"a header that is too long":  {"OPTIONS " + strings.Repeat("x", HeaderMax) + "\r\n\r\n", errHeader},
		"a body that is too long":    {"ANNOUNCE x RTSP/1.0\r\nContent-Length: 9999999\r\n\r\n", errBody},
		"a body of negative length":  {"ANNOUNCE x RTSP/1.0\r\nContent-Length: -1\r\n\r\n", errBody},
		"a body of no length at all": {"ANNOUNCE x RTSP/1.0\r\nContent-Length: x\r\n\r\n", errBody},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := pair(t)
			k := newTaker()
			conn.Tap(k, TapConfig{})
			go func() { _, _ = io.WriteString(peer, c.text) }()
			_, err := io.Copy(io.Discard, bufio.NewReader(conn))
			if !errors.Is(err, c.want) {
				t.Fatalf("err = %v, want %v", err, c.want)
			}
		})
	}
}

func TestSilenceEndsTheConnection(t *testing.T) {
	c, _ := pair(t)
	c.Tap(newTaker(), TapConfig{Silence: time.Millisecond})
	_, err := c.Read(make([]byte, 10))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("err = %v", err)
	}
}

func TestAHandlersErrorEndsTheConnection(t *testing.T) {
	c, peer := pair(t)
	k := newTaker()
	k.fail = errors.New("enough")
	c.Tap(k, TapConfig{})
	send(t, peer, frame(0, "x"))
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, k.fail) || !errors.Is(c.Err(), k.fail) {
		t.Fatalf("err = %v", err)
	}
}

func TestUntapSendsFramesUpAgain(t *testing.T) {
	c, peer := pair(t)
	k := newTaker()
	c.Tap(k, TapConfig{})
	go func() {
		send(t, peer, frame(0, "x"))
		k.await(t, 1)
		c.Untap()
		send(t, peer, frame(0, "y"))
	}()
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != frame(0, "y") {
		t.Fatalf("%q %v", b[:n], err)
	}
}

// seer is a Handler that looks ahead on channel 0.
type seer struct {
	c    *Conn
	seen []string
}

func (k *seer) Frame(channel uint8, payload []byte, _ time.Time) error {
	text := string(payload) + ">"
	for at := 0; ; {
		var p []byte
		if p, at = k.c.Ahead(0, at); p == nil {
			break
		}
		text += string(p)
	}
	k.seen = append(k.seen, text)
	return nil
}

func TestAheadShowsTheChannelsWholeFrames(t *testing.T) {
	k := &seer{}
	k.c = bare(k)
	k.c.parse([]byte(frame(0, "a")+frame(2, "x")+frame(0, "b")+frame(0, "c")+frame(0, "half")[:6]), time.Time{})
	k.c.parse([]byte("lf"+options+frame(0, "d")), time.Time{})
	if want, got := "[a>bc x>bc b>c c> half>]", fmt.Sprint(k.seen); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if p, _ := k.c.Ahead(0, 0); p != nil {
		t.Errorf("%q is ahead when no frame is at hand", p)
	}
}

func TestHeartbeat(t *testing.T) {
	c, peer := pair(t)
	c.Tap(newTaker(), TapConfig{Heartbeat: time.Nanosecond, HeartbeatChannel: 3})
	send(t, peer, frame(0, "x"))
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "$\x03\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x00" {
		t.Fatalf("%q %v", b[:n], err)
	}
}

// TestABusyConnectionIsReadInRounds counts system calls: many small frames, few reads.
func TestABusyConnectionIsReadInRounds(t *testing.T) {
	if !canPoll {
		t.Skip("connections are polled on Linux only")
	}
	c, peer := pair(t)
	k := newTaker()
	c.Tap(k, TapConfig{})
	go func() { _, _ = io.Copy(io.Discard, c) }()
	const n = 400
	for i := range n {
		send(t, peer, frame(0, strings.Repeat("p", 1000)))
		if i%10 == 9 {
			k.await(t, i-9) // a burst of ten, then let the poller come round
		}
	}
	k.await(t, n)
	if st := c.poller.Stats(); st.Reads > n*4/10 {
		t.Errorf("%d reads for %d frames", st.Reads, n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(options+frame(0, "abc")), uint8(3))
	f.Add([]byte("$"), uint8(1))
	f.Add([]byte("\r\n\r\n$\x00\xff\xff"), uint8(2))
	f.Add([]byte("ANNOUNCE a RTSP/1.0\r\nContent-Length: 70000\r\n\r\nx"), uint8(9))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		one, other := newTaker(), newTaker()
		a := drive(one, b, len(b)+1)
		z := drive(other, b, int(cut)+1)
		if a != z || fmt.Sprint(one.frames) != fmt.Sprint(other.frames) {
			t.Fatalf("cut at %d: %q and %q, %q and %q", cut+1, a, z, one.frames, other.frames)
		}
	})
}

// feed parses b and appends what goes up for it.
func feed(c *Conn, b []byte, up *bytes.Buffer) {
	c.parse(b, time.Time{})
	for {
		had := len(c.up)
		up.Write(c.up)
		c.up = nil
		c.parse(nil, time.Time{})
		if had == 0 && len(c.up) == 0 {
			return
		}
	}
}

// drive parses b in pieces and returns what went up, with the final error.
func drive(k *taker, b []byte, size int) string {
	c := bare(k)
	var up bytes.Buffer
	for len(b) > 0 && c.err == nil {
		n := min(size, len(b))
		feed(c, b[:n], &up)
		if len(c.rest) > HeaderMax+FrameMax+4 {
			panic("it holds too much")
		}
		b = b[n:]
	}
	if c.err != nil {
		return "error" // how much went up before it depends on the cut
	}
	return up.String()
}
