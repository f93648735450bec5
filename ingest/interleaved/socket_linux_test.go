package interleaved

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
)

// tapped is pair with a tap and somebody who reads messages.
func tapped(t *testing.T) (*Conn, net.Conn, *taker) {
	t.Helper()
	c, peer := pair(t)
	k := newTaker()
	c.Tap(k, TapConfig{})
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(io.Discard, c) }()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return c, peer, k
}

// TestASmallCameraCostsOneReadAPacket has rounds between packets that find nothing.
func TestASmallCameraCostsOneReadAPacket(t *testing.T) {
	k := newTaker()
	p, peers := still(t, k, 1)
	buf, before := make([]byte, scratchSize), p.Stats()
	const n = 20
	for i := range n {
		send(t, peers[0], frame(0, "small"))
		for range 5 {
			p.round(nil, buf, time.Now())
		}
		k.await(t, i+2)
	}
	if st := p.Stats(); st.Reads-before.Reads != n || st.Empty != before.Empty {
		t.Errorf("%d reads that found something and %d that did not for %d packets", st.Reads-before.Reads, st.Empty-before.Empty, n)
	}
}

// still is a poller whose rounds the test makes, and n connections that are read in them
// after a first frame.
func still(t *testing.T, k Handler, n int) (p *Poller, peers []net.Conn) {
	t.Helper()
	p = NewPoller(Config{})
	if err := p.begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range n {
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := p.Conn(nc)
		c.Tap(k, TapConfig{})
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(io.Discard, c) }()
		t.Cleanup(func() { _ = c.Close(); _ = peer.Close(); <-done })
		send(t, peer, frame(0, "first"))
		for c.socket.Load() == nil {
			runtime.Gosched()
		}
		peers = append(peers, peer)
	}
	return p, peers
}

// TestManyAreReadInARound has more connections with data than the kernel names at once.
func TestManyAreReadInARound(t *testing.T) {
	const n = eventsMax + eventsMax/2
	k := newTaker()
	p, peers := still(t, k, n)
	for _, peer := range peers {
		send(t, peer, frame(0, "x"))
	}
	if hot := p.round(nil, make([]byte, scratchSize), time.Now()); len(hot) > 0 {
		t.Errorf("%d connections with little are hot", len(hot))
	}
	if got := k.await(t, 2*n); len(got) != 2*n {
		t.Errorf("%d frames came of %d", len(got), 2*n)
	}
}

// TestAKeyFrameIsReadInAHurry has what fills a window: the rest must not wait for the
// next round. Who sent little waits.
func TestAKeyFrameIsReadInAHurry(t *testing.T) {
	k := newTaker()
	p, peers := still(t, k, 2)
	buf := make([]byte, scratchSize)
	large := frame(0, strings.Repeat("k", 50000))
	send(t, peers[0], frame(0, "small"))
	send(t, peers[1], large)
	hot := p.round(nil, buf, time.Now())
	if len(hot) != 1 || hot[0].RemoteAddr().String() != peers[1].LocalAddr().String() {
		t.Fatalf("%d connections are looked at again, want that of the key frame", len(hot))
	}
	send(t, peers[1], large)
	if hot = p.again(hot, buf, time.Now()); len(hot) != 1 {
		t.Fatal("there was much again, and it is not looked at again")
	}
	send(t, peers[1], frame(0, "end"))
	if hot = p.again(hot, buf, time.Now()); len(hot) != 0 {
		t.Fatal("there was little, and it is looked at again")
	}
	if got := k.await(t, 6); len(got) != 6 {
		t.Errorf("%d frames came of 6", len(got))
	}
}

// adopted is tapped when the poller has the socket.
func adopted(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	c, peer, _ := tapped(t)
	send(t, peer, frame(0, "first"))
	for c.socket.Load() == nil {
		runtime.Gosched()
	}
	return c, peer
}

func TestAWriteWaitsForItsPeer(t *testing.T) {
	c, peer := adopted(t)
	message := strings.Repeat("x", 32<<20)
	wrote := make(chan error, 1)
	go func() { _, err := io.WriteString(c, message); wrote <- err }()
	b := make([]byte, len(message))
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != message {
		t.Fatalf("it came damaged, %v", err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}

	if err := c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if n, err := io.WriteString(c, message); !errors.As(err, &timeout) || !timeout.Timeout() || n == len(message) {
		t.Fatalf("nobody reads: %d bytes, %v", n, err)
	}
	_ = c.SetDeadline(time.Time{})
	go func() { _, err := io.WriteString(c, message); wrote <- err }()
	_ = c.Close()
	if err := <-wrote; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("closed: %v", err)
	}
	if err := c.Close(); err == nil {
		t.Error("closing twice is no error")
	}
}

func TestAPeerThatGoesEndsAWrite(t *testing.T) {
	c, peer := adopted(t)
	wrote := make(chan error, 1)
	go func() { _, err := io.WriteString(c, strings.Repeat("x", 32<<20)); wrote <- err }()
	if _, err := io.ReadFull(peer, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_ = peer.(*net.TCPConn).SetLinger(0)
	_ = peer.Close()
	if err := <-wrote; err == nil {
		t.Error("it was written to nobody")
	}
}

// TestDescriptorsAreGivenBack taps and closes in every order.
func TestDescriptorsAreGivenBack(t *testing.T) {
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := 0
	for i := range 200 {
		t.Run("", func(t *testing.T) {
			c, peer := pair(t)
			read := make(chan struct{})
			go func() { defer close(read); _, _ = io.Copy(io.Discard, c) }()
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				for range i * i { // some before the socket changes hands, some after
					runtime.Gosched()
				}
				_ = c.Close()
			}()
			c.Tap(newTaker(), TapConfig{})
			_, _ = io.WriteString(peer, frame(0, "x"))
			if i%2 == 0 {
				_, _ = io.WriteString(peer, frame(0, "y"))
			}
			<-closed
			<-read
		})
		if i == 20 {
			before = open()
		}
	}
	if n := open(); n > before+2 {
		t.Errorf("%d descriptors are open, %d were", n, before)
	}
}

// TestSilenceEndsWhatThePollerReads lets time pass for a connection that was adopted.
func TestSilenceEndsWhatThePollerReads(t *testing.T) {
	clock := hosttest.NewClock(time.Now())
	c, peer := pairWith(t, Config{Clock: clock})
	c.Tap(newTaker(), TapConfig{Silence: time.Minute})
	ended := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 10)); ended <- err }()
	send(t, peer, frame(0, "first"))
	for c.socket.Load() == nil {
		runtime.Gosched()
	}
	clock.Add(2 * time.Minute)
	if err := <-ended; !errors.Is(err, errSilent) || !errors.Is(c.Err(), errSilent) {
		t.Errorf("err = %v", err)
	}
}
