package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"penstock/ingest/interleaved"
	"penstock/ingest/rtpin"
	"penstock/internal/fault"
)

// handler answers what gortsplib asks. Its methods come from one goroutine for each
// connection or session; what a connection carries is in caller.
type handler struct {
	s   *Server
	ctx context.Context
}

// caller is what the server knows of one connection.
type caller struct {
	tap      *interleaved.Conn
	remote   string
	nonce    string
	failures int

	mu      sync.Mutex
	pending func() // to be done when the answer at hand was made
	setup   *push  // a SETUP of it is being answered
	sight   *sight // what DESCRIBE showed
	session string // the session that was begun here
}

func callerOf(c *gortsplib.ServerConn) *caller {
	k, _ := c.UserData().(*caller)
	return k
}

// OnConnOpen implements gortsplib.ServerHandlerOnConnOpen.
func (h *handler) OnConnOpen(ctx *gortsplib.ServerHandlerOnConnOpenCtx) {
	tap, _ := ctx.Conn.NetConn().(*interleaved.Conn)
	nonce, err := auth.GenerateNonce()
	if err != nil || tap == nil {
		ctx.Conn.Close()
	}
	ctx.Conn.SetUserData(&caller{tap: tap, nonce: nonce, remote: ctx.Conn.NetConn().RemoteAddr().String()})
}

// OnConnClose implements gortsplib.ServerHandlerOnConnClose.
func (h *handler) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	h.s.log.Debug("connection closed", "remote", callerOf(ctx.Conn).remote, "err", ctx.Error)
}

// OnSessionClose implements gortsplib.ServerHandlerOnSessionClose.
func (h *handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	switch d := ctx.Session.UserData().(type) {
	case *push:
		var bye liberrors.ErrServerSessionTornDown
		if h.s.stopping.Load() {
			d.mu.Lock()
			d.cause = errStopping
			d.mu.Unlock()
		}
		d.close(errors.As(ctx.Error, &bye))
	case *player:
		d.close()
	}
}

// OnRequest implements gortsplib.ServerHandlerOnRequest. The library lets any connection
// from the same address end a session over UDP whose name it knows, and names can be read
// on the way: a session is its connection's.
func (h *handler) OnRequest(c *gortsplib.ServerConn, req *base.Request) {
	k := callerOf(c)
	k.mu.Lock()
	defer k.mu.Unlock()
	if named := req.Header["Session"]; len(named) > 0 && (len(named) > 1 || named[0] != k.session) {
		req.Header["Session"] = base.HeaderValue{"none of this connection"} // 454
	}
}

// OnResponse implements gortsplib.ServerHandlerOnResponse.
func (h *handler) OnResponse(c *gortsplib.ServerConn, res *base.Response) {
	res.Header["Server"] = base.HeaderValue{"penstock"}
	k := callerOf(c)
	k.mu.Lock()
	if named := res.Header["Session"]; len(named) == 1 {
		k.session, _, _ = strings.Cut(named[0], ";")
	}
	setup, pending := k.setup, k.pending
	k.setup, k.pending = nil, nil
	k.mu.Unlock()
	if setup != nil && res.StatusCode == base.StatusOK {
		var t headers.Transport
		if t.Unmarshal(res.Header["Transport"]) == nil {
			setup.setups = append(setup.setups, t)
		}
	}
	if pending != nil && res.StatusCode == base.StatusOK {
		pending()
	}
}

// OnDecodeError implements gortsplib.ServerHandlerOnDecodeError; RTP does not pass there.
func (h *handler) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}

// OnPacketsLost implements gortsplib.ServerHandlerOnPacketsLost.
func (h *handler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnStreamWriteError implements gortsplib.ServerHandlerOnStreamWriteError.
func (h *handler) OnStreamWriteError(ctx *gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
	if p, ok := ctx.Session.UserData().(*player); ok {
		p.behind.Store(true)
	}
}

// OnAnnounce implements gortsplib.ServerHandlerOnAnnounce.
func (h *handler) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	k := callerOf(ctx.Conn)
	grant, res, err := h.authenticate(k, ctx.Request, Push, ctx.Path, ctx.Query)
	if res != nil {
		return res, err
	}
	if err := rtpin.Check(ctx.Description.Medias); err != nil {
		grant.release()
		return h.refuse(k, Push, err), nil
	}
	ctx.Session.SetUserData(&push{s: h.s, session: ctx.Session, conn: ctx.Conn, tap: k.tap, grant: grant,
		remote: k.remote, medias: ctx.Description.Medias})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	k := callerOf(ctx.Conn)
	if ctx.Transport != gortsplib.TransportTCP && isSecure(k.tap) {
		// Media in the clear beside an encrypted conversation is not what was asked for.
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	switch d := ctx.Session.UserData().(type) {
	case *push:
		if d.conn != ctx.Conn {
			return otherConnection(), nil, nil
		}
		k.mu.Lock()
		k.setup = d
		k.mu.Unlock()
		return &base.Response{StatusCode: base.StatusOK}, nil, nil
	case *player:
		if d.conn != ctx.Conn {
			return otherConnection(), nil, nil
		}
		return &base.Response{StatusCode: base.StatusOK}, d.stream, nil
	}
	grant, res, err := h.authenticate(k, ctx.Request, Play, ctx.Path, ctx.Query)
	if res != nil {
		return res, nil, err
	}
	p, err := h.newPlayer(ctx, k, grant)
	if err != nil {
		grant.release()
		return h.refuse(k, Play, err), nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, p.stream, nil
}

// OnRecord implements gortsplib.ServerHandlerOnRecord.
func (h *handler) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	k := callerOf(ctx.Conn)
	p, ok := ctx.Session.UserData().(*push)
	if !ok || p.conn != ctx.Conn {
		return otherConnection(), nil
	}
	if err := p.record(h.ctx, *ctx.Session.SetuppedTransport()); err != nil {
		return h.refuse(k, Push, err), nil
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	k := callerOf(ctx.Conn)
	grant, res, err := h.authenticate(k, ctx.Request, Play, ctx.Path, ctx.Query)
	if res != nil {
		return res, nil, err
	}
	defer grant.release()
	body, err := h.describe(k, grant)
	if err != nil {
		return h.refuse(k, Play, err), nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK, Body: body}, nil, nil
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (h *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	k := callerOf(ctx.Conn)
	p, ok := ctx.Session.UserData().(*player)
	if !ok || p.conn != ctx.Conn {
		return otherConnection(), nil
	}
	k.tap.Allow(-1) // a player over TCP need not say a word
	k.mu.Lock()
	k.pending = p.start
	k.mu.Unlock()
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnPause implements gortsplib.ServerHandlerOnPause: media stops, and another PLAY goes on
// with what is live then. A paused player has to say a word now and then, as RFC 2326
// §12.37 has it. A producer cannot pause: what it does not send is missing. GStreamer tries
// before it ends, and takes 501 alone for no failure.
func (h *handler) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	k := callerOf(ctx.Conn)
	p, ok := ctx.Session.UserData().(*player)
	switch {
	case !ok:
		return &base.Response{StatusCode: base.StatusNotImplemented, StatusMessage: "only players pause; TEARDOWN ends a recording"}, nil
	case p.conn != ctx.Conn:
		return otherConnection(), nil
	}
	p.halt()
	k.tap.Allow(interleaved.DefaultIdle)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func otherConnection() *base.Response {
	return &base.Response{StatusCode: base.StatusForbidden, StatusMessage: "the session belongs to another connection"}
}

// authenticate asks who calls. A response that is not nil is the answer.
func (h *handler) authenticate(k *caller, req *base.Request, action Action, path, query string) (Grant, *base.Response, error) {
	ask := Ask{Remote: k.remote, Secure: isSecure(k.tap), Action: action, Stream: strings.Trim(path, "/")}
	ask.Method, ask.Nonce = string(req.Method), k.nonce
	if q, err := url.ParseQuery(query); err == nil {
		ask.Token = q.Get("token")
	}
	for _, v := range req.Header["Authorization"] {
		scheme, rest, _ := strings.Cut(v, " ")
		switch {
		case strings.EqualFold(scheme, "basic"):
			r := http.Request{Header: http.Header{"Authorization": {"Basic " + strings.TrimSpace(rest)}}}
			ask.User, ask.Password, ask.Basic = r.BasicAuth()
		case strings.EqualFold(scheme, "digest"):
			ask.Digest = v
		}
	}
	grant, err := h.s.c.Authenticator.Authenticate(h.ctx, ask)
	if err == nil {
		k.tap.Allow(knownTime)
		k.tap.Bound(0, 0)
		return grant, nil, nil
	}
	if fault.Is(err, fault.Unauthentic) {
		return Grant{}, h.challenge(k, !ask.None()), h.tooMany(k)
	}
	return Grant{}, h.refuse(k, action, err), nil
}

// challenge asks for credentials; refused: some were offered, and wrong.
func (h *handler) challenge(k *caller, refused bool) *base.Response {
	if refused {
		k.failures++
		h.s.metrics.refused.Inc()
	}
	return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{
		"WWW-Authenticate": auth.GenerateWWWAuthenticate(
			[]auth.VerifyMethod{auth.VerifyMethodDigestMD5, auth.VerifyMethodBasic}, h.s.c.Realm, k.nonce),
	}}
}

// tooMany closes a connection that guesses.
func (h *handler) tooMany(k *caller) error {
	if k.failures >= AuthFailuresMax {
		return fmt.Errorf("%d wrong passwords", k.failures)
	}
	return nil
}

// refuse turns an error into an answer that says why.
func (h *handler) refuse(k *caller, action Action, err error) *base.Response {
	code := base.StatusInternalServerError
	text := err.Error()
	switch fault.KindOf(err) {
	case fault.Invalid:
		code = base.StatusBadRequest
	case fault.NotFound, fault.Expired:
		code = base.StatusNotFound
	case fault.Denied, fault.Unauthentic:
		code = base.StatusForbidden
	case fault.InUse:
		code = statusConflict
	case fault.Throttled, fault.Unavailable:
		code = base.StatusServiceUnavailable
	default:
		h.s.log.Error("rtsp "+action.String(), "remote", k.remote, "err", err)
		text = "Internal Server Error"
	}
	if hint := fault.HintOf(err); hint != "" && code != base.StatusInternalServerError {
		text += ": " + hint
	}
	h.s.log.Debug("refused", "remote", k.remote, "code", int(code), "err", err)
	return &base.Response{StatusCode: code, StatusMessage: oneLine(text)}
}

// statusConflict is not in RFC 2326, which lets a server add codes; a client that does
// not know it takes it for 400 (§7.1.1).
const statusConflict base.StatusCode = 409

// oneLine makes text fit a status line.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "")
	}
	return text
}

func isSecure(c *interleaved.Conn) bool {
	_, ok := c.NetConn().(*tls.Conn)
	return ok
}
