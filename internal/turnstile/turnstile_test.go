package turnstile

import (
	"net"
	"testing"
)

func at(s string) net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(s), Port: 1000}
}

func TestOneAddressGetsAQuarter(t *testing.T) {
	ts := New(Config{Total: 8})
	var leave []func()
	for range 2 {
		l, ok := ts.Enter(at("192.0.2.1"))
		if !ok {
			t.Fatal("refused with room left")
		}
		leave = append(leave, l)
	}
	if _, ok := ts.Enter(at("::ffff:192.0.2.1")); ok {
		t.Error("the mapped spelling counts apart")
	}
	if _, ok := ts.Enter(at("192.0.2.2")); !ok {
		t.Error("another address is kept out")
	}
	leave[0]()
	leave[0]() // counts once
	if _, ok := ts.Enter(at("192.0.2.1")); !ok {
		t.Error("the place was not given back")
	}
	if _, ok := ts.Enter(at("192.0.2.1")); ok {
		t.Error("one place was given back twice")
	}
	if ts.Inside() != 3 || ts.Refused() != 2 {
		t.Errorf("%d inside, %d refused; want 3, 2", ts.Inside(), ts.Refused())
	}
}

func TestAnIPv6NetworkIsOneAddress(t *testing.T) {
	ts := New(Config{Total: 100, PerAddress: 1})
	if _, ok := ts.Enter(at("2001:db8::1")); !ok {
		t.Fatal("refused")
	}
	if _, ok := ts.Enter(at("2001:db8::ffff:2")); ok {
		t.Error("its neighbour in the /64 counts apart")
	}
	if _, ok := ts.Enter(at("2001:db8:0:1::1")); !ok {
		t.Error("the next network is kept out")
	}
}

func TestTheTotalHoldsAndZeroBoundsNothing(t *testing.T) {
	ts := New(Config{Total: 2, PerAddress: -1})
	for i, want := range []bool{true, true, false} {
		if _, ok := ts.Enter(at("192.0.2.1")); ok != want {
			t.Errorf("connection %d: %v, want %v", i, ok, want)
		}
	}
	free := New(Config{})
	for range 1000 {
		if _, ok := free.Enter(nil); !ok {
			t.Fatal("the zero value refuses")
		}
	}
}

func TestAListenerClosesWhatHasNoRoom(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts := New(Config{Total: 4})
	l := ts.Listen(inner)
	defer l.Close()
	got := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(got)
				return
			}
			got <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := dial()
	defer first.Close()
	inside := <-got
	second := dial()
	defer second.Close()
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a second connection of the address was kept")
	}
	_ = inside.Close()
	_ = inside.Close()
	third := dial()
	defer third.Close()
	(<-got).Close()
	if ts.Inside() != 0 {
		t.Errorf("%d inside after all left", ts.Inside())
	}
}
