// Package rtsp is the RTSP door: producers push media in, readers watch what is live.
//
// ANNOUNCE and RECORD on rtsp://HOST:8554/NAME publish to a stream, DESCRIBE and PLAY
// read any stream that is live, over TCP and UDP (RFC 2326). Messages are gortsplib's
// business; RTP goes around it, through package interleaved or this package's UDP
// sockets to package rtpin. Who may do what is the Authenticator's.
package rtsp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/ingest/rtpin"
	"penstock/internal/host"
	"penstock/media"
	"penstock/streams"
)

// Limits on what the outside can make a Server hold.
const (
	// DefaultConnections bounds the TCP connections at one time.
	DefaultConnections = 4096
	// AuthFailuresMax is how many wrong passwords one connection may offer.
	AuthFailuresMax = 5
	// DescribeWait is how long DESCRIBE waits for a producer that is connecting.
	DescribeWait = 5 * time.Second
)

// Action is what a caller wants to do to a stream.
type Action uint8

// The actions.
const (
	Push Action = iota + 1 // kinesisvideo:PutMedia
	Play                   // kinesisvideo:GetMedia
)

// String returns "push" or "play".
func (a Action) String() string {
	switch a {
	case Push:
		return "push"
	case Play:
		return "play"
	}
	return "unknown"
}

// Credentials is what a request presented. At most one of Basic and Digest is there.
type Credentials struct {
	// User and Password of an Authorization: Basic header.
	Basic          bool
	User, Password string
	// Digest is the value of an Authorization: Digest header (RFC 2617), Nonce the one
	// that this connection was challenged with, Method the RTSP method it signs.
	Digest, Nonce, Method string
	// Token is the query parameter "token": a short-lived media token.
	Token string
}

// None reports whether nothing was presented.
func (c Credentials) None() bool { return !c.Basic && c.Digest == "" && c.Token == "" }

// Ask is one question to the Authenticator.
type Ask struct {
	Remote string // address of the caller, with port
	Secure bool   // the connection is TLS
	Action Action
	Stream string // the stream's name: the path without slashes around it
	Credentials
}

// Grant is the answer: who it is, and the stream.
type Grant struct {
	Principal string // ARN; "anonymous" where the configuration allows it
	Stream    streams.Stream
	// Context ends when the permission does (a revoked key); nil: never.
	Context context.Context
	// Begin, if not nil, is called once when media begins to flow: at RECORD or PLAY.
	Begin func()
	// Release, if not nil, is called once when the server is done with the grant.
	Release func()
}

// begin tells that media begins to flow.
func (g Grant) begin() {
	if g.Begin != nil {
		g.Begin()
	}
}

// release gives the grant back.
func (g Grant) release() {
	if g.Release != nil {
		g.Release()
	}
}

// Authenticator says who calls and whether they may. It is asked at ANNOUNCE and
// RECORD, at DESCRIBE, SETUP and PLAY; it may create the stream on a first push.
//
// fault.Unauthentic makes the server challenge (nothing presented) or refuse (401);
// fault.Denied and fault.NotFound answer 403 and 404. It may be called at once.
type Authenticator interface {
	Authenticate(ctx context.Context, a Ask) (Grant, error)
}

// Session is the producer's side of a live stream. *streams.Session satisfies it.
type Session interface {
	rtpin.Sink
	// Close ends the session; nil means that the producer said good-bye.
	Close(cause error) error
	// Done is closed when the session was replaced or its stream deleted.
	Done() <-chan struct{}
}

// Listener is the viewer's side of a live stream. *streams.Listener satisfies it.
type Listener interface {
	Next(ctx context.Context) (streams.Event, error)
	Close()
}

// Hub is where producers and viewers meet. OnHub makes one of a *streams.Hub.
type Hub interface {
	// Prepare makes Publish quick, and may wait for a disk.
	Prepare(ctx context.Context, st streams.Stream)
	Publish(ctx context.Context, st streams.Stream, p streams.Producer, tracks []media.Track) (Session, error)
	// Listen starts at the current GOP.
	Listen(id string) Listener
	State(id string) streams.State
	// Tell says why nothing comes of a stream that has no producer yet, or none any more.
	Tell(st streams.Stream, status streams.Status, why string)
}

// Config says how a Server works. Hub and Authenticator are required; the zero value
// of the rest means the documented default.
type Config struct {
	Address string // of RTSP over TCP; ":8554"
	// TLSAddress and TLS switch RTSPS on; both or none.
	TLSAddress string
	TLS        *tls.Config
	// UDPAddress is where RTP arrives: an even port, RTCP is on the next one. Without a
	// port (""), 8000 and 8001 are tried, then others. "off": no UDP.
	UDPAddress string

	Hub           Hub
	Authenticator Authenticator

	Connections int // DefaultConnections
	// PerAddress bounds the connections of one address. 0: half of Connections, so that a
	// recorder that pushes for a whole site fits; negative: no bound.
	PerAddress int
	Silence    time.Duration         // a producer without media for this long is dropped; 10 s
	Realm      string                // of the challenge; "penstock"
	Clock      host.Clock            // host.System
	Logger     *slog.Logger          // discards
	Registerer prometheus.Registerer // none
}
