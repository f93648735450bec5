package web

import (
	"bytes"
	"crypto/subtle"
	"io"
	"net/http"
	"strings"
	"time"

	"penstock/auth"
	"penstock/ingest/telemetry"
	"penstock/internal/fault"
	"penstock/streams"
	"penstock/streams/datastream"
	"penstock/wire/sigv4"
)

// target says what a route's action is done to, and so what is asked of auth.
type target uint8

const (
	toNobody  target = iota // the route is open to everyone and shows nothing of anyone's
	toSelf                  // any known caller, about themselves
	toServer                // the server as a whole, all accounts: only its own account may
	toAccount               // the caller's account as a whole; a handler that shows streams asks again for each
	toStream                // the stream of the path
	toData                  // the data stream of the path
)

// door says which proofs a route takes beside a bearer token.
type door uint8

const (
	plainDoor door = iota // bearer token or cookie
	mediaDoor             // also a short-lived ?token=
)

// route is one row of the only table of what this server answers. The mux, the
// authorization check, the OpenAPI document and the authorization matrix test are
// all made from it, so none of them can miss one.
type route struct {
	Method  string
	Path    string // with {name} where a stream is meant
	Action  auth.Action
	On      target
	Makes   bool // the data stream, on first use, where the caller may
	Large   bool // the body is data, not a document: see dataBody
	Door    door
	Span    func(*call) (from, to time.Time, err error) // of the media that is asked for; nil: live
	Summary string
	Query   []param
	Body    string // name of the request's schema; "" for none
	Answer  string // content type, or name of a schema
	Handle  func(*call) error
}

// param is one query parameter, for the OpenAPI document.
type param struct{ Name, About string }

// call is one request on its way through a route.
type call struct {
	s         *Server
	w         http.ResponseWriter
	r         *http.Request
	principal auth.Principal
	session   auth.Session // of the cookie; zero with another proof
	from, to  time.Time    // of the media that is asked for; zero: live, or no media token with a span
	stream    streams.Stream
	data      *datastream.Stream
	object    string        // of the audit log, where a handler knows it better than the path
	aside     string        // what the audit log says beside the route
	every     time.Duration // how often the audit log has a line of this; 0: each time
	held      int64         // bytes of Server.bodies
}

// json answers v with status 200.
func (c *call) json(v any) error {
	c.s.answer(c.w, http.StatusOK, v)
	return nil
}

// may asks whether the caller may do action to resource.
func (c *call) may(action auth.Action, resource string) error {
	return c.s.c.Auth.Authorize(c.principal, action, resource, c.context())
}

func (c *call) context() auth.Context {
	return auth.Context{SourceIP: remoteHost(c.r), Secure: c.r.TLS != nil, From: c.from, To: c.to}
}

// mount puts the table into a mux.
func (s *Server) mount(table []route) *http.ServeMux {
	mux := http.NewServeMux()
	for _, rt := range table {
		mux.HandleFunc(rt.Method+" "+rt.Path, func(w http.ResponseWriter, r *http.Request) { s.enter(rt, w, r) })
	}
	return mux
}

// enter finds out who calls, asks auth, and hands the request to its handler.
func (s *Server) enter(rt route, w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r}
	defer c.release()
	if err := s.admit(rt, c); err != nil {
		c.note(rt, c.tried(), "", err)
		s.fail(w, r, err)
		return
	}
	if rt.On != toSelf && rt.On != toNobody {
		// A revoked key ends what it started: the request's context falls with it.
		var shared func() *auth.ResourcePolicy
		if rt.On == toData {
			shared = c.data.Shared
		}
		ctx, release := s.c.Auth.HoldShared(r.Context(), c.principal, rt.Action, c.resource(rt.On), shared, c.context())
		defer release()
		c.r = r.WithContext(ctx)
	}
	if err := s.handle(rt, c); err != nil {
		s.fail(w, c.r, err)
	}
}

// admit is the whole of the front door: 401 without a proof, 404 for a stream the
// caller may not know of, 403 for what policy refuses.
func (s *Server) admit(rt route, c *call) error {
	if rt.On == toNobody {
		return nil
	}
	if err := s.identify(rt, c); err != nil {
		return err
	}
	if !c.principal.Known() {
		return fault.New(fault.Unauthentic, "sign in", "", "this needs a bearer token, a media token or the console's cookie").
			WithHint("make one with `penstock key create`, or sign in at /")
	}
	switch rt.On {
	case toSelf:
		return nil
	case toStream:
		return s.admitToStream(rt, c)
	case toData:
		return s.admitToData(rt, c)
	}
	return c.may(rt.Action, c.resource(rt.On))
}

func (s *Server) admitToStream(rt route, c *call) error {
	name := c.r.PathValue("name")
	unknown := fault.New(fault.NotFound, "find stream", name, "no such stream").
		WithHint("`penstock stream ls` lists the streams that you may see")
	st, err := s.c.Catalogue.Get(c.principal.Account, name)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return unknown
	}
	if err != nil {
		return err
	}
	c.stream = st
	if _, _, bound := c.principal.Window(); bound && rt.Span != nil {
		if c.from, c.to, err = rt.Span(c); err != nil {
			return err
		}
	}
	err = c.may(rt.Action, st.ARN())
	if fault.Is(err, fault.Denied) && c.may(auth.DescribeStream, st.ARN()) != nil {
		return unknown
	}
	return err
}

func (c *call) resource(on target) string {
	switch on {
	case toStream:
		return c.stream.ARN()
	case toData:
		return c.data.ARN()
	case toAccount:
		return auth.SystemARN(c.principal.Account)
	}
	return c.s.c.Auth.SystemARN()
}

// identify finds the principal behind the request. An invalid proof is an error;
// the lack of any proof is not.
func (s *Server) identify(rt route, c *call) error {
	r := c.r
	remote := remoteHost(r)
	if sigv4.Present(r) {
		return s.signed(rt, c, remote)
	}
	if head := r.Header.Get("Authorization"); head != "" {
		scheme, token, _ := strings.Cut(head, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return fault.New(fault.Unauthentic, "sign in", "", "the Authorization header is neither `Bearer pst_...` nor an AWS signature")
		}
		var err error
		c.principal, err = s.c.Auth.Bearer(r.Context(), strings.TrimSpace(token), remote)
		return err
	}
	if token := r.URL.Query().Get("token"); token != "" && rt.Door == mediaDoor {
		var err error
		c.principal, err = s.c.Auth.Media(r.Context(), token, remote)
		return err
	}
	cookie := sessionCookie(r)
	if cookie == "" {
		return nil
	}
	p, session, err := s.c.Auth.Cookie(r.Context(), cookie, remote)
	if err != nil {
		return err
	}
	if err := sameSite(r, session); err != nil {
		return err
	}
	c.principal, c.session = p, session
	return nil
}

// signed finds the principal behind an AWS signature, which covers the body: it is read
// here, within the row's bounds, and kept for the handler. What nobody we know can have
// signed is not read; what is not proved yet has a bound of its own.
func (s *Server) signed(rt route, c *call, remote string) error {
	vouch := func() (bool, error) { return s.c.Auth.Vouch(c.r.Context(), c.r, remote) }
	proved, err := vouch()
	if err != nil {
		return err
	}
	if !proved {
		most := int64(maxBody)
		if rt.Large {
			most = telemetry.BodyMax
		}
		leave, err := c.unproved(most, func() bool {
			proved, err := vouch()
			return err == nil && proved
		})
		if err != nil {
			return err
		}
		defer leave()
	}
	body, err := c.body(rt)
	if err != nil {
		return err
	}
	c.principal, err = s.c.Auth.Signed(c.r.Context(), c.r, body, remote)
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// unproved takes room for a body of at most so many bytes from somebody who is not proved
// to be who they say, until leave is called.
func (c *call) unproved(most int64, proved func() bool) (leave func(), err error) {
	if n := c.r.ContentLength; n >= 0 {
		most = min(most, n)
	}
	leave, ok := c.s.lobby.Enter(c.r.Context(), c.r.RemoteAddr, most, proved)
	if !ok {
		return nil, fault.New(fault.Throttled, "read request body", "", "too many bodies of callers who are not known yet")
	}
	return leave, nil
}

// body reads the whole body within the bounds of the row.
func (c *call) body(rt route) ([]byte, error) {
	if rt.Large {
		return c.dataBody()
	}
	return readBody(c.w, c.r)
}

// sameSite refuses a request that another site made the browser send: a cookie
// proves a change only together with the session's CSRF token, and opens a
// WebSocket only from our own pages.
func sameSite(r *http.Request, session auth.Session) error {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	upgrade := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	if safe && !upgrade {
		return nil
	}
	if origin := r.Header.Get("Origin"); origin != "" || upgrade {
		if err := ownPage(r, origin); err != nil {
			return err
		}
	}
	if !safe && subtle.ConstantTimeCompare([]byte(r.Header.Get("X-CSRF-Token")), []byte(session.CSRF)) != 1 {
		return fault.New(fault.Denied, "check the request", "", "the X-CSRF-Token header is missing or wrong").
			WithHint("reload the page")
	}
	return nil
}

// ownPage refuses an Origin that is not this server's own address.
func ownPage(r *http.Request, origin string) error {
	_, host, _ := strings.Cut(origin, "://")
	if host == "" || !strings.EqualFold(host, r.Host) {
		return fault.New(fault.Denied, "check where the request comes from", origin, "it is not a page of this server")
	}
	return nil
}
