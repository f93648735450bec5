// Package web is the HTTP front: one table of routes behind one authorization
// check, the native API of spec/native-api.md, health, metrics, and the console.
//
// What a route shows is made by the floors below (streams, fragments, playback);
// this package finds out who asks, asks auth whether they may, and translates
// faults into HTTP. Nothing here decides about access by itself.
package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/semaphore"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/fragments"
	"penstock/ingest/onvif"
	"penstock/ingest/probe"
	"penstock/ingest/talk"
	"penstock/internal/deadline"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/lobby"
	"penstock/internal/turnstile"
	"penstock/playback/clip"
	"penstock/playback/export"
	"penstock/playback/hls"
	"penstock/playback/live"
	"penstock/playback/still"
	"penstock/streams"
	"penstock/streams/datastream"
	"penstock/streams/events"
	"penstock/web/console"
)

// Limits of the HTTP listener. A peer that is slower than these is not a browser.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	// DefaultMaxConns bounds open connections: each costs about 20 kB here, so the
	// default stays under 200 MB whoever calls.
	DefaultMaxConns = 8192
	// answerTimeout is how long an answer may take to leave, where what makes it sets no
	// deadline of its own: a caller who reads nothing must not keep a connection for ever.
	answerTimeout = 5 * time.Minute
	// shutdownGrace is how long running requests get when the server ends.
	shutdownGrace = 2 * time.Second
)

// Config joins the floors below. Everything without a comment is required.
type Config struct {
	Auth      *auth.Authority
	Catalogue *streams.Catalogue
	Data      *datastream.Catalogue
	Hub       *streams.Hub
	Events    *events.Journal
	Store     *fragments.Store
	HLS       *hls.Server
	Clip      *clip.Server
	Export    *export.Server
	Still     *still.Server
	Live      *live.Server
	Probe     *probe.Prober
	Discover  *onvif.Client
	Talk      *talk.Intercom // nil: nobody talks to cameras
	// AWS answers the AWS APIs that are spoken at /: a POST whose X-Amz-Target names the
	// operation. It asks auth by itself. nil: none.
	AWS http.Handler
	// Audit shows the audit log; *audit.Reader satisfies it. nil: there is none.
	Audit interface {
		Read(ctx context.Context, q audit.Query) (audit.Page, error)
	}

	FS       host.FS             // host.OS
	Clock    host.Clock          // host.System
	Rand     io.Reader           // crypto/rand
	Logger   *slog.Logger        // discards
	Gatherer prometheus.Gatherer // prometheus.DefaultGatherer
	// Registerer gets what the listener counts; nil: none.
	Registerer prometheus.Registerer
	MaxConns   int // DefaultMaxConns
	// MaxConnsPerAddress bounds those of one address. 0: a quarter of MaxConns; negative: no bound.
	MaxConnsPerAddress int
	TLS                *tls.Config // nil: plain HTTP

	Version     string
	Region      string
	Started     time.Time
	DataDir     string
	StoreName   string // where media is kept, for people: "local disk", "s3 bucket video"
	PublicURL   string // what people type to get here
	RTSPAddress string
	LocalOnly   bool // every listener is on the loopback interface
	Remote      bool // media is kept elsewhere than on the disk of DataDir
	Demo        bool
	// Ready says why media could not be taken and persisted now; nil: it can.
	Ready func() error
	// Problems are asked for words that an operator should read; "" is none.
	Problems []func() string
}

// Server answers HTTP. Its methods may be called at once.
type Server struct {
	c       Config
	mux     *http.ServeMux
	assets  assets
	metrics http.Handler
	stored  *shelf
	views   *views
	future  *foresight
	bodies  *semaphore.Weighted // of records, in memory
	tails   *semaphore.Weighted // shards that are followed
	crowd   *crowd
	keeping *pace        // of changes of what events keep
	lobby   *lobby.Lobby // of bodies whose senders are not proved
	nosniff []string     // a header's value, shared by all answers: nobody writes it
}

// New checks c and prepares to serve; it opens nothing.
func New(c Config) (*Server, error) {
	if c.Auth == nil || c.Catalogue == nil || c.Hub == nil || c.Store == nil || c.Data == nil || c.Events == nil {
		return nil, fault.New(fault.Invalid, "make web server", "", "Auth, Catalogue, Data, Events, Hub and Store are required")
	}
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Gatherer = cmp.Or(c.Gatherer, prometheus.DefaultGatherer)
	c.MaxConns = cmp.Or(c.MaxConns, DefaultMaxConns)
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	files, err := loadAssets(console.Files())
	if err != nil {
		return nil, err
	}
	s := &Server{c: c, assets: files, metrics: promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{}), stored: &shelf{}, views: &views{}, keeping: &pace{}, future: &foresight{}, bodies: semaphore.NewWeighted(bodiesMax), tails: semaphore.NewWeighted(tailsMax), crowd: newCrowd(c.MaxConns, c.MaxConnsPerAddress), lobby: lobby.New(lobby.Config{Clock: c.Clock}), nosniff: []string{"nosniff"}}
	s.mux = s.mount(table())
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["X-Content-Type-Options"] = s.nosniff
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	in, leave, ok := s.crowd.enter(w, r)
	if !ok {
		return
	}
	defer leave()
	r = in
	if s.c.AWS != nil && toAWS(r) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
		s.c.AWS.ServeHTTP(w, r)
		return
	}
	h.Set("X-Request-Id", s.requestID())
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", contentPolicy)
	// A writer without deadlines (a test's recorder) goes without.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
	if _, pattern := s.mux.Handler(r); pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && s.assets.serve(w, r) {
		return
	}
	s.unrouted(w, r)
}

// toAWS reports whether a request is for the AWS APIs at /: all but what a browser asks to
// see the console, which carries no signature in its headers.
func toAWS(r *http.Request) bool {
	if target := r.Header["X-Amz-Target"]; len(target) > 0 && target[0] != "" {
		return true
	}
	console := (r.Method == http.MethodGet || r.Method == http.MethodHead) && !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-")
	return r.URL.Path == "/" && !console
}

// unrouted answers what no row of the table takes: 405 where another method would
// do, 404 otherwise.
func (s *Server) unrouted(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := s.mux.Handler(probe); pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		s.fail(w, r, fault.New(fault.NotFound, "find", r.URL.Path, "no such path").WithHint("GET /openapi.json lists them"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	var body errorBody
	body.Error.Code, body.Error.Message = "method_not_allowed", r.Method+" "+r.URL.Path+": use "+strings.Join(allowed, " or ")
	body.Error.RequestID = w.Header().Get("X-Request-Id")
	s.answer(w, http.StatusMethodNotAllowed, body)
}

func (s *Server) requestID() string {
	var b [9]byte
	if _, err := io.ReadFull(s.c.Rand, b[:]); err != nil {
		return "unknown"
	}
	return hex.EncodeToString(b[:])
}

// Run serves l until ctx ends, then gives running requests a moment to finish.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	srv := &http.Server{
		Handler: s, Protocols: protocols, TLSConfig: s.crowd.secure(s.c.TLS),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, HTTP2: s.crowd.limits(),
		ErrorLog:    slog.NewLogLogger(s.c.Logger.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: s.crowd.context,
	}
	l = turnstile.New(turnstile.Config{Total: s.c.MaxConns, PerAddress: s.c.MaxConnsPerAddress,
		Door: "http", Logger: s.c.Logger, Clock: s.c.Clock, Registerer: s.c.Registerer}).Listen(l)
	l = deadline.Listen(s.crowd.listen(l))
	var following sync.WaitGroup
	following.Go(func() { s.followViews(base) })
	defer following.Wait()
	defer stop()
	ended := make(chan error, 1)
	go func() {
		if s.c.TLS != nil {
			ended <- srv.ServeTLS(l, "", "")
			return
		}
		ended <- srv.Serve(l)
	}()
	select {
	case err := <-ended:
		return fault.Wrap(fault.Internal, "serve http on", l.Addr().String(), err)
	case <-ctx.Done():
	}
	stop() // ends long answers: event streams, sockets, held playlists
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
