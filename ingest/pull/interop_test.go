package pull

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"penstock/internal/camsim"
	"penstock/streams"
)

// newer is a camera on gortsplib v4: one stream that everybody gets in its middle.
type newer struct {
	stream *gortsplib.ServerStream
}

// OnDescribe answers DESCRIBE.
func (n *newer) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, n.stream, nil
}

// OnSetup answers SETUP.
func (n *newer) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, n.stream, nil
}

// OnPlay answers PLAY.
func (n *newer) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// serveNewer films clip until the test ends.
func serveNewer(t *testing.T, clip *camsim.Clip, conf *tls.Config) string {
	t.Helper()
	n := &newer{}
	var addr net.Addr
	srv := &gortsplib.Server{Handler: n, RTSPAddress: "127.0.0.1:0", TLSConfig: conf, Listen: func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err == nil {
			addr = l.Addr()
		}
		return l, err
	}}
	if conf == nil {
		srv.UDPRTPAddress, srv.UDPRTCPAddress = udpPair(t)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	forma := &format.H264{PayloadTyp: 96, SPS: clip.Streams[0].SPS, PPS: clip.Streams[0].PPS, PacketizationMode: 1}
	medi := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{forma}}
	n.stream = &gortsplib.ServerStream{Server: srv, Desc: &description.Session{Medias: []*description.Media{medi}}}
	if err := n.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	enc, err := forma.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		reel := clip.Reel(0)
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			u := reel.Next()
			pkts, err := enc.Encode(u.NALs)
			if err != nil {
				return
			}
			for _, p := range pkts {
				p.Timestamp += uint32(u.PTS)
				_ = n.stream.WritePacketRTP(medi, p)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		n.stream.Close()
		srv.Close()
	})
	if conf != nil {
		return "rtsps://" + addr.String() + "/cam"
	}
	return "rtsp://" + addr.String() + "/cam"
}

func udpPair(t *testing.T) (rtp, rtcp string) {
	t.Helper()
	s, err := camsim.Serve(camsim.ServerConfig{}) // finds a pair, and frees it again
	if err != nil {
		t.Fatal(err)
	}
	rtp, rtcp = s.UDPAddrs()
	s.Close()
	return rtp, rtcp
}

func TestCamerasOnAnotherRTSPLibrary(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	clip := shortClip()
	for _, c := range []struct {
		name string
		tls  *tls.Config
		tp   streams.Transport
	}{
		{"over TCP", nil, streams.TCP},
		{"over UDP", nil, streams.UDP},
		{"over TLS", conf, streams.Auto},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := serveNewer(t, clip, c.tls)
			if strings.HasPrefix(url, "rtsps") {
				url += "#certificate=sha256:" + hex.EncodeToString(sum[:])
			}
			r := start(t, Config{})
			r.add("a", url, "", "", c.tp)
			r.hub.wait(t, "60 samples", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count >= 60 })
			r.hub.mu.Lock()
			defer r.hub.mu.Unlock()
			compare(t, clip, r.hub.sessions[0])
		})
	}
}

// TestOddCamerasKeepTheirMedia runs the quirks that the fleet has: none of them may end
// a session or lose a sample.
func TestOddCamerasKeepTheirMedia(t *testing.T) {
	clip := shortClip()
	for name, f := range map[string]camsim.Faults{
		"timestamps jump an hour": {JumpEvery: 700 * time.Millisecond},
		"clock drifts":            {DriftPPM: 5000},
		"no sender reports":       {NoSenderReports: true},
		"half the frame rate":     {Stretch: 2},
		"clock a year behind":     {ClockOffset: -365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := cameras(t, camsim.ServerConfig{Material: clip, Faults: f})
			r := start(t, Config{})
			r.add("a", s.URL(0), "", "", streams.Auto)
			r.hub.wait(t, "60 samples", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count >= 60 })
			r.hub.mu.Lock()
			defer r.hub.mu.Unlock()
			rec := r.hub.sessions[0]
			if rec.closed || rec.lost > 0 || s.Plays() != 1 {
				t.Errorf("closed %v, %d lost, %d sessions", rec.closed, rec.lost, s.Plays())
			}
			at := align(clip.Streams[0], clip.Units, rec.samples[0])
			for i, m := range rec.samples {
				u := clip.Units[(at+i)%len(clip.Units)]
				if string(payload(clip.Streams[0], m)) != string(payloadOf(clip.Streams[0], u)) {
					t.Fatalf("sample %d is not the camera's", i)
				}
			}
		})
	}
}

func TestSessionThatBeginsBetweenKeyFrames(t *testing.T) {
	t.Parallel()
	s := cameras(t, camsim.ServerConfig{Material: shortClip(), Faults: camsim.Faults{MidGOP: true}})
	r := start(t, Config{})
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "a key frame", func() bool {
		if len(r.hub.sessions) != 1 {
			return false
		}
		for _, m := range r.hub.sessions[0].samples {
			if m.Sync {
				return true
			}
		}
		return false
	})
}
