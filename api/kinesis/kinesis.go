// Package kinesis is Amazon Kinesis Data Streams as its clients know it
// (Kinesis_20131202): every operation of the service model, one file each, with its
// exceptions in their words.
//
// The envelope, bodies and validation are package wire/awsjson's, streams and their states
// package streams/datastream's, who may do what package auth's. This package translates
// and decides nothing of its own.
package kinesis

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/api/kinesis/shape"
	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// Defaults of Config.
const (
	DefaultIteratorLife     = 5 * time.Minute
	DefaultTokenLife        = 5 * time.Minute
	DefaultSubscriptionLife = 5 * time.Minute
	DefaultHeartbeat        = 5 * time.Second
	DefaultTakeover         = 5 * time.Second
)

// Config joins the floors below. Auth and Catalogue are required; the zero value of the
// rest means the documented default.
type Config struct {
	Auth       *auth.Authority
	Catalogue  *datastream.Catalogue
	Clock      host.Clock            // host.System
	Rand       io.Reader             // crypto/rand
	Logger     *slog.Logger          // discards
	Registerer prometheus.Registerer // none

	IteratorLife     time.Duration // of a shard iterator, from its issue
	TokenLife        time.Duration // of a NextToken
	SubscriptionLife time.Duration // of a SubscribeToShard answer
	Heartbeat        time.Duration // longest silence of one
	Takeover         time.Duration // how long a subscription is safe from the next one

	// CallLimits refuses calls beyond the service's rates: false: as many as come.
	CallLimits bool
}

// Server answers the service's requests, at POST / with X-Amz-Target. It is an
// http.Handler for every path and method that reaches it.
type Server struct {
	c          Config
	wire       http.Handler
	sealer     *sealer
	subs       subscriptions
	policies   policies
	pages      pages
	puts       puts
	metrics    *metrics
	complaints complaints
	rates      callRates
	start      time.Time              // zero of the rates' clock
	actions    map[string]auth.Action // by operation
}

// New checks c and prepares to serve. It reads or makes the key of iterators and tokens.
func New(ctx context.Context, c Config) (*Server, error) {
	if c.Auth == nil || c.Catalogue == nil {
		return nil, fault.New(fault.Invalid, "make kinesis server", "", "Auth and Catalogue are required")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	for field, value := range map[*time.Duration]time.Duration{
		&c.IteratorLife: DefaultIteratorLife, &c.TokenLife: DefaultTokenLife, &c.SubscriptionLife: DefaultSubscriptionLife,
		&c.Heartbeat: DefaultHeartbeat, &c.Takeover: DefaultTakeover,
	} {
		if *field == 0 {
			*field = value
		}
	}
	key, err := c.Catalogue.Secret(ctx, "iterator")
	if err != nil {
		return nil, err
	}
	s := &Server{c: c, subs: subscriptions{held: map[subscriptionKey]*subscription{}}, policies: policies{parsed: map[string]parsedPolicy{}},
		actions: map[string]auth.Action{}, rates: callRates{on: c.CallLimits, full: map[bucketKey]time.Duration{}}, start: c.Clock.Now()}
	for _, o := range shape.Model().Operations {
		s.actions[o.Name] = auth.Action("kinesis:" + o.Name)
	}
	if s.sealer, err = newSealer(key, c.Rand); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(c.Registerer); err != nil {
		return nil, err
	}
	s.wire, err = awsjson.New(awsjson.Config{
		Services: []awsjson.Service{{Model: shape.Model(), Handlers: s.handlers()}},
		Vouch:    s.vouch, Authenticate: s.authenticate, Exception: exception, Observe: s.observe,
		Now: c.Clock.Now, Rand: c.Rand, Logger: c.Logger,
	})
	return s, err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.wire.ServeHTTP(w, r) }

// caller is who sent a request, proved by its signature.
type caller struct {
	auth.Principal
	region string // of the signature's scope
	remote string
	secure bool
}

// admitted is the context of a request whose signature was checked: its own, and what the
// operation will work with.
type admitted struct {
	context.Context
	request request
	caller  caller
}

type admittedKey struct{}

// Value finds the admitted itself by its key.
func (a *admitted) Value(key any) any {
	if key == (admittedKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// remoteOf is the address that a request came from, without the port.
func remoteOf(c *awsjson.Call) string {
	remote, _, err := net.SplitHostPort(c.Request.RemoteAddr)
	if err != nil {
		return c.Request.RemoteAddr
	}
	return remote
}

// vouch says whether the key is there that a request names, and whether it is proved that
// its holder sent it.
func (s *Server) vouch(ctx context.Context, c *awsjson.Call) (proved bool, err error) {
	proved, err = s.c.Auth.Vouch(ctx, c.Request, remoteOf(c))
	if err != nil {
		s.c.Auth.Note(ctx, auth.Principal{}, auth.Deed{Action: s.action(c), Remote: remoteOf(c), Err: err})
	}
	return proved, err
}

// authenticate checks the signature over the whole body.
func (s *Server) authenticate(ctx context.Context, c *awsjson.Call, body []byte) (context.Context, error) {
	if body == nil {
		body = []byte{}
	}
	remote := remoteOf(c)
	p, region, err := s.c.Auth.SignedIn(ctx, c.Request, body, remote)
	if err != nil {
		s.c.Auth.Note(ctx, p, auth.Deed{Action: s.action(c), Remote: remote, Err: err})
		return ctx, err
	}
	if !regionName(region) {
		return ctx, awsjson.NewError("InvalidSignatureException", "Credential should be scoped to a valid region, not '%.40s'.", region)
	}
	return &admitted{Context: ctx, caller: caller{p, region, remote, c.Request.TLS != nil}}, nil
}

// regionName reports whether a region may be called so: it becomes a part of ARNs, which
// policies take apart at colons. Any such name is one.
func regionName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= regionMax
}

// regionMax bounds a region's name, which iterators carry.
const regionMax = 32

// request is one call on its way through an operation.
type request struct {
	*caller
	s      *Server
	ctx    context.Context
	call   *awsjson.Call
	action auth.Action
	object string // ARN of what is touched, for the audit log
}

func (s *Server) request(ctx context.Context, c *awsjson.Call) *request {
	a, ok := ctx.Value(admittedKey{}).(*admitted)
	if !ok {
		a = new(admitted)
	}
	a.request = request{caller: &a.caller, s: s, ctx: ctx, call: c, action: s.action(c)}
	return &a.request
}

// action is what policies call the operation.
func (s *Server) action(c *awsjson.Call) auth.Action {
	if a, ok := s.actions[c.Operation]; ok {
		return a
	}
	return auth.Action("kinesis:" + c.Operation)
}

func (r *request) context() auth.Context {
	return auth.Context{SourceIP: r.remote, Secure: r.secure}
}

// effect says what an operation does, and so what the audit log hears of.
type effect uint8

const (
	reads  effect = iota // refusals are noted
	writes               // each call is noted
)

// note writes into the audit log what came of the call.
func (r *request) note(e effect, err error) {
	if e == reads {
		if err == nil {
			return
		}
		if k := kinded(err); !fault.Is(k, fault.Denied) && !fault.Is(k, fault.Unauthentic) {
			return
		}
	}
	r.s.c.Auth.Note(r.ctx, r.Principal, auth.Deed{Action: r.action, Object: r.object, Remote: r.remote, Err: kinded(err)})
}

// kinded gives an exception the kind of fault that the audit log tells refusals by.
func kinded(err error) error {
	var e *awsjson.Error
	if errors.As(err, &e) {
		switch e.Type {
		case "AccessDeniedException":
			return fault.Wrap(fault.Denied, "", "", err)
		case "ResourceNotFoundException":
			return fault.Wrap(fault.NotFound, "", "", err)
		}
		return fault.Wrap(fault.Invalid, "", "", err)
	}
	return err
}

// with makes the Handler of an operation with an answer.
func with[I, O any](s *Server, name string, e effect, f func(*request, *I) (*O, error)) awsjson.Handler {
	return awsjson.Handle(name, func(ctx context.Context, c *awsjson.Call, in *I) (*O, error) {
		r := s.request(ctx, c)
		if err := r.pace(ofAccount, r.Account, r.region, ""); err != nil {
			return nil, err
		}
		out, err := f(r, in)
		r.note(e, err)
		return out, err
	})
}

// void makes the Handler of an operation whose answer is empty.
func void[I any](s *Server, name string, f func(*request, *I) error) awsjson.Handler {
	return awsjson.HandleVoid(name, func(ctx context.Context, c *awsjson.Call, in *I) error {
		r := s.request(ctx, c)
		if err := r.pace(ofAccount, r.Account, r.region, ""); err != nil {
			return err
		}
		err := f(r, in)
		r.note(writes, err)
		return err
	})
}

// policies keeps the resource policies of consumers parsed.
type policies struct {
	mu     sync.Mutex
	parsed map[string]parsedPolicy // by ARN
}

type parsedPolicy struct {
	text   string
	policy *auth.ResourcePolicy
}

// of returns the parsed policy of a consumer; nil: it has none.
func (p *policies) of(arn, text string) *auth.ResourcePolicy {
	if text == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.parsed[arn]; known.text == text {
		return known.policy
	}
	parsed, err := auth.ParseResourcePolicy(arn, []byte(text))
	if err != nil {
		parsed = nil // was checked when it was put; what cannot be read opens nothing
	}
	p.parsed[arn] = parsedPolicy{text, parsed}
	return parsed
}
