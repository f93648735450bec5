package rtsp

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
)

// TestTeardownLosesNothingOnALateMachine has a producer send its pictures over UDP and end
// its session before the server came to read one.
func TestTeardownLosesNothingOnALateMachine(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub})
	own, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	port := own.LocalAddr().(*net.UDPAddr).Port
	w := dial(t, s, "door")
	p := w.recordUDP(s, port)
	for _, lock := range s.udp.reads {
		lock.Lock()
	}
	const pictures = 3 * udpBatch
	for i := range pictures {
		b := rtpPicture(uint16(i), uint32(i)*3600)
		if _, err := own.WriteTo(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.udp.addr().(*net.UDPAddr).Port}); err != nil {
			t.Fatal(err)
		}
	}
	go w.ask("TEARDOWN", w.base, "") // answered when the session has ended, or before
	for closed := false; !closed; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		closed = p.closed
		p.mu.Unlock()
	}
	time.Sleep(5 * udpLinger) // so late is the machine
	for _, lock := range s.udp.reads {
		lock.Unlock()
	}
	m := hub.await(t, "door", "end", func(m *memStream) bool { return m.closed == 1 })
	if n := len(m.samples(1)); n != pictures || m.cause != nil {
		t.Errorf("%d of %d pictures, %v", n, pictures, m.cause)
	}
}

// recordUDP begins a session over UDP from a port and its neighbour.
func (w *wire) recordUDP(s *Server, port int) *push {
	w.t.Helper()
	w.ask("ANNOUNCE", w.base, testSDP, sdpType)
	if code, why, _ := w.ask("SETUP", w.base+"/trackID=0", "", fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d;mode=record", port, port+1)); code != 200 {
		w.t.Fatalf("%d %s", code, why)
	}
	if code, why, _ := w.ask("RECORD", w.base, ""); code != 200 {
		w.t.Fatalf("%d %s", code, why)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.pushes {
		return p
	}
	w.t.Fatal("there is no session")
	return nil
}

// TestAMachineThatStoodStillCallsNoProducerSilent lets an hour pass between two looks: only
// the second one after it may say who was silent, when what came meanwhile has been read.
func TestAMachineThatStoodStillCallsNoProducerSilent(t *testing.T) {
	now := time.Now()
	hub := newMemHub()
	s := serve(t, Config{Hub: hub, Clock: hosttest.NewClock(now)})
	p := dial(t, s, "door").recordUDP(s, 40002)
	closed := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.closed
	}
	s.check(now)
	s.check(now.Add(time.Hour))
	if closed() {
		t.Fatal("the session ended at the first look after the machine stood still")
	}
	for !closed() { // the server looks too, by its own clock
		s.check(now.Add(time.Hour))
	}
	m := hub.await(t, "door", "end", func(m *memStream) bool { return m.closed == 1 })
	if m.cause == nil || !strings.Contains(m.cause.Error(), "no media") {
		t.Errorf("it ended with %v", m.cause)
	}
}
