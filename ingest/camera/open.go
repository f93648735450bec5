package camera

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"penstock/internal/host"
	"penstock/internal/secret"
)

// Stage is a part of a conversation that came to its end well.
type Stage uint8

// The stages, in the order in which Open and Play report them.
const (
	StageReached   Stage = iota + 1 // the port accepted a connection
	StageAnswered                   // something spoke RTSP
	StageSignedIn                   // the description was not refused
	StageDescribed                  // the description names media we can record
	StageSetUp                      // a transport was agreed on
	StagePlaying                    // the camera said that it sends
)

const (
	// StepTimeout bounds one request to a camera. Slow ones take 2-3 s to DESCRIBE.
	StepTimeout = 5 * time.Second
	// writeTimeout bounds a keep-alive or TEARDOWN to a camera that reads no more.
	writeTimeout = 3 * time.Second
	// queueSize is how many packets may wait to leave, a power of two: reports, or 20 ms of
	// voice each.
	queueSize = 8
	// redirectsMax is how often a camera may send us elsewhere.
	redirectsMax = 3
	// noTimeout is handed to gortsplib where this package keeps the time itself: it
	// would else take a connection for dead whose media never pass through it.
	noTimeout = 24 * 365 * time.Hour
)

// Config holds what a conversation needs. Zero fields mean the defaults named beside them.
type Config struct {
	Dial host.Dial // the machine's own dialler
	// Step bounds each request: StepTimeout.
	Step time.Duration
	// Wrap may put a reader of its own between the connection and the RTSP client, to
	// take interleaved media out before it is copied; nil: none.
	Wrap func(net.Conn) net.Conn
	// Pick chooses the media to record, in order; nil: the first video and the first
	// sound that recordable knows; with Back, PickBack.
	Pick func(*description.Session) []*description.Media
	// Back asks for the camera's back channel too (ONVIF Streaming §5.3), to talk to it.
	Back bool
	// Look ends Open with the description: nothing is set up.
	Look bool
	// Lost hears of packets that never came over UDP; nil: nobody.
	Lost func(n uint64)
	// Packets opens the sockets for media over UDP; nil: ListenPacket with its defaults.
	Packets func(network, address string) (net.PacketConn, error)
}

// Conn is a conversation: set up by Open, sending after Play. Its methods may be
// called from any goroutine; Close ends all of them.
type Conn struct {
	// Client is the RTSP client; its callbacks are to be set between Open and Play.
	Client *gortsplib.Client
	// Session is what the camera described, Medias the part of it that was set up.
	Session *description.Session
	Medias  []*description.Media
	// Channels are the interleaved RTP channels of Medias over TCP; RTCP is on the next.
	Channels []int
	// Transport is TCP or UDP.
	Transport Transport
	// Server is how the camera names its RTSP server; may be empty.
	Server string

	target Target
	step   time.Duration
	back   bool
}

// exchange notes what the library tells about requests and answers.
type exchange struct {
	method   base.Method
	answered bool
	heard    bool // bytes came, whatever they meant
	server   string
	location string
	back     bool // Config.Back
	stage    func(Stage)
}

func (e *exchange) request(r *base.Request) { e.method = r.Method }

func (e *exchange) response(r *base.Response) {
	if !e.answered {
		e.answered = true
		e.stage(StageAnswered)
	}
	if s := r.Header["Server"]; len(s) == 1 && len(s[0]) <= 200 {
		e.server = s[0]
	}
	switch {
	case e.method == base.Options && r.StatusCode != base.StatusOK && r.StatusCode != base.StatusUnauthorized:
		// OPTIONS is a courtesy that some cameras do not know (405, 501) or answer
		// with 404 before DESCRIBE; nothing depends on it.
		r.StatusCode = base.StatusOK
	case r.StatusCode >= 300 && r.StatusCode < 400:
		// The library would follow with the password in hand, to anywhere.
		if l := r.Header["Location"]; len(l) == 1 {
			e.location = l[0]
		}
		delete(r.Header, "Location")
	case e.back && e.method == base.Setup:
		stay(r)
	}
}

// Open calls the camera and goes as far as SETUP, or with Look the description. With Auto it asks for TCP, then for
// UDP when that is refused. stage, if not nil, hears each stage reached, from a
// goroutine of Open's. Every error is a *Trouble.
func Open(ctx context.Context, conf Config, t Target, stage func(Stage)) (*Conn, error) {
	conf.Step = cmp.Or(conf.Step, StepTimeout)
	if conf.Dial == nil {
		conf.Dial = (&net.Dialer{}).DialContext
	}
	if conf.Pick == nil {
		conf.Pick = Pick
		if conf.Back {
			conf.Pick = PickBack
		}
	}
	if conf.Packets == nil {
		conf.Packets = ListenPacket
	}
	if stage == nil {
		stage = func(Stage) {}
	}
	first := t.Transport
	if first == "" || first == Auto {
		first = TCP
	}
	for hop := 0; ; hop++ {
		c, e, err := open(ctx, conf, t, first, stage)
		if err == nil {
			return c, nil
		}
		tr := explain(ctx, t, e, err)
		switch {
		case tr.Cause == NoTransport && first == TCP && t.Transport != TCP && !t.Secure():
			first = UDP
		case tr.Cause == Redirected && hop < redirectsMax:
			next, ok := follow(t, e.location)
			if !ok {
				return nil, tr
			}
			t = next
		default:
			return nil, tr
		}
	}
}

// follow returns the target that a redirect names. Credentials go along only to the
// same host, and never from TLS to the open.
func follow(t Target, location string) (Target, bool) {
	u, err := t.URL.Parse(location)
	if err != nil || location == "" {
		return t, false
	}
	u.User = nil
	next, err := ParseTarget(u.String(), "", secret.Text{})
	if err != nil || t.Secure() && !next.Secure() {
		return t, false
	}
	next.Transport, next.Certificate = t.Transport, t.Certificate
	if next.URL.Hostname() == t.URL.Hostname() {
		next.Username, next.Password = t.Username, t.Password
	} else {
		next.Username, next.Password = "", secret.Text{}
	}
	return next, true
}

// dial connects and, for rtsps, shakes hands: gortsplib would do so without a limit.
func dial(ctx context.Context, conf Config, t Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, conf.Step)
	defer cancel()
	nc, err := conf.Dial(ctx, "tcp", t.Address())
	if err != nil {
		return nil, &dialError{err}
	}
	if t.Secure() {
		tc := tls.Client(nc, t.Certificate.config(t.URL.Hostname()))
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, &tlsError{err}
		}
		nc = tc
	}
	return nc, nil
}

func open(ctx context.Context, conf Config, t Target, tp Transport, stage func(Stage)) (*Conn, *exchange, error) {
	e := &exchange{stage: stage, back: conf.Back}
	nc, err := dial(ctx, conf, t)
	if err != nil {
		return nil, e, err
	}
	stage(StageReached)
	if conf.Wrap != nil {
		nc = conf.Wrap(nc)
	}
	c := &Conn{Client: client(conf, t, tp, e, nc), Transport: tp, target: t, step: conf.Step, back: conf.Back}
	if err := c.Client.Start2(); err != nil {
		nc.Close()
		return nil, e, err
	}
	if err := c.setUp(ctx, conf, e, stage); err != nil {
		c.Client.Close()
		e.heard = c.Client.Stats().Conn.BytesReceived > 0
		nc.Close() // the client closes it only when it got as far as using it
		return nil, e, err
	}
	c.Server = e.server
	return c, e, nil
}

func client(conf Config, t Target, tp Transport, e *exchange, nc net.Conn) *gortsplib.Client {
	wire := gortsplib.TransportTCP
	if tp == UDP {
		wire = gortsplib.TransportUDP
	}
	lost := conf.Lost
	if lost == nil {
		lost = func(uint64) {}
	}
	return &gortsplib.Client{
		Scheme:              "rtsp", // TLS, where asked for, is already inside nc
		Host:                t.Address(),
		Transport:           &wire,
		ReadTimeout:         noTimeout,
		WriteTimeout:        writeTimeout,
		WriteQueueSize:      queueSize,
		AnyPortEnable:       !conf.Back, // cameras behind NAT send from other ports than they say
		RequestBackChannels: conf.Back,
		UserAgent:           "penstock",
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if nc == nil {
				return nil, errors.New("the RTSP client asked for a second connection")
			}
			c := nc
			nc = nil
			return c, nil
		},
		ListenPacket:      conf.Packets,
		OnRequest:         e.request,
		OnResponse:        e.response,
		OnTransportSwitch: func(error) {},
		OnPacketsLost:     lost,
		OnDecodeError:     func(error) {},
	}
}

func (c *Conn) setUp(ctx context.Context, conf Config, e *exchange, stage func(Stage)) error {
	u := base.URL(*c.target.URL)
	if c.target.Username != "" || !c.target.Password.Empty() {
		// The library takes credentials from here and never writes them into a request.
		u.User = url.UserPassword(c.target.Username, c.target.Password.Reveal())
	}
	err := c.bounded(ctx, func() (err error) {
		c.Session, _, err = c.Client.Describe(&u)
		return err
	})
	if err != nil {
		var code liberrors.ErrClientBadStatusCode
		if errors.As(err, &code) && code.Code != base.StatusUnauthorized && code.Code != base.StatusForbidden {
			stage(StageSignedIn)
		}
		return err
	}
	stage(StageSignedIn)
	if c.Medias = conf.Pick(c.Session); len(c.Medias) == 0 {
		if c.back {
			return &noBackError{c.Session}
		}
		return &noMediaError{c.Session}
	}
	stage(StageDescribed)
	if conf.Look {
		return nil
	}
	for _, m := range c.Medias {
		err := c.bounded(ctx, func() error {
			res, err := c.Client.Setup(c.Session.BaseURL, m, 0, 0)
			if err == nil {
				c.Channels = append(c.Channels, channel(res))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	stage(StageSetUp)
	return nil
}

// channel is the RTP channel that the camera agreed to; -1 over UDP.
func channel(res *base.Response) int {
	var th headers.Transport
	if th.Unmarshal(res.Header["Transport"]) != nil || th.InterleavedIDs == nil {
		return -1
	}
	return th.InterleavedIDs[0]
}

// bounded runs one request within the step's time.
func (c *Conn) bounded(ctx context.Context, request func() error) error {
	ctx, cancel := context.WithTimeout(ctx, c.step)
	defer cancel()
	stop := context.AfterFunc(ctx, c.Client.Close)
	err := request()
	if !stop() && err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// Play asks for the media to be sent. Errors are *Trouble.
func (c *Conn) Play(ctx context.Context) error {
	err := c.bounded(ctx, func() error {
		_, err := c.Client.Play(nil)
		return err
	})
	if err != nil {
		return explain(ctx, c.target, &exchange{answered: true, method: base.Play, back: c.back}, err)
	}
	return nil
}

// Wait returns when the conversation is over, with why: always a *Trouble.
func (c *Conn) Wait() error {
	err := c.Client.Wait()
	return explain(context.Background(), c.target, &exchange{answered: true, method: base.Play, back: c.back}, err)
}

// Close hangs up and returns when all goroutines of the conversation are gone. It may
// be called more than once.
func (c *Conn) Close() { c.Client.Close() }
