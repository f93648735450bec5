package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"penstock/auth"
)

// run serves a site until the test ends.
func (s *site) run(t *testing.T, secure *tls.Config) string {
	t.Helper()
	in := *s.server
	in.c.TLS = secure
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, l) }()
	t.Cleanup(func() { stop(); check(t, <-ended) })
	return l.Addr().String()
}

// TestConnectionsThatSpeakHTTP2AreBounded opens more than there is room for.
func TestConnectionsThatSpeakHTTP2AreBounded(t *testing.T) {
	site := newSite(t)
	site.server.crowd = newCrowd(8*http2Part, -1) // eight
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	secure := &tls.Config{Certificates: certificate.TLS.Certificates}
	token := site.key(auth.NewKey{Role: auth.RoleViewer})
	for name, address := range map[string]string{"h2c": site.run(t, nil), "tls": site.run(t, secure), "h2c, known": site.run(t, nil), "tls, known": site.run(t, secure)} {
		known := strings.HasSuffix(name, ", known")
		spoke := map[string]int{}
		var open []*http.Transport
		for range 12 {
			tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
			scheme := "http"
			if strings.HasPrefix(name, "tls") {
				tr.Protocols.SetHTTP1(true)
				tr.Protocols.SetHTTP2(true)
				scheme = "https"
			} else {
				tr.Protocols.SetUnencryptedHTTP2(true)
			}
			open = append(open, tr)
			req, err := http.NewRequest("GET", scheme+"://"+address+"/v1/session", nil)
			check(t, err)
			if known {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
			if err != nil {
				spoke["refused"]++
				continue
			}
			spoke[res.Proto]++
			check(t, res.Body.Close())
		}
		want := "map[HTTP/2.0:8 refused:4]"
		switch {
		case known:
			want = "map[HTTP/2.0:12]"
		case name == "tls":
			want = "map[HTTP/1.1:4 HTTP/2.0:8]"
		}
		if got := fmt.Sprint(spoke); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		for _, tr := range open {
			tr.CloseIdleConnections()
		}
		for late := time.Now().Add(time.Minute); site.server.crowd.conns.Inside() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("%s: %d places are not given back", name, site.server.crowd.conns.Inside())
			}
		}
	}
}

// TestAnswersThatNobodyReadsAreBounded asks for the console again and again and takes no
// data: what is under way counts until it has left, and past the bound the answer is 503.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	site := newSite(t)
	site.server.crowd = newCrowd(20, -1)
	c, err := net.Dial("tcp", site.run(t, nil))
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = c.Write([]byte(http2.ClientPreface))
	check(t, err)
	f := http2.NewFramer(c, c)
	check(t, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	var b strings.Builder
	e := hpack.NewEncoder(&b)
	const asked = 50
	for i := range asked {
		b.Reset()
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/openapi.json"}} {
			check(t, e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
		}
		check(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: []byte(b.String()), EndStream: true, EndHeaders: true}))
	}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	status, ended := map[string]int{}, 0
	for status["200"]+status["503"] < asked || ended < status["503"] { // a refusal that waited to be read would not end
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("after %v, of which %d ended: %v", status, ended, err)
		}
		switch h := frame.(type) {
		case *http2.MetaHeadersFrame:
			status[h.PseudoValue("status")]++
			if h.StreamEnded() {
				ended++
			}
		case *http2.DataFrame:
			if h.StreamEnded() {
				ended++
			}
		}
	}
	if status["200"] != 20 {
		t.Errorf("%v, want 20 under way", status)
	}
	if n := site.server.crowd.requests.Inside(); n != 20 {
		t.Errorf("%d count", n)
	}
}

// TestLongHeadersTakeSeveralPlaces asks over HTTP/2 with headers of 15 KiB.
func TestLongHeadersTakeSeveralPlaces(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	if n := places(r); n != 1 {
		t.Errorf("a request without headers takes %d places", n)
	}
	for i := range 100 {
		r.Header.Set(fmt.Sprint("X-", i), strings.Repeat("x", 150))
	}
	if n := places(r); n < 8 {
		t.Errorf("headers of 15 KiB take %d places", n)
	}
	r = httptest.NewRequest("GET", "/"+strings.Repeat("x", 8<<10), nil)
	if n := places(r); n < 4 {
		t.Errorf("a path of 8 KiB takes %d places", n)
	}
	site := newSite(t)
	site.server.crowd = newCrowd(100, -1)
	r.ProtoMajor, r.RemoteAddr = 2, "192.0.2.1:1"
	var leaves []func()
	for {
		_, leave, ok := site.server.crowd.enter(httptest.NewRecorder(), r)
		if !ok {
			break
		}
		leaves = append(leaves, leave)
	}
	if n := len(leaves); n < 10 || n > 100/places(r) {
		t.Errorf("%d of %d places are in", n, places(r))
	}
	for _, leave := range leaves {
		leave()
	}
	if n := site.server.crowd.requests.Inside(); n != 0 {
		t.Errorf("%d places are not given back", n)
	}
}

// stalled is a writer whose answers do not leave before it is told to let them.
type stalled struct {
	http.ResponseWriter
	leave <-chan struct{}
}

// FlushError waits.
func (s stalled) FlushError() error {
	<-s.leave
	return nil
}

// TestWhoReadsNoRefusalIsHungUpOn has refusals wait until they leave.
func TestWhoReadsNoRefusalIsHungUpOn(t *testing.T) {
	c := newCrowd(1, -1)
	if _, ok := c.requests.Enter(nil); !ok {
		t.Fatal("no place")
	}
	here, there := net.Pipe()
	defer there.Close()
	conn := &crowdConn{Conn: here, crowd: c}
	leave, done := make(chan struct{}), make(chan struct{})
	ask := func() {
		r := httptest.NewRequest("GET", "/", nil)
		r.ProtoMajor = 2
		r = r.WithContext(context.WithValue(r.Context(), crowdKey{}, conn))
		w := httptest.NewRecorder()
		if _, _, ok := c.enter(stalled{w, leave}, r); ok || w.Code != http.StatusServiceUnavailable {
			t.Errorf("let in: %v, %d", ok, w.Code)
		}
		done <- struct{}{}
	}
	wait := func(n int64) {
		for late := time.Now().Add(time.Minute); c.refused.Load() < n && time.Now().Before(late); {
			time.Sleep(time.Millisecond)
		}
	}
	for range refusedMost {
		go ask()
	}
	wait(refusedMost)
	check(t, there.SetDeadline(time.Now().Add(time.Minute)))
	go ask()
	if _, err := there.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is still there: %v", err)
	}
	close(leave)
	for range refusedMost + 1 {
		<-done
	}
	if n := c.refused.Load(); n != 0 {
		t.Errorf("%d refusals are still counted", n)
	}
}
