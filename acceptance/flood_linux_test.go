package acceptance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// idleSockets is how many connections say nothing, and flooded how many bytes the
// server may hold while they do.
const (
	idleSockets = 10000
	flooded     = 512 << 20
)

// stranger is the address that the floods come from: not the good client's.
const stranger = "127.0.0.2"

// latencies asks n times, one after the other as a good client does, and returns the
// 99th percentile.
func (s *server) latencies(client *http.Client, n int) (p99 time.Duration, err error) {
	pulse := s.machine()
	var all []time.Duration
	for range n {
		req, err := http.NewRequest("GET", "http://"+s.http+"/v1/streams", nil)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		begin := time.Now()
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%s %w", res.Status, err)
		}
		all = append(all, pulse.Took(begin))
	}
	slices.Sort(all)
	return all[len(all)*99/100], nil
}

// flood holds connections open that never come to the point; it returns how many stand.
func (s *server) flood(t *testing.T, n int, address, first, more string) (standing int, stop func()) {
	t.Helper()
	var conns []net.Conn
	done := make(chan struct{})
	var wg sync.WaitGroup
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(stranger)}}
	for range n {
		c, err := dialer.Dial("tcp", address)
		if err != nil {
			t.Logf("%d connections of %d: %v", len(conns), n, err)
			break
		}
		conns = append(conns, c)
		if first == "" {
			continue
		}
		if _, err := io.WriteString(c, first); err != nil {
			continue // the server had enough of it, as it may
		}
		wg.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				if _, err := io.WriteString(c, more); err != nil {
					return
				}
			}
		})
	}
	return len(conns), func() {
		close(done)
		for _, c := range conns {
			_ = c.Close()
		}
		wg.Wait()
	}
}

func TestConnectionsThatNeverComeToThePoint(t *testing.T) {
	s := start(t, "--demo")
	s.cage(t, flooded)
	recorded(s, "demo", 1)
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	const asks = 300
	if _, err := s.latencies(client, 50); err != nil { // what is needed once is loaded
		t.Fatal(err)
	}
	quiet, err := s.latencies(client, asks)
	if err != nil {
		t.Fatal(err)
	}
	post := "POST /v1/streams HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.token + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	var floods []func()
	total := 0
	for _, f := range []struct {
		n                    int
		address, first, more string
	}{
		{idleSockets, s.http, "", ""},
		{200, s.rtsp, "", ""},
		{100, s.http, "GET /v1/streams HTTP/1.1\r\nHost: x\r\n", "X-Slow: 1\r\n"},
		{50, s.rtsp, "DESCRIBE rtsp://x/demo RTSP/1.0\r\n", "X-Slow: 1\r\n"},
		{20, s.http, post, "1\r\n \r\n"},
		{5, s.http, post, "4000\r\n" + strings.Repeat(" ", 0x4000) + "\r\n"},
	} {
		n, stop := s.flood(t, f.n, f.address, f.first, f.more)
		total += n
		floods = append(floods, stop)
	}
	busy, err := s.latencies(client, asks)
	if err != nil {
		t.Errorf("a good client among %d others: %v", total, err)
	}
	fresh := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if _, err = s.latencies(fresh, 20); err != nil {
		t.Errorf("a new connection among %d others: %v", total, err)
	}
	peak := s.peak(t)
	t.Logf("p99 of a good client: %v alone, %v among %d connections; the server held %d MiB at most", quiet, busy, total, peak>>20)
	if peak > flooded {
		t.Errorf("the server held %d MiB, at most %d is fine", peak>>20, flooded>>20)
	}
	// On a machine that does much else, a few milliseconds times three say nothing.
	if most := max(3*quiet, 300*time.Millisecond); busy > most {
		t.Errorf("p99 went from %v to %v, at most %v is fine", quiet, busy, most)
	}
	for _, stop := range floods {
		stop()
	}
	before := s.stream("demo").Fragments
	recorded(s, "demo", before+1)
	if status, _, _ := s.do("GET", "/readyz", nil); status != http.StatusOK {
		t.Errorf("afterwards the server is not ready: %d", status)
	}
}
