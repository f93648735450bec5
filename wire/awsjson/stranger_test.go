package awsjson

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const mebi = 1 << 20

// watched is a body of n bytes that notes how much of all bodies is held while it comes.
type watched struct {
	s    *Server
	left int
	most int64
}

func (w *watched) Read(p []byte) (int, error) {
	w.most = max(w.most, w.s.budget.held.Load())
	n := min(len(p), w.left)
	if w.left -= n; n == 0 {
		return 0, io.EOF
	}
	for i := range n {
		p[i] = ' '
	}
	return n, nil
}

func TestWhatStrangersSendIsNotKept(t *testing.T) {
	asked := 0
	s := toyServer(t, func(c *Config) {
		c.Vouch = func(_ context.Context, call *Call) (bool, error) {
			asked++
			if call.Request.Header.Get("Authorization") != "AWS4-HMAC-SHA256 Credential=known, SignedHeaders=b, Signature=c" {
				return false, NewError("UnrecognizedClientException", "who?")
			}
			return false, nil
		}
	})
	const unknown = "AWS4-HMAC-SHA256 Credential=unknown, SignedHeaders=b, Signature=c"
	for _, c := range []struct {
		name, auth, target, content string
		size                        int
		crowd                       int // bytes that others hold
		status                      int
		want                        string
	}{
		{"unsigned", "", "Toy_20260101.Nothing", TypeJSON, mebi, 0, 400, `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`},
		{"half signed", "AWS4-HMAC-SHA256 Credential=a", "Toy_20260101.Nothing", TypeJSON, mebi, 0, 400, `IncompleteSignatureException`},
		{"an unknown key", unknown, "Toy_20260101.Nothing", TypeJSON, mebi, 0, 400, `{"__type":"UnrecognizedClientException","message":"who?"}`},
		{"an unknown key, CBOR", unknown, "Toy_20260101.Nothing", TypeCBOR, mebi, 0, 400, "f__typex\x1bUnrecognizedClientException"},
		{"an unknown operation", unknown, "Toy_20260101.Other", TypeJSON, mebi, 0, 400, `{"__type":"UnknownOperationException"}`},
		{"the old form", unknown, "Toy_20260101.Nothing", typeCoral, mebi, 0, 404, `UnknownOperationException`},
		{"an unknown type", "", "Toy_20260101.Nothing", "text/xml", mebi, 0, 403, `<MissingAuthenticationTokenException>`},
		{"more than is taken", unknown, "Toy_20260101.Nothing", TypeJSON, 70 * mebi, 0, 400, `UnrecognizedClientException`},
		{"an unknown key, little, and nobody there", unknown, "Toy_20260101.Nothing", TypeJSON, 100, 0, 400, `{"__type":"SerializationException"}`},
		{"an unknown key, little, in a crowd", unknown, "Toy_20260101.Nothing", TypeJSON, 100, strangersMost, 400, `UnrecognizedClientException`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.budget.take(c.crowd)
			defer s.budget.give(c.crowd)
			body := &watched{s: s, left: c.size}
			r := httptest.NewRequest(http.MethodPost, "/", endless{body})
			r.Header.Set("X-Amz-Target", c.target)
			r.Header.Set("Content-Type", c.content)
			if c.auth != "" {
				r.Header.Set("Authorization", c.auth)
				r.Header.Set("X-Amz-Date", "20260101T000000Z")
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if held := body.most - int64(c.crowd); held > strangerMost {
				t.Errorf("%d bytes were kept", held)
			}
			if cut := w.Header().Get("Connection") == "close"; body.left > 0 != cut {
				t.Errorf("%d bytes were not read, and the connection is cut: %v", body.left, cut)
			}
		})
	}
	before := asked
	for _, size := range []int{100, mebi} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{"+strings.Repeat(" ", size)+"}"))
		r.Header.Set("X-Amz-Target", "Toy_20260101.Nothing")
		r.Header.Set("Content-Type", TypeJSON)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=known, SignedHeaders=b, Signature=c")
		r.Header.Set("X-Amz-Date", "20260101T000000Z")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("%d bytes of a known key: %d %s", size, w.Code, w.Body)
		}
	}
	if asked-before != 1 {
		t.Errorf("asked %d times for one large body and one little", asked-before)
	}
	if n := s.budget.held.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

func TestWhoWaitsToSendIsAnsweredAtOnce(t *testing.T) {
	s := toyServer(t, nil)
	body := &watched{s: s, left: mebi}
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.ContentLength = mebi
	r.Header.Set("Expect", "100-continue")
	r.Header.Set("X-Amz-Target", "Toy_20260101.Nothing")
	r.Header.Set("Content-Type", TypeJSON)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 400 || body.left != mebi {
		t.Errorf("%d %s; %d bytes were not read", w.Code, w.Body, body.left)
	}
}

// TestWhoSendsTooMuchHearsOfIt: over a connection a client that writes all before it reads
// would otherwise see it cut.
func TestWhoSendsTooMuchHearsOfIt(t *testing.T) {
	s := toyServer(t, func(c *Config) { c.MaxBody = 8 * mebi })
	h := httptest.NewServer(s)
	defer h.Close()
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := strings.Repeat(" ", 24*mebi)
	if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nX-Amz-Target: Toy_20260101.Nothing\r\nContent-Length: %d\r\n\r\n%s", TypeJSON, len(body), body); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(answer.Status)
	}
}

// stuck is a body of which so many bytes come at once, and the rest when end is closed.
type stuck struct {
	first, rest int
	end         <-chan struct{}
}

// Read gives spaces.
func (s *stuck) Read(p []byte) (int, error) {
	if s.first == 0 {
		<-s.end
		s.first, s.rest = s.rest, 0
	}
	n := min(len(p), s.first)
	if s.first -= n; n == 0 {
		return 0, io.EOF
	}
	for i := range n {
		p[i] = ' '
	}
	return n, nil
}

// TestWhoeverNamesAKeyHoldsLittle has a hundred callers from ten addresses name a key that
// there is, and send large bodies that do not end: until a signature is judged an id is all
// that they have shown.
func TestWhoeverNamesAKeyHoldsLittle(t *testing.T) {
	for _, declared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			proved := func(c *Call) bool { return c.Request.Header.Get("X-Proved") != "" }
			s := toyServer(t, func(c *Config) {
				c.Vouch = func(_ context.Context, call *Call) (bool, error) { return proved(call), nil }
				c.Authenticate = func(ctx context.Context, call *Call, _ []byte) (context.Context, error) {
					if !proved(call) {
						return ctx, NewError("InvalidSignatureException", "no")
					}
					return ctx, nil
				}
			})
			ask := func(i, size int, body io.Reader, head string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodPost, "/", body)
				r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i%10)
				if r.ContentLength = -1; declared {
					r.ContentLength = int64(size)
				}
				r.Header.Set("X-Amz-Target", "Toy_20260101.Nothing")
				r.Header.Set("Content-Type", TypeJSON)
				r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=known, SignedHeaders=b, Signature=c")
				r.Header.Set("X-Amz-Date", "20260101T000000Z")
				r.Header.Set(head, "yes")
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w
			}
			end := make(chan struct{})
			answers := make(chan int, 100)
			const size = 15 * mebi
			for i := range 100 {
				go func() { answers <- ask(i, size, &stuck{12 * mebi, size - 12*mebi, end}, "X-None").Code }()
			}
			synctest.Wait()
			held := s.budget.held.Load()
			if most := int64(64+64+32) * mebi; held > most || held < 30*mebi {
				t.Errorf("%d MiB of unproved bodies are held", held/mebi)
			}
			for i := range 16 { // real clients, meanwhile, also from those addresses
				if w := ask(i, 10*mebi, strings.NewReader("{"+strings.Repeat(" ", 10*mebi-2)+"}"), "X-Proved"); w.Code != http.StatusOK {
					t.Errorf("who is proved hears %d %s", w.Code, w.Body)
				}
			}
			time.Sleep(time.Minute) // who waited for room has given up
			close(end)
			refused := map[int]int{}
			for range 100 {
				refused[<-answers]++
			}
			if refused[http.StatusServiceUnavailable] < 90 || refused[http.StatusOK] > 0 || s.budget.held.Load() != 0 || s.lobby.Inside() != 0 {
				t.Errorf("answers %v; %d bytes held, %d in the lobby", refused, s.budget.held.Load(), s.lobby.Inside())
			}
		})
	}
}
