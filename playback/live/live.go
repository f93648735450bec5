// Package live sends streams as fragmented MP4 over a WebSocket (RFC 6455), many
// streams on one socket, as the console's wall of cameras needs them.
//
// Text messages are JSON. The server sends {"type":"init","id","stream","mime",
// "start_us"} before each initialization section, {"type":"state"}, {"type":"skipped"}
// and {"type":"error"}; the client sends {"add":NAME,"id":N,"audio":BOOL} and
// {"remove":N}. The URL's own stream is subscription 0. A binary message is a header
// of 12 bytes, big-endian, then fMP4: kind u8 (1 initialization section, 2 media),
// flags u8 (bit 0: begins with a sync sample), subscription u16, server time of the
// first sample in microseconds since 1970 u64.
//
// A socket that is slow to take its messages holds up nobody: its listeners at the
// Hub run over, skip to the next sync sample, and the client is told how many samples
// it missed.
package live

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/playback"
	"penstock/streams"
)

// Limits of one socket.
const (
	// SubscriptionsMax is how many streams one socket may carry.
	SubscriptionsMax = 64
	// MessageMax bounds a message from the client: names are at most 256 characters.
	MessageMax = 4 << 10
	// writeTimeout is how long one message may take to leave; then the socket closes.
	writeTimeout = 10 * time.Second
	pingEvery    = 20 * time.Second
	// pongWithin is how long the client may be silent: two pings and a half.
	pongWithin = 50 * time.Second
)

// Config is what a Server needs. Hub is required; the rest has defaults.
type Config struct {
	Hub     *streams.Hub
	Clock   host.Clock        // nil: the machine's
	Logger  *slog.Logger      // nil: discards
	Metrics *playback.Metrics // nil: counted unseen
	// Sockets bounds how many are open at once. 0: 1,000.
	Sockets int
	// ListenerBytes bounds what one subscription may have waiting. 0: the Hub's default.
	ListenerBytes int
}

// Authorize says whether the socket's caller may watch the stream of that name, and
// which it is. Its error's words and hint are shown to the caller.
type Authorize func(ctx context.Context, name string) (streams.Stream, error)

// Server serves sockets. Its methods may be called at once.
type Server struct {
	c       Config
	open    atomic.Int64
	upgrade websocket.Upgrader
}

// New checks c.
func New(c Config) (*Server, error) {
	if c.Hub == nil {
		return nil, fault.New(fault.Invalid, "configure live sockets", "", "Hub is missing")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Metrics = cmp.Or(c.Metrics, playback.NewMetrics(nil))
	if c.Sockets <= 0 {
		c.Sockets = 1000
	}
	return &Server{c: c, upgrade: websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   1 << 10,
		WriteBufferSize:  4 << 10,
		// Who may open a socket from which page is decided before the request comes here.
		CheckOrigin: func(*http.Request) bool { return true },
	}}, nil
}

// ServeSocket upgrades r, sends st as subscription 0 and takes more by {"add"}, each
// asked of authorize. ?audio=0 (or false) leaves subscription 0's sound out. It returns when the
// socket closes or r's context ends; an error is returned only when no answer has been
// sent.
func (s *Server) ServeSocket(w http.ResponseWriter, r *http.Request, st streams.Stream, authorize Authorize) error {
	if !websocket.IsWebSocketUpgrade(r) {
		return fault.New(fault.Invalid, "watch", st.Name, "this address speaks WebSocket").
			WithHint("open it with a WebSocket client, or watch live.m3u8")
	}
	if s.open.Add(1) > int64(s.c.Sockets) {
		s.open.Add(-1)
		return fault.New(fault.Throttled, "watch", st.Name, "too many sockets are open").
			WithHint("close some viewers and try again")
	}
	defer s.open.Add(-1)
	conn, err := s.upgrade.Upgrade(w, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	s.c.Metrics.Requests.WithLabelValues("socket").Inc()
	ctx, cancel := context.WithCancel(r.Context())
	k := &socket{s: s, conn: conn, ctx: ctx, cancel: cancel, authorize: authorize, subs: map[uint16]*subscription{}}
	sound, err := strconv.ParseBool(r.URL.Query().Get("audio"))
	k.run(st, err != nil || sound)
	return nil
}
