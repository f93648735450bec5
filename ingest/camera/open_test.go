package camera

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/internal/camsim"
	"penstock/internal/secret"
)

func camera(t *testing.T, c camsim.ServerConfig) *camsim.Server {
	t.Helper()
	s, err := camsim.Serve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func target(t *testing.T, raw, user, pass string) Target {
	t.Helper()
	tg, err := ParseTarget(raw, user, secret.New(pass))
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

// hostile are passwords that break clients which put them into the URL.
func hostile() []string {
	list := []string{
		"@", "#", "/", "?", ":", "%", "&", "=", "+", " ", "\"", "'", "`", "\\", "|", "^", "~", "<", ">", "{", "}", "[", "]", "(", ")",
		";", ",", "!", "$", "*", "%41", "%zz", "%%", "a@b", "a:b", ":a", "a:", "@a", "a@", "//", "a/b", "#a", "a#", "?x=1", "a&b=c", "1+1=2",
		" lead", "trail ", "two words", "a\tb", "\"quoted\"", "it's", "back\\slash", "\u00e4\u00f6\u00fc\u00df", "p\u00e4ss w\u00f6rd@#/?:%&=+",
		"\u5bc6\u7801", "\u043f\u0430\u0440\u043e\u043b\u044c", "\U0001F511", "$(reboot)", "`id`", "';--", "user:pass@host", "rtsp://x:y@z/", strings.Repeat("x", 128),
	}
	return list
}

func TestHostilePasswordsConnect(t *testing.T) {
	if n := len(hostile()); n != 64 {
		t.Fatalf("%d passwords, want 64", n)
	}
	clip := camsim.Record(camsim.NewDemo(), time.Second)
	for _, auth := range []camsim.Auth{camsim.Basic, camsim.Digest} {
		t.Run(string(auth), func(t *testing.T) {
			for i, pass := range hostile() {
				s, err := camsim.Serve(camsim.ServerConfig{Username: "admin", Password: pass, Auth: auth, Material: clip})
				if err != nil {
					t.Fatal(err)
				}
				tg := target(t, s.URL(0), "admin", pass)
				if strings.Contains(tg.URL.String(), "admin") {
					t.Errorf("the address carries credentials: %s", tg.URL)
				}
				c, err := Open(t.Context(), Config{}, tg, nil)
				if err != nil {
					t.Errorf("password %d %q: %v", i, pass, err)
				} else {
					c.Close()
				}
				if _, err := Open(t.Context(), Config{}, target(t, s.URL(0), "admin", pass+"x"), nil); TroubleOf(err) == nil || TroubleOf(err).Cause != WrongPassword {
					t.Errorf("password %d %q with an x too much: %v", i, pass, err)
				}
				s.Close()
			}
		})
	}
}

func TestTroublesNameTheirCauseAndWhatToDo(t *testing.T) {
	clip := camsim.Record(camsim.NewDemo(), time.Second)
	refused := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "rtsp://" + l.Addr().String() + "/a"
	}
	talker := func(say string) func() string {
		return func() string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					if say == "hang up" {
						c.Close()
						continue
					}
					fmt.Fprint(c, say)
				}
			})
			t.Cleanup(func() { l.Close(); wg.Wait() })
			return "rtsp://" + l.Addr().String() + "/a"
		}
	}
	sim := func(c camsim.ServerConfig) func() string {
		c.Material = clip
		return func() string { return camera(t, c).URL(0) }
	}
	for _, c := range []struct {
		name       string
		url        func() string
		user, pass string
		transport  Transport
		want       Cause
		detail     string
	}{
		{"port closed", refused, "", "", "", Refused, "refuses connections"},
		{"unknown name", func() string { return "rtsp://no-such-camera.invalid/a" }, "", "", "", NoSuchHost, "no-such-camera.invalid"},
		{"a port that says nothing", talker(""), "", "", "", NoAnswer, "says nothing"},
		{"a web server", talker("HTTP/1.1 400 Bad Request\r\n\r\n"), "", "", "", NotRTSP, ""},
		{"a port that hangs up", talker("hang up"), "", "", "", NotRTSP, "hung up"},
		{"no password given", sim(camsim.ServerConfig{Auth: camsim.Digest, Username: "a", Password: "b"}), "", "", "", NeedsPassword, "asks for a user"},
		{"wrong password", sim(camsim.ServerConfig{Auth: camsim.Basic, Username: "a", Password: "b"}), "a", "c", "", WrongPassword, `user "a"`},
		{"wrong path", sim(camsim.ServerConfig{Faults: camsim.Faults{OnlyPath: "elsewhere"}}), "", "", "", NoSuchPath, "404"},
		{"busy", sim(camsim.ServerConfig{Faults: camsim.Faults{BusyFor: time.Minute}}), "", "", "", Busy, "503"},
		{"no UDP when asked for", sim(camsim.ServerConfig{Faults: camsim.Faults{RefuseUDP: true}}), "", "", UDP, NoTransport, "UDP"},
		{"no TCP when asked for", sim(camsim.ServerConfig{Faults: camsim.Faults{RefuseTCP: true}}), "", "", TCP, NoTransport, "TCP"},
		{"neither", sim(camsim.ServerConfig{Faults: camsim.Faults{RefuseTCP: true, RefuseUDP: true}}), "", "", Auto, NoTransport, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := target(t, c.url(), c.user, c.pass)
			tg.Transport = c.transport
			conn, err := Open(t.Context(), Config{Step: time.Second}, tg, nil)
			if err == nil {
				conn.Close()
				t.Fatal("it went well")
			}
			tr := TroubleOf(err)
			if tr.Cause != c.want || !strings.Contains(tr.Detail, c.detail) || tr.Try == "" {
				t.Errorf("got %v: %q, try %q (%v); want %v with %q", tr.Cause, tr.Detail, tr.Try, tr.Err, c.want, c.detail)
			}
			t.Log(tr.Reason())
		})
	}
}

func TestAutoFallsBackToUDPWhenTCPIsRefused(t *testing.T) {
	s := camera(t, camsim.ServerConfig{Faults: camsim.Faults{RefuseTCP: true}})
	c, err := Open(t.Context(), Config{}, target(t, s.URL(0), "", ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Transport != UDP {
		t.Errorf("transport %s", c.Transport)
	}
}

func TestStagesAreReportedInOrder(t *testing.T) {
	s := camera(t, camsim.ServerConfig{Auth: camsim.Digest, Username: "u", Password: "p"})
	var seen []Stage
	c, err := Open(t.Context(), Config{}, target(t, s.URL(0), "u", "p"), func(s Stage) { seen = append(seen, s) })
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	want := []Stage{StageReached, StageAnswered, StageSignedIn, StageDescribed, StageSetUp}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestGivingUpReturnsAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			c.Read(make([]byte, 1))
			cancel()
			c.Read(make([]byte, 4096))
		}
	}()
	_, err = Open(ctx, Config{Step: time.Minute}, target(t, "rtsp://"+l.Addr().String()+"/", "", ""), nil)
	if err == nil {
		t.Fatal("it went well")
	}
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestCertificatesOfRTSPSCameras(t *testing.T) {
	cert := certificate(t)
	s := camera(t, camsim.ServerConfig{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	plain := camera(t, camsim.ServerConfig{})
	sum := sha256.Sum256(cert.Certificate[0])
	other := bytes.Repeat([]byte{1}, 32)
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	for _, c := range []struct {
		name  string
		url   string
		roots *x509.CertPool
		want  Cause
	}{
		{"self-signed is refused", s.URL(0), nil, BadTLS},
		{"pinned", s.URL(0) + "#certificate=sha256:" + hex.EncodeToString(sum[:]), nil, 0},
		{"another pinned", s.URL(0) + "#certificate=sha256:" + hex.EncodeToString(other), nil, BadTLS},
		{"any", s.URL(0) + "#certificate=any", nil, 0},
		{"verified", s.URL(0), roots, 0},
		{"no TLS there", strings.Replace(plain.URL(0), "rtsp:", "rtsps:", 1), nil, BadTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := target(t, c.url, "", "")
			tg.Certificate.Roots = c.roots
			conn, err := Open(t.Context(), Config{Step: 2 * time.Second}, tg, nil)
			if err == nil {
				conn.Close()
			}
			if c.want == 0 && err != nil || c.want != 0 && (err == nil || TroubleOf(err).Cause != c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRedirectsAreFollowedWithoutGivingThePasswordAway(t *testing.T) {
	s := camera(t, camsim.ServerConfig{Auth: camsim.Basic, Username: "u", Password: "p"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go redirect(c, where)
		}
	})
	defer func() { l.Close(); wg.Wait() }()
	for _, c := range []struct {
		name, to string
		want     Cause
	}{
		{"the same host gets it", s.URL(0), 0},
		{"another host does not", strings.Replace(s.URL(0), "127.0.0.1", "localhost", 1), NeedsPassword},
	} {
		t.Run(c.name, func(t *testing.T) {
			where <- c.to
			conn, err := Open(t.Context(), Config{}, target(t, "rtsp://"+l.Addr().String()+"/a", "u", "p"), nil)
			if err == nil {
				conn.Close()
			}
			if c.want == 0 && err != nil || c.want != 0 && (err == nil || TroubleOf(err).Cause != c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// redirect answers everything but OPTIONS with 302.
func redirect(c net.Conn, where chan string) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		req := string(buf[:n])
		_, cseq, _ := strings.Cut(req, "CSeq: ")
		cseq, _, _ = strings.Cut(cseq, "\r\n")
		if strings.HasPrefix(req, "OPTIONS") {
			fmt.Fprintf(c, "RTSP/1.0 405 Method Not Allowed\r\nCSeq: %s\r\n\r\n", cseq)
			continue
		}
		fmt.Fprintf(c, "RTSP/1.0 302 Found\r\nCSeq: %s\r\nLocation: %s\r\n\r\n", cseq, <-where)
	}
}
