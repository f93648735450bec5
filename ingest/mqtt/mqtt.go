// Package mqtt takes data records by MQTT 3.1.1 and 5: a message that is published
// becomes a record of the data stream that its topic names. PUBACK and PUBREC are sent
// when the record is durable, and not before.
//
// It only takes: subscriptions are refused, retained flags are ignored. People and
// programs are the same as everywhere (package auth): any user name with a key's token as
// the password, or a person's name and password. The broker underneath is mochi-mqtt, in
// broker.go alone.
package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/turnstile"
	"penstock/streams/datastream"
)

// Limits and defaults of Config.
const (
	DefaultMaxPacket = 1<<20 + 64<<10 // a record of 1 MiB with its topic
	DefaultMaxConns  = 4096
	DefaultInFlight  = 128
	signInTimeout    = 10 * time.Second // from the first byte to CONNACK
	sessionBytes     = 4 << 20          // of one client's messages that are not stored yet
	totalBytes       = 128 << 20        // of all clients'
	streamsMax       = 256              // that one connection publishes to
	throttleWait     = 250 * time.Millisecond
	throttleMost     = 10 * time.Second // that a message waits for a shard with limits
)

// Config says where to listen and what topics mean. Auth, Catalogue and an address are
// needed; the zero value of anything else is its default.
type Config struct {
	Address    string // HOST:PORT of plain TCP; empty: none
	TLSAddress string // of TLS; empty: none
	TLS        *tls.Config
	Auth       *auth.Authority
	Catalogue  *datastream.Catalogue
	Region     string
	Topics     []Rule // the first that matches holds; then the first level is the stream, the rest the key
	MaxPacket  int    // bytes of one packet: DefaultMaxPacket
	MaxConns   int    // DefaultMaxConns
	// MaxConnsPerAddress bounds those of one address. 0: a quarter of MaxConns; negative: no bound.
	MaxConnsPerAddress int
	InFlight           int // messages of a client that are not acknowledged yet: DefaultInFlight

	Logger     *slog.Logger          // discards
	Registerer prometheus.Registerer // none
}

// Server takes MQTT connections. Its methods may be called at once.
type Server struct {
	c       Config
	log     *slog.Logger
	broker  broker
	topics  []matcher
	room    *semaphore.Weighted
	figures figures
	listen  []net.Listener

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	sessions map[*session]struct{}
	newest   map[string]*session // by session.name: one that may still have to store
}

// New checks c.
func New(c Config) (*Server, error) {
	if c.Auth == nil || c.Catalogue == nil {
		return nil, errors.New("mqtt: Auth and Catalogue are required")
	}
	if c.TLSAddress != "" && c.TLS == nil {
		return nil, errors.New("mqtt: TLSAddress: there is no certificate")
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.MaxPacket = cmp.Or(c.MaxPacket, DefaultMaxPacket)
	c.MaxConns = cmp.Or(c.MaxConns, DefaultMaxConns)
	c.InFlight = cmp.Or(c.InFlight, DefaultInFlight)
	s := &Server{c: c, log: c.Logger, room: semaphore.NewWeighted(totalBytes), conns: map[net.Conn]struct{}{}, sessions: map[*session]struct{}{}, newest: map[string]*session{}}
	var err error
	if s.topics, err = compile(c.Topics); err != nil {
		return nil, err
	}
	if s.figures, err = newFigures(c.Registerer); err != nil {
		return nil, err
	}
	s.broker, err = newBroker(c, s)
	return s, err
}

// Open takes the ports.
func (s *Server) Open(ctx context.Context) error {
	gate := turnstile.New(turnstile.Config{Total: s.c.MaxConns, PerAddress: s.c.MaxConnsPerAddress,
		Door: "mqtt", Logger: s.c.Logger, Registerer: s.c.Registerer})
	var lc net.ListenConfig
	for _, at := range []struct {
		address string
		tls     bool
	}{{s.c.Address, false}, {s.c.TLSAddress, true}} {
		if at.address == "" {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", at.address)
		if err != nil {
			return errors.Join(fault.New(fault.InUse, "listen for mqtt on", at.address, err.Error()).WithHint("choose another address with --mqtt HOST:PORT"), s.Close())
		}
		l = gate.Listen(l)
		if at.tls {
			l = tls.NewListener(l, s.c.TLS)
		}
		s.listen = append(s.listen, l)
	}
	return nil
}

// Addrs are the addresses that are listened on, plain TCP first.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listen {
		out = append(out, l.Addr())
	}
	return out
}

// Close gives the ports back; Run does so at its end.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.listen {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Run serves until ctx ends; then it closes all connections. What was not acknowledged
// may or may not be stored, as clients expect.
func (s *Server) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.broker.start(); err != nil {
		return err
	}
	defer s.broker.stop()
	work.Go(func() { s.followRevocations(ctx) })
	failed := make(chan error, len(s.listen))
	for _, l := range s.listen {
		work.Go(func() { failed <- s.accept(ctx, l, &work) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	err = errors.Join(err, s.Close())
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // whoever reads from it hears of it
	}
	s.mu.Unlock()
	return err
}

func (s *Server) accept(ctx context.Context, l net.Listener, work *sync.WaitGroup) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			s.log.Warn("accept", "err", err)
			select {
			case <-time.After(100 * time.Millisecond): // out of files, for now
				continue
			case <-ctx.Done():
				return nil
			}
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		ended := ctx.Err() != nil
		s.mu.Unlock()
		if ended {
			_ = c.Close()
		}
		work.Go(func() {
			defer func() {
				_ = c.Close() // closed already, mostly
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			}()
			if c.SetDeadline(time.Now().Add(signInTimeout)) == nil { // the broker sets its own after CONNECT
				g, err := greet(c)
				if err == nil {
					err = s.broker.serve(g)
				}
				if err != nil {
					s.log.Debug("connection ended", "remote", c.RemoteAddr(), "err", err)
				}
			}
		})
	}
}

// followRevocations ends the sessions of keys and people that were removed or changed:
// what is still allowed begins again with the next connection.
func (s *Server) followRevocations(ctx context.Context) {
	r := s.c.Auth.Revoked()
	defer r.Close()
	for {
		gone, err := r.Next(ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		var hit []*session
		for c := range s.sessions {
			if c.principal.ID == gone.Principal {
				hit = append(hit, c)
			}
		}
		s.mu.Unlock()
		for _, c := range hit {
			c.kick(fault.New(fault.Denied, "use mqtt", "", "the key or person was removed or changed"))
		}
	}
}

// figures are what is counted.
type figures struct {
	connections prometheus.Gauge
	messages    *prometheus.CounterVec // by result: stored, and the codes of faults
	bytes       prometheus.Counter
}

func newFigures(r prometheus.Registerer) (figures, error) {
	f := figures{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "penstock_mqtt_connections", Help: "Clients that are signed in."}),
		messages:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_mqtt_messages_total", Help: "Messages, by what became of them: stored, or the code of the refusal."}, []string{"result"}),
		bytes:       prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_mqtt_stored_bytes_total", Help: "Bytes of messages that were stored."}),
	}
	if r == nil {
		return f, nil
	}
	for _, c := range []prometheus.Collector{f.connections, f.messages, f.bytes} {
		if err := r.Register(c); err != nil {
			return f, fmt.Errorf("mqtt: register metrics: %w", err)
		}
	}
	return f, nil
}
