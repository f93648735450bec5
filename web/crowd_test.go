package web

import (
	"context"
	"crypto/tls"
	"fmt"
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
	status := map[string]int{}
	for status["200"]+status["503"] < asked {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("after %v: %v", status, err)
		}
		if h, ok := frame.(*http2.MetaHeadersFrame); ok {
			status[h.PseudoValue("status")]++
			if h.PseudoValue("status") == "503" && !h.StreamEnded() {
				t.Error("a refusal that waits to be read")
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
