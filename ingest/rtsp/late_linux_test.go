package rtsp

import (
	"fmt"
	"net"
	"testing"
	"time"
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
	w.ask("ANNOUNCE", w.base, testSDP, sdpType)
	if code, why, _ := w.ask("SETUP", w.base+"/trackID=0", "", fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d;mode=record", port, port+1)); code != 200 {
		t.Fatalf("%d %s", code, why)
	}
	if code, why, _ := w.ask("RECORD", w.base, ""); code != 200 {
		t.Fatalf("%d %s", code, why)
	}
	s.mu.Lock()
	var p *push
	for p = range s.pushes {
	}
	s.mu.Unlock()
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
