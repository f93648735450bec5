package awsjson

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/internal/deadline"
)

func ask(s *Server, target, content string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.Header.Set("X-Amz-Target", target)
	r.Header.Set("Content-Type", content)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c")
	r.Header.Set("X-Amz-Date", "20260101T000000Z")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// endless hides that a reader knows its length.
type endless struct{ io.Reader }

func TestLargeBodies(t *testing.T) {
	s := toyServer(t, func(c *Config) { c.MaxBody = 1000 })
	for _, c := range []struct {
		name   string
		body   io.Reader
		status int
	}{
		{"as large as may be", strings.NewReader("{" + strings.Repeat(" ", 998) + "}"), 200},
		{"one more", strings.NewReader("{" + strings.Repeat(" ", 999) + "}"), 413},
		{"one more that does not say so", endless{strings.NewReader("{" + strings.Repeat(" ", 999) + "}")}, 413},
		{"as large as may be, without saying so", endless{strings.NewReader("{" + strings.Repeat(" ", 998) + "}")}, 200},
	} {
		w := ask(s, "Toy_20260101.Nothing", TypeJSON, c.body)
		if w.Code != c.status {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if n := s.budget.held.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

func TestBudget(t *testing.T) {
	gate, held := make(chan struct{}), make(chan struct{})
	s := toyServer(t, func(c *Config) {
		c.Budget = 4000
		c.Authenticate = func(ctx context.Context, _ *Call, body []byte) (context.Context, error) {
			if len(body) > 1000 {
				close(held)
				<-gate
			}
			return ctx, nil
		}
	})
	var done sync.WaitGroup
	done.Go(func() {
		if w := ask(s, "Toy_20260101.Nothing", TypeJSON, strings.NewReader("{"+strings.Repeat(" ", 3000)+"}")); w.Code != 200 {
			t.Errorf("the first: %d %s", w.Code, w.Body)
		}
	})
	<-held
	if w := ask(s, "Toy_20260101.Nothing", TypeJSON, strings.NewReader("{"+strings.Repeat(" ", 900)+"}")); w.Code != 503 {
		t.Errorf("past the budget: %d %s", w.Code, w.Body)
	}
	close(gate)
	done.Wait()
	if n := s.budget.held.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("reset by peer") }

func TestABodyThatDoesNotArrive(t *testing.T) {
	var seen Outcome
	s := toyServer(t, func(c *Config) { c.Observe = func(_ *Call, o Outcome) { seen = o } })
	if w := ask(s, "Toy_20260101.Nothing", TypeJSON, endless{io.MultiReader(strings.NewReader("{"), broken{})}); w.Code != 408 || seen.Err == nil {
		t.Errorf("%d %s, %v", w.Code, w.Body, seen.Err)
	}
}

func TestAuthentication(t *testing.T) {
	type who struct{}
	var body []byte
	s := toyServer(t, func(c *Config) {
		c.Authenticate = func(ctx context.Context, call *Call, b []byte) (context.Context, error) {
			body = bytes.Clone(b)
			if call.Operation != "Echo" {
				return nil, errKnown
			}
			return context.WithValue(ctx, who{}, "me"), nil
		}
		c.Services[0].Handlers[0] = Handle("Echo", func(ctx context.Context, _ *Call, in *toyInput) (*toyInput, error) {
			name := ctx.Value(who{}).(string)
			in.Secret = &name
			return in, nil
		})
	})
	if w := ask(s, "Toy_20260101.Echo", TypeJSON, strings.NewReader(`{"Count":1}`)); w.Body.String() != `{"Count":1,"Secret":"me"}` || string(body) != `{"Count":1}` {
		t.Errorf("%d %s, over %q", w.Code, w.Body, body)
	}
	if w := ask(s, "Toy_20260101.Nothing", TypeJSON, strings.NewReader(`{}`)); w.Code != 400 || !strings.Contains(w.Body.String(), "LimitExceededException") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(s, "Toy_20260101.Nothing", TypeJSON, strings.NewReader(`{`)); w.Body.String() != `{"__type":"SerializationException"}` {
		t.Errorf("what is no JSON is said before who may ask: %d %s", w.Code, w.Body)
	}
}

func TestNewNamesWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*Service)
	}{
		{"missing", "Toy_20260101.Echo has no handler", func(s *Service) { s.Handlers = s.Handlers[1:] }},
		{"twice", "Toy_20260101.Echo has two handlers", func(s *Service) { s.Handlers = append(s.Handlers, s.Handlers[0]) }},
		{"unknown", "no operation Other", func(s *Service) {
			s.Handlers = append(s.Handlers, HandleVoid("Other", func(context.Context, *Call, *toyFail) error { return nil }))
		}},
		{"another input", "Echo: the handler takes awsjson.toyFail, the model has awsjson.toyInput", func(s *Service) {
			s.Handlers[0] = HandleVoid("Echo", func(context.Context, *Call, *toyFail) error { return nil })
		}},
		{"no output", "Echo: the handler has no output, the model has Echo", func(s *Service) {
			s.Handlers[0] = HandleVoid("Echo", func(context.Context, *Call, *toyInput) error { return nil })
		}},
		{"an output too many", "Nothing: the handler has an output, the model has none", func(s *Service) {
			s.Handlers[2] = Handle("Nothing", func(context.Context, *Call, *toyNothing) (*toyFail, error) { return nil, nil })
		}},
		{"no events", "Nothing: the handler answers with events, the model does not", func(s *Service) {
			s.Handlers[2] = HandleStream("Nothing", func(context.Context, *Call, *toyNothing, *Stream) error { return nil })
		}},
	} {
		service := Service{Model: toyModel(), Handlers: toyHandlers()}
		c.change(&service)
		if _, err := New(Config{Services: []Service{service}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestObserve(t *testing.T) {
	var seen []Outcome
	var names []string
	s := toyServer(t, func(c *Config) {
		c.Observe = func(call *Call, o Outcome) { seen, names = append(seen, o), append(names, call.Operation) }
	})
	ask(s, "Toy_20260101.Echo", TypeJSON, strings.NewReader(`{"Count":1}`))
	ask(s, "Toy_20260101.Fail", TypeJSON, strings.NewReader(`{"How":"x"}`))
	ask(s, "Toy_20260101.Who", TypeJSON, strings.NewReader(`{}`))
	ask(s, "Toy_20260101.Watch", TypeJSON, strings.NewReader(`{"How":"after"}`))
	if len(seen) != 4 || seen[0].Status != 200 || seen[0].In != 11 || seen[0].Out != 11 || names[0] != "Echo" {
		t.Fatalf("%v %+v", names, seen)
	}
	if seen[1].Status != 500 || !errors.Is(seen[1].Err, errSecret) || seen[1].Type != "InternalFailure" {
		t.Errorf("%+v", seen[1])
	}
	if seen[2].Type != "UnknownOperationException" || names[2] != "" {
		t.Errorf("%q %+v", names[2], seen[2])
	}
	if seen[3].Status != 200 || seen[3].Type != "ResourceInUseException" {
		t.Errorf("%+v", seen[3])
	}
}

func TestManyAtOnce(t *testing.T) {
	s := toyServer(t, nil)
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			blob := strings.Repeat(string(rune('A'+i)), 8)
			for range 200 {
				body := `{"Blob":"` + blob + `","Names":["` + strings.ToLower(blob[:3]) + `"]}`
				if w := ask(s, "Toy_20260101.Echo", TypeJSON, strings.NewReader(body)); w.Body.String() != body {
					t.Errorf("%s became %s", body, w.Body)
					return
				}
			}
		})
	}
	done.Wait()
}

func TestAConnectionOutlivesItsEventStream(t *testing.T) {
	server := httptest.NewServer(toyServer(t, func(c *Config) {
		c.Now = func() time.Time { return time.Unix(1, 0) } // a clock of its own is none for sockets
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, op := range []string{"Watch", "Nothing", "Watch", "Echo"} {
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nX-Amz-Target: Toy_20260101.%s\r\nContent-Length: 2\r\n"+
			"Authorization: A Credential=a, SignedHeaders=b, Signature=c\r\nX-Amz-Date: d\r\n\r\n{}", TypeJSON, op)
		w, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, w.Body); err != nil || w.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", op, w.Status, err)
		}
	}
}

// TestWhoLeavesAStreamIsNoticed also after requests that were answered in a moment, which
// is when nobody looks out for clients that leave.
func TestWhoLeavesAStreamIsNoticed(t *testing.T) {
	began, ended := make(chan bool), make(chan error)
	server := httptest.NewUnstartedServer(toyServer(t, func(c *Config) {
		c.Services[0].Handlers[3] = HandleStream("Watch", func(ctx context.Context, _ *Call, _ *toyFail, s *Stream) error {
			err := s.Start()
			began <- true
			<-ctx.Done()
			ended <- err
			return ctx.Err()
		})
	}))
	server.Listener = deadline.Listen(server.Listener)
	server.Config.ConnContext = deadline.NewContext
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, op := range []string{"Nothing", "Nothing", "Watch"} {
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nX-Amz-Target: Toy_20260101.%s\r\nContent-Length: 2\r\n"+
			"Authorization: A Credential=a, SignedHeaders=b, Signature=c\r\nX-Amz-Date: d\r\n\r\n{}", TypeJSON, op)
		if w, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost}); err != nil || w.StatusCode != http.StatusOK {
			t.Fatal(w, err)
		}
	}
	<-began
	_ = conn.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// clocked notes the deadlines that are set, by how far off they are.
type clocked struct {
	*httptest.ResponseRecorder
	reads, writes []bool // true: a time that is still to come; false: none any more
}

func (c *clocked) SetReadDeadline(t time.Time) error {
	c.reads = append(c.reads, time.Until(t) > 0)
	return nil
}

func (c *clocked) SetWriteDeadline(t time.Time) error {
	c.writes = append(c.writes, time.Until(t) > 0)
	return nil
}

func TestBodiesAndLargeAnswersHaveDeadlines(t *testing.T) {
	s := toyServer(t, func(c *Config) {
		c.Services[0].Handlers[0] = Handle("Echo", func(context.Context, *Call, *toyInput) (*toyInput, error) {
			long := strings.Repeat("x", answerAtOnce)
			return &toyInput{Secret: &long}, nil
		})
	})
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
	r.Header = http.Header{"X-Amz-Target": {"Toy_20260101.Echo"}, "Content-Type": {TypeJSON}, "Date": {"d"}, "Authorization": {"A Credential=a,Signature=b,SignedHeaders=c"}}
	w := &clocked{ResponseRecorder: httptest.NewRecorder()}
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !slices.Equal(w.reads, []bool{true, false}) || !slices.Equal(w.writes, []bool{true, false}) {
		t.Errorf("%d, reading %v, writing %v", w.Code, w.reads, w.writes)
	}
}

func TestAPanicGivesEverythingBack(t *testing.T) {
	for _, c := range []struct {
		name string
		how  func(*Stream) any
		cut  bool
	}{
		{"before the answer", func(*Stream) any { return "as asked" }, false},
		{"in the middle of it", func(s *Stream) any { return s.Start() == nil }, true},
		{"one that is meant", func(*Stream) any { return http.ErrAbortHandler }, true},
	} {
		s := toyServer(t, func(config *Config) {
			config.Services[0].Handlers[3] = HandleStream("Watch", func(_ context.Context, _ *Call, _ *toyFail, s *Stream) error { panic(c.how(s)) })
		})
		cut := false
		func() {
			defer func() { cut = recover() == http.ErrAbortHandler }()
			if w := ask(s, "Toy_20260101.Watch", TypeJSON, strings.NewReader("{}")); w.Code != http.StatusInternalServerError {
				t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			}
		}()
		if held := s.budget.held.Load(); cut != c.cut || held != 0 {
			t.Errorf("%s: cut %v, %d bytes held", c.name, cut, held)
		}
	}
}
