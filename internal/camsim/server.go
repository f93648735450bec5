package camsim

import (
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aler9/gortsplib"
	"github.com/aler9/gortsplib/pkg/auth"
	"github.com/aler9/gortsplib/pkg/base"
	"github.com/aler9/gortsplib/pkg/headers"
	"github.com/pion/rtp"
)

// Auth is how a camera asks for a password.
type Auth string

// The ways to ask.
const (
	None   Auth = "none"
	Basic  Auth = "basic"
	Digest Auth = "digest"
)

// ServerConfig says which cameras a Server plays. Zero fields mean the defaults
// named beside them.
type ServerConfig struct {
	Listen   string // 127.0.0.1:0
	Path     string // "cam%d", the number from 0; without %d, one path for all
	Count    int    // cameras: 1
	Username string
	Password string
	Auth     Auth        // None
	TLS      *tls.Config // not nil: rtsps
	Material Material    // NewDemo()
	Second   Material    // for Faults.ChangeAfter
	Back     Back        // what the camera's loudspeaker takes; "": it has none
	// Speaker plays what came over the back channels, one packet at a time; nil: unheard.
	Speaker func(*rtp.Packet)
	Faults  Faults
}

// Server plays cameras until Close. Its methods may be called at once.
type Server struct {
	conf    ServerConfig
	rtsp    *gortsplib.Server
	auth    *auth.Validator
	started time.Time
	addr    net.Addr
	total   atomic.Int64
	talks   atomic.Int64
	speaker *loudspeaker // nil: none

	mu      sync.Mutex
	streams map[string]*gortsplib.ServerStream
	pumps   map[*gortsplib.ServerSession]*pump
	wg      sync.WaitGroup
	closed  bool
}

// Serve starts the cameras.
func Serve(c ServerConfig) (*Server, error) {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:0")
	c.Path = cmp.Or(c.Path, "cam%d")
	c.Count = cmp.Or(c.Count, 1)
	if c.Material == nil {
		c.Material = NewDemo()
	}
	c.Auth = cmp.Or(c.Auth, None)
	if c.Faults.ChangeAfter > 0 && c.Second == nil {
		return nil, errors.New("a change of codec needs a second material")
	}
	s := &Server{conf: c, started: time.Now(), streams: map[string]*gortsplib.ServerStream{}, pumps: map[*gortsplib.ServerSession]*pump{}}
	s.auth = auth.NewValidator(c.Username, c.Password, []headers.AuthMethod{headers.AuthDigest})
	if c.Back != "" {
		host, _, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return nil, err
		}
		if s.speaker, err = newLoudspeaker(c.Back, host, c.TLS == nil, c.Speaker); err != nil {
			return nil, err
		}
	}
	if err := s.listen(); err != nil {
		if s.speaker != nil {
			s.speaker.close()
		}
		return nil, err
	}
	for i := range c.Count {
		tracks := sdpTracks(c.Material.Tracks(), c.Faults.InBandOnly)
		if c.Back != "" {
			tracks = append(tracks, &gortsplib.TrackG711{MULaw: c.Back != PCMA})
		}
		s.streams[s.path(i)] = gortsplib.NewServerStream(tracks)
	}
	return s, nil
}

// listen starts the library's server. UDP needs a pair of neighbouring ports.
func (s *Server) listen() error {
	var err error
	for range 50 {
		rtsp := &gortsplib.Server{
			Handler: handler{s}, RTSPAddress: s.conf.Listen,
			DisableRTCPSenderReports: true, // the pump sends its own, or lies
			WriteBufferCount:         2048, // the library drops what does not fit; a key frame is many packets
			ReadBufferCount:          8,
			Listen: func(network, address string) (net.Listener, error) {
				l, err := net.Listen(network, address)
				if err != nil {
					return nil, err
				}
				s.addr = l.Addr()
				if s.conf.TLS != nil {
					l = tls.NewListener(l, s.conf.TLS)
				}
				if s.speaker != nil {
					l = listener{l, s.speaker}
				}
				return l, nil
			},
		}
		if s.conf.TLS == nil {
			host, _, err := net.SplitHostPort(s.conf.Listen)
			if err != nil {
				return err
			}
			port, err := freePair(host)
			if err != nil {
				return err
			}
			rtsp.UDPRTPAddress = net.JoinHostPort(host, strconv.Itoa(port))
			rtsp.UDPRTCPAddress = net.JoinHostPort(host, strconv.Itoa(port+1))
		}
		s.rtsp = rtsp
		if err = rtsp.Start(); err == nil {
			return nil
		}
		if s.conf.TLS != nil || !strings.Contains(err.Error(), "udp") {
			break
		}
	}
	return err
}

// freePair finds an even port with a free odd neighbour.
func freePair(host string) (int, error) {
	for range 100 {
		a, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			return 0, err
		}
		port := a.LocalAddr().(*net.UDPAddr).Port &^ 1
		a.Close()
		b, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port+1)))
		b.Close()
		if err != nil {
			continue
		}
		c.Close()
		return port, nil
	}
	return 0, errors.New("no pair of free UDP ports")
}

// Addr is the address that cameras answer at.
func (s *Server) Addr() net.Addr { return s.addr }

// URL is the i-th camera's address, without user and password.
func (s *Server) URL(i int) string {
	scheme := "rtsp"
	if s.conf.TLS != nil {
		scheme = "rtsps"
	}
	return scheme + "://" + s.addr.String() + "/" + s.path(i)
}

func (s *Server) path(i int) string {
	if strings.Contains(s.conf.Path, "%d") {
		return fmt.Sprintf(s.conf.Path, i)
	}
	return s.conf.Path
}

// Plays is how often a session has begun to play since the start.
func (s *Server) Plays() int { return int(s.total.Load()) }

// Talks is how often a session has begun that sets nothing up but the loudspeaker.
func (s *Server) Talks() int { return int(s.talks.Load()) }

// Close ends everything and returns when it has. Twice is fine.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, p := range s.pumps {
		p.stop()
	}
	s.mu.Unlock()
	err := s.rtsp.Close()
	s.wg.Wait()
	if s.speaker != nil {
		s.speaker.close()
	}
	return err
}

// handler keeps the library's callbacks out of Server's API.
type handler struct{ s *Server }

func status(code base.StatusCode) *base.Response { return &base.Response{StatusCode: code} }

// refuse returns the answer to a request that may not go on, or nil.
func (s *Server) refuse(c *gortsplib.ServerConn, req *base.Request) *base.Response {
	if s.conf.Faults.BusyFor > time.Since(s.started) {
		return status(base.StatusServiceUnavailable)
	}
	if s.conf.Auth == None && s.conf.Faults.DenyFor == 0 {
		return nil
	}
	if s.conf.Faults.DenyFor <= time.Since(s.started) && (s.conf.Auth == None || s.signedIn(req)) {
		return nil
	}
	res := status(base.StatusUnauthorized)
	ask := base.HeaderValue{`Basic realm="camsim"`}
	if s.conf.Auth != Basic {
		ask = s.auth.Header()
	}
	res.Header = base.Header{"WWW-Authenticate": ask}
	return res
}

// signedIn checks Basic here, because the library takes no colon in a password.
func (s *Server) signedIn(req *base.Request) bool {
	if s.conf.Auth == Digest {
		return s.auth.ValidateRequest(req) == nil
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(s.conf.Username+":"+s.conf.Password))
	got := req.Header["Authorization"]
	return len(got) == 1 && got[0] == want
}

func (s *Server) find(path string) *gortsplib.ServerStream {
	path = strings.Trim(path, "/")
	if only := s.conf.Faults.OnlyPath; only != "" && path != only {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[path]
}

// OnDescribe answers DESCRIBE.
func (h handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res := h.s.refuse(ctx.Conn, ctx.Request); res != nil {
		return res, nil, nil
	}
	st := h.s.find(ctx.Path)
	if st == nil {
		return status(base.StatusNotFound), nil, nil
	}
	if code := h.s.conf.Faults.RefuseRequire; code != 0 && asksBack(ctx.Request) {
		return status(base.StatusCode(code)), nil, nil
	}
	if h.s.conf.Back != "" {
		return h.s.describeBack(ctx.Request, st), nil, nil
	}
	return status(base.StatusOK), st, nil
}

// OnSetup answers SETUP.
func (h handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res := h.s.refuse(ctx.Conn, ctx.Request); res != nil {
		return res, nil, nil
	}
	f := h.s.conf.Faults
	if ctx.Transport == gortsplib.TransportTCP && f.RefuseTCP || ctx.Transport == gortsplib.TransportUDP && f.RefuseUDP {
		return status(base.StatusUnsupportedTransport), nil, nil
	}
	st := h.s.find(ctx.Path)
	if st == nil {
		return status(base.StatusNotFound), nil, nil
	}
	if h.s.backTrack(ctx.TrackID) {
		switch {
		case f.BackBusy:
			return status(base.StatusNotEnoughBandwidth), nil, nil
		case !asksBack(ctx.Request):
			return status(base.StatusBadRequest), nil, nil
		}
	}
	return status(base.StatusOK), st, nil
}

// OnPlay answers PLAY and starts the film.
func (h handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	s := h.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.pumps[ctx.Session] != nil {
		return status(base.StatusOK), nil
	}
	if s.speaker != nil && s.onlyBack(ctx.Session) {
		s.talks.Add(1)
		return status(base.StatusOK), nil
	}
	p := newPump(s, ctx.Session, ctx.Conn)
	s.pumps[ctx.Session] = p
	s.total.Add(1)
	s.wg.Go(func() { _ = p.run() })
	return status(base.StatusOK), nil
}

// OnSessionClose ends the film.
func (h handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if p := h.s.pumps[ctx.Session]; p != nil {
		p.stop()
		delete(h.s.pumps, ctx.Session)
	}
}

// UDPAddrs are the addresses that media over UDP comes from; empty with TLS.
func (s *Server) UDPAddrs() (rtp, rtcp string) { return s.rtsp.UDPRTPAddress, s.rtsp.UDPRTCPAddress }
