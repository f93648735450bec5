package awsjson

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	crand "crypto/rand"

	"penstock/internal/deadline"
	"penstock/internal/lobby"
)

// bodyMax and budgetMax are the defaults of Config.MaxBody and Config.Budget.
const (
	bodyMax   = 16 << 20
	budgetMax = 1 << 30
)

// operation is a handler with what decoding it needs.
type operation struct {
	model *OperationModel
	Handler
	fast bool
	in   sync.Pool // inputs, when fast
}

func newOperation(m *OperationModel, h Handler) *operation {
	o := &operation{model: m, Handler: h}
	_, o.fast = m.New().(FastInput)
	return o
}

// Server answers requests for the services of its Config. It is safe for many goroutines.
type Server struct {
	config   Config
	services map[string]map[string]*operation
	pools    pools
	budget   budget
	lobby    *lobby.Lobby // of those who named a key that there is
	readers  sync.Pool
	spare    sync.Pool // exchanges that nobody uses

	// contentTypes are header values by Format, shared by all answers: nobody writes them.
	contentTypes [2][]string

	mu  sync.Mutex // ids
	ids *rand.ChaCha8
}

// New checks the config: every operation of every model needs a handler that fits.
func New(c Config) (*Server, error) {
	c.MaxBody = cmp.Or(c.MaxBody, bodyMax)
	c.Budget = cmp.Or(c.Budget, budgetMax)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Rand = cmp.Or(c.Rand, crand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	s := &Server{config: c, services: make(map[string]map[string]*operation), budget: budget{most: c.Budget}, lobby: lobby.New(lobby.Config{})}
	for i := range c.Services {
		ops, err := c.Services[i].check()
		if err != nil {
			return nil, err
		}
		s.services[c.Services[i].Model.Target] = ops
	}
	var seed [32]byte
	if _, err := io.ReadFull(c.Rand, seed[:]); err != nil {
		return nil, err
	}
	s.ids = rand.NewChaCha8(seed)
	for _, f := range [...]Format{JSON, CBOR} {
		s.contentTypes[f] = []string{f.ContentType()}
	}
	return s, nil
}

// exchange is one request on its way through the checks.
type exchange struct {
	*Server
	w     http.ResponseWriter
	r     *http.Request
	call  Call
	op    *operation // nil: unknown
	known bool       // the service is
	body  []byte
	out   Outcome
	start time.Time
	coral bool           // answer in the old application/json form
	conn  *deadline.Conn // where nobody looks out for a client that leaves; may be nil

	vouched bool   // the signer that the headers name exists, and is proved or in the lobby
	leave   func() // the lobby; nil: not in there
	lent    int    // bytes of the budget that a Reader's arena takes

	answered bool // the status is sent
}

// briefly is how soon an answer counts as given in a moment (deadline.Conn.Unwatch).
const briefly = time.Second

// ServeHTTP answers one request; the path does not matter.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, _ := s.spare.Get().(*exchange)
	if x == nil {
		x = new(exchange)
	}
	*x = exchange{Server: s, w: w, r: r, start: s.config.Now()}
	x.call.Request = r
	defer x.done()
	x.serve()
}

// done gives back what the request held, also after a panic. One that comes when part of
// an answer is sent cuts the connection, so that no client takes half for all.
func (x *exchange) done() {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		x.config.Logger.Error("a request made the server panic", "operation", x.call.Operation, "err", p, "stack", string(debug.Stack()))
		if x.answered {
			p = http.ErrAbortHandler
		} else {
			p = nil
			x.fail(Internal())
		}
	}
	if x.body != nil {
		x.release(x.body)
	}
	x.budget.give(x.lent)
	x.proved()
	x.out.Took = x.config.Now().Sub(x.start)
	x.conn.Answered(x.out.Took < briefly)
	if x.config.Observe != nil {
		x.config.Observe(&x.call, x.out)
	}
	if p != nil {
		panic(p)
	}
	s := x.Server
	*x = exchange{} // keeps nothing from the collector
	s.spare.Put(x)
}

// serve makes the checks in the order of AWS.
func (x *exchange) serve() {
	x.greet()
	if field(x.r.Header, "Origin") != "" && x.r.Method == http.MethodOptions {
		x.preflight()
		return
	}
	if x.r.Method != http.MethodPost {
		x.xml(accessDenied())
		return
	}
	service, name, _ := strings.Cut(field(x.r.Header, "X-Amz-Target"), ".")
	ops, known := x.services[service]
	x.known = known
	if x.op = ops[name]; x.op != nil {
		x.call.Target, x.call.Operation = service, name
	}
	if x.op != nil && !x.op.stream && x.r.ProtoMajor == 1 {
		x.conn = deadline.FromContext(x.r.Context())
		x.conn.Unwatch()
	}
	control := http.NewResponseController(x.w)
	bounded := control.SetReadDeadline(time.Now().Add(bodyWait)) == nil
	body, err := x.readBody()
	content, _, _ := strings.Cut(field(x.r.Header, "Content-Type"), ";")
	content = strings.TrimSpace(content)
	unknown, stranger := errors.AsType[*strangerError](err)
	if stranger {
		x.drain()
	}
	if bounded && (err == nil || stranger) {
		_ = control.SetReadDeadline(time.Time{}) // it could be set, so it can be taken back
	}
	switch {
	case stranger && content != TypeJSON && content != TypeCBOR && content != typeCoral:
		x.stranger(service, name)
		return
	case stranger:
		x.strange(content, unknown.error)
		return
	case err != nil:
		x.unread(err)
		return
	}
	_ = x.r.Body.Close() // or net/http looks for what may be left of it
	x.body, x.out.In = body, len(body)
	x.judge(content, service, name)
}

// judge answers a body that has been read, by what content says it is.
func (x *exchange) judge(content, service, name string) {
	switch {
	case len(x.body) == 0:
		x.call.Format = CBOR
		if content == TypeJSON {
			x.call.Format = JSON
		}
		x.unparsed()
	case content == TypeJSON:
		x.dispatch()
	case content == TypeCBOR:
		x.call.Format = CBOR
		x.dispatch()
	case content == typeCoral:
		x.coral = true
		if valid, object := validJSON(x.body); valid && object {
			x.fail(&Error{Type: "UnknownOperationException", Status: http.StatusNotFound})
		} else {
			x.fail(serialization(""))
		}
	default:
		x.stranger(service, name)
	}
}

// vouch asks whether there is somebody who can have signed the request, and whether it is
// proved that they did.
func (x *exchange) vouch() (proved bool, err error) {
	if e := unsigned(x.r); e != nil {
		return false, e
	}
	if x.config.Vouch == nil {
		return true, nil
	}
	return x.config.Vouch(x.r.Context(), &x.call)
}

// proved leaves the lobby: the signature has been judged.
func (x *exchange) proved() {
	if x.leave != nil {
		x.leave()
		x.leave = nil
	}
}

// valid reports whether the body is one object of its format, without decoding it.
func (x *exchange) valid() bool {
	check := validJSON
	if x.call.Format == CBOR {
		check = validCBOR
	}
	valid, object := check(x.body)
	return valid && object
}

// dispatch checks a body of a known type. AWS parses the body before all else; here that
// is done at once with decoding it, and alone only when another check fails.
func (x *exchange) dispatch() {
	refuse := func(e *Error) {
		if !x.valid() {
			e = serialization("")
		}
		x.fail(e)
	}
	if x.op == nil {
		refuse(&Error{Type: "UnknownOperationException"})
		return
	}
	if e := unsigned(x.r); e != nil {
		refuse(e)
		return
	}
	ctx := x.r.Context()
	if x.config.Authenticate != nil {
		signed, err := x.config.Authenticate(ctx, &x.call, x.body)
		if err != nil {
			x.out.Err = err
			refuse(x.exception(err))
			return
		}
		ctx = signed
		x.proved()
	}
	x.decode(ctx)
}

// decode reads the input, one way or the other, and has the operation done.
func (x *exchange) decode(ctx context.Context) {
	if x.op.fast {
		r := x.reader()
		in, _ := x.op.in.Get().(FastInput)
		if in == nil {
			in = x.op.model.New().(FastInput)
		}
		x.out.Fast = in.DecodeFast(r) && r.finish()
		if x.out.Fast {
			x.forget(r)
			x.perform(ctx, in)
		}
		in.Reset() // not after a panic: then nobody gets it again
		x.op.in.Put(in)
		x.returnReader(r)
		if x.out.Fast {
			return
		}
	}
	in := x.op.model.New()
	if e := Decode(in, x.op.model.Input, x.call.Format, x.body); e != nil {
		x.fail(e)
		return
	}
	x.perform(ctx, in)
}

// forget gives the body back as soon as nothing of the input lies in it, as in JSON: the
// handler may wait for a disk, and most of what many requests hold would be bodies.
func (x *exchange) forget(r *Reader) {
	if x.call.Format == JSON {
		r.data = nil
		x.release(x.body)
		x.body = nil
	}
}

// perform runs the handler and sends what it answers.
func (x *exchange) perform(ctx context.Context, in any) {
	var stream *Stream
	if x.op.stream {
		stream = &Stream{call: &x.call, w: x.w, pools: &x.pools, control: http.NewResponseController(x.w),
			begin: func(contentType string) {
				x.answered = true
				x.w.Header().Set("Content-Type", contentType)
			}}
	}
	out, err := x.op.call(ctx, &x.call, in, stream)
	switch {
	case stream != nil && (stream.began || err == nil):
		x.finish(stream, err)
	case err != nil:
		x.out.Err = err
		x.fail(x.exception(err))
	default:
		x.answer(out)
	}
}

// finish ends an event stream; one without events is one all the same.
func (x *exchange) finish(s *Stream, err error) {
	if err == nil {
		err = s.Start()
	} else if s.broken == nil {
		e := x.exception(err)
		x.out.Type = e.Type
		s.exception(e)
	}
	s.end()
	x.out.Status, x.out.Out, x.out.Err = http.StatusOK, s.sent, err
}

// exception words an error for the wire.
func (x *exchange) exception(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if x.config.Exception != nil {
		if e := x.config.Exception(&x.call, err); e != nil {
			return e
		}
	}
	return Internal()
}

func (x *exchange) answer(out any) {
	if out == nil {
		x.send(http.StatusOK, x.call.Format.ContentType(), nil)
		return
	}
	n := 4 << 10
	if sized, ok := out.(Sized); ok {
		n = sized.Size(x.call.Format)
	}
	b := x.pools.get(n)
	if a, ok := out.(Appender); ok {
		if x.call.Format == CBOR {
			b = a.AppendCBOR(b)
		} else {
			b = a.AppendJSON(b)
		}
	} else {
		b = AppendValue(b, x.call.Format, x.op.model.Output, out)
	}
	x.send(http.StatusOK, x.call.Format.ContentType(), b)
	x.pools.put(b)
}

// fail sends an exception.
func (x *exchange) fail(e *Error) {
	x.out.Type = e.Type
	content := x.call.Format.ContentType()
	if x.coral {
		content = typeCoral
	}
	x.send(e.status(), content, e.appendBody(nil, x.call.Format, x.coral))
}

// xml sends an exception to whom no format is agreed with.
func (x *exchange) xml(e *Error) {
	x.out.Type = e.Type
	body := "<" + e.Type + "/>\n"
	if e.Message != "" {
		body = "<" + e.Type + ">\n  <Message>" + xmlEscaper().Replace(e.Message) + "</Message>\n</" + e.Type + ">\n"
	}
	x.send(e.status(), "", []byte(body))
}

func xmlEscaper() *strings.Replacer {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
}

func (x *exchange) send(status int, content string, body []byte) {
	h := x.w.Header()
	switch content {
	case "":
		h["Content-Type"] = nil // or net/http guesses one
	case x.call.Format.ContentType():
		h["Content-Type"] = x.contentTypes[x.call.Format]
	default:
		h.Set("Content-Type", content)
	}
	if len(body) > answerCounted || x.r.ProtoMajor != 1 {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.out.Status, x.out.Out, x.answered = status, len(body), true
	if len(body) > answerAtOnce {
		control := http.NewResponseController(x.w)
		if control.SetWriteDeadline(time.Now().Add(answerWait)) == nil {
			defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
		}
	}
	x.w.WriteHeader(status)
	if len(body) > 0 {
		if _, err := x.w.Write(body); err != nil && x.out.Err == nil {
			x.out.Err = err
		}
	}
}
