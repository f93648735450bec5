package guard_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"

	"penstock/internal/fault"
	"penstock/internal/guard"
)

func newGuard(t *testing.T, c guard.Config) *guard.Guard {
	t.Helper()
	g, err := guard.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAddressesRefusedByDefault(t *testing.T) {
	g := newGuard(t, guard.Config{})
	for _, a := range []string{
		"127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16",
		"192.0.0.192", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "198.18.0.1",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1", "::ffff:7f00:1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "::ffff:0:127.0.0.1", "::ffff:0:a9fe:a9fe",
	} {
		if err := g.Check(netip.MustParseAddr(a)); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want denied", a, err)
		}
	}
	for _, a := range []string{"192.168.1.20", "10.0.0.5", "172.16.9.9", "100.64.1.1", "8.8.8.8", "::ffff:192.168.1.20", "fd12:3456::1", "2a00:1450::1"} {
		if err := g.Check(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s: %v, want allowed", a, err)
		}
	}
	if err := g.Check(netip.Addr{}); !fault.Is(err, fault.Denied) {
		t.Errorf("the zero address: %v, want denied", err)
	}
}

func TestAllowAndDenyByCIDR(t *testing.T) {
	g := newGuard(t, guard.Config{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.0.0.0/8")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
	})
	for a, want := range map[string]bool{"127.0.0.1": true, "::ffff:127.0.0.1": true, "::1": false, "10.1.1.1": true, "10.9.1.1": false, "::ffff:10.9.1.1": false} {
		if err := g.Check(netip.MustParseAddr(a)); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", a, err, want)
		}
	}
}

// recorder is a resolver with fixed answers and a dialler that only writes down.
type recorder struct {
	mu      sync.Mutex
	answers [][]string // one per look-up; the last repeats
	lookups int
	dialled []string
}

func (r *recorder) LookupNetIP(_ context.Context, _, _ string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := r.answers[min(r.lookups, len(r.answers)-1)]
	r.lookups++
	var list []netip.Addr
	for _, a := range answer {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, nil
}

func (r *recorder) dial(_ context.Context, _, address string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dialled = append(r.dialled, address)
	a, b := net.Pipe()
	b.Close()
	return a, nil
}

// Decimal, octal, hexadecimal and short spellings are names to us; where a resolver
// takes them as inet_aton does, what it answers is checked.
func TestOddSpellingsReachNothing(t *testing.T) {
	for _, name := range []string{"2130706433", "0177.0.0.1", "0x7f.1", "0x7f000001", "127.1", "127.0.1", "017700000001", "localhost", "localtest.me", "①②⑦.0.0.1", "3232235777"} {
		r := &recorder{answers: [][]string{{"127.0.0.1"}}}
		g := newGuard(t, guard.Config{Resolver: r, Dial: r.dial})
		if _, err := g.Dial(t.Context(), "tcp", net.JoinHostPort(name, "80")); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want denied", name, err)
		}
		if len(r.dialled) != 0 {
			t.Errorf("%s: dialled %v", name, r.dialled)
		}
	}
}

func TestRebindingCannotSwapTheAddress(t *testing.T) {
	r := &recorder{answers: [][]string{{"93.184.216.34"}, {"127.0.0.1"}}}
	g := newGuard(t, guard.Config{Resolver: r, Dial: r.dial})
	conn, err := g.Dial(t.Context(), "tcp", "rebind.example:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(r.dialled) != 1 || r.dialled[0] != "93.184.216.34:80" || r.lookups != 1 {
		t.Errorf("dialled %v after %d look-ups, want the checked address after one", r.dialled, r.lookups)
	}
	if _, err := g.Dial(t.Context(), "tcp", "rebind.example:80"); !fault.Is(err, fault.Denied) {
		t.Errorf("second answer: %v, want denied", err)
	}
	if len(r.dialled) != 1 {
		t.Errorf("dialled %v", r.dialled)
	}
}

func TestMixedAnswersUseOnlyTheAllowed(t *testing.T) {
	r := &recorder{answers: [][]string{{"127.0.0.1", "::1", "192.168.1.7", "169.254.169.254"}}}
	g := newGuard(t, guard.Config{Resolver: r, Dial: r.dial})
	conn, err := g.Dial(t.Context(), "tcp", "mixed.example:554")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(r.dialled) != 1 || r.dialled[0] != "192.168.1.7:554" {
		t.Errorf("dialled %v, want only 192.168.1.7:554", r.dialled)
	}
}

func TestRedirectsAreCheckedToo(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("the inner server was reached") }))
	defer inner.Close()
	_, innerPort, _ := net.SplitHostPort(inner.Listener.Addr().String())
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.2:"+innerPort+"/", http.StatusFound)
	}))
	defer outer.Close()
	g := newGuard(t, guard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	client := &http.Client{Transport: &http.Transport{DialContext: g.Dial, DisableKeepAlives: true}}
	_, err := client.Get(outer.URL)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Denied {
		t.Errorf("redirect to loopback: %v, want denied", err)
	}
}

func TestUnixSocketsAreNoNetwork(t *testing.T) {
	g := newGuard(t, guard.Config{})
	if _, err := g.Dial(t.Context(), "unix", "/var/run/docker.sock"); !fault.Is(err, fault.Denied) {
		t.Errorf("unix: %v, want denied", err)
	}
}
