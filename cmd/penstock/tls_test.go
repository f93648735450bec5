package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// secured runs a server with a certificate made for this machine; it returns what the
// server printed and a client that accepts that certificate by its fingerprint alone.
func secured(t *testing.T) (d *daemon, printed string, client *http.Client) {
	t.Helper()
	c := defaults()
	c.Data, c.HTTP, c.RTSP, c.RTSPS, c.RTSPUDP, c.TLS.Auto = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "off", true
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	d, err := openDaemon(t.Context(), c, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	d.greet(t.Context(), &out)
	runs(t, d)
	fingerprint := regexp.MustCompile(`SHA-256 ([0-9A-F:]{95})\n`).FindStringSubmatch(out.String())
	if fingerprint == nil {
		t.Fatalf("no fingerprint in\n%s", out.String())
	}
	conf := byFingerprint(fingerprint[1])
	transport := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(transport.CloseIdleConnections)
	return d, out.String(), &http.Client{Transport: transport, Timeout: time.Minute}
}

// byFingerprint checks a certificate as a person does who compares what they see.
func byFingerprint(want string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error {
		got := fmt.Sprintf("%X", sha256.Sum256(cs.PeerCertificates[0].Raw))
		if got != strings.ReplaceAll(want, ":", "") {
			return errors.New("another certificate: " + got)
		}
		return nil
	}}
}

func TestSelfSignedServesWithItsPrintedFingerprint(t *testing.T) {
	d, printed, client := secured(t)
	link := regexp.MustCompile(`https://\S+/#link=(\S+)`).FindStringSubmatch(printed)
	if link == nil || !strings.Contains(printed, "rtsps://key:TOKEN@") {
		t.Fatalf("printed\n%s", printed)
	}
	base := "https://" + d.listener.Addr().String()
	body, err := json.Marshal(map[string]string{"link": link[1]})
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(base+"/v1/session", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Strict-Transport-Security") == "" {
		t.Fatalf("sign in: %s %v", res.Status, res.Header)
	}
	// RFC 6265bis 4.1.3.2: __Host- needs Secure, Path=/ and no Domain.
	cookies := res.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies %v", cookies)
	}
	ck := cookies[0]
	if ck.Name != "__Host-penstock" || !ck.Secure || !ck.HttpOnly || ck.SameSite != http.SameSiteStrictMode || ck.Path != "/" || ck.Domain != "" {
		t.Errorf("the cookie is %q", ck.Raw)
	}
	for name, want := range map[string]int{"__Host-penstock": http.StatusOK, "penstock": http.StatusUnauthorized} {
		req, err := http.NewRequest(http.MethodGet, base+"/v1/streams", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(&http.Cookie{Name: name, Value: ck.Value})
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Error(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("over TLS the cookie %q is answered %d, want %d", name, res.StatusCode, want)
		}
	}
	if _, err := http.Get(base + "/v1/streams"); err == nil {
		t.Error("a client that trusts nobody's word accepts the certificate")
	}
}

func TestRTSPSAnswersOverTLSOnly(t *testing.T) {
	d, printed, _ := secured(t)
	fingerprint := regexp.MustCompile(`SHA-256 (\S+)`).FindStringSubmatch(printed)[1]
	u, err := url.Parse("rtsps://" + d.rtsp.TLSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", u.Host, byFingerprint(fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]string{"OPTIONS": "RTSP/1.0 200 ", "DESCRIBE": "RTSP/1.0 401 "} {
		fmt.Fprintf(conn, "%s rtsps://%s/front RTSP/1.0\r\nCSeq: 1\r\n\r\n", method, u.Host)
		r := bufio.NewReader(conn)
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%s: %q %v", method, line, err)
		}
		for line != "\r\n" && err == nil {
			line, err = r.ReadString('\n')
		}
	}
}

func TestWithoutACertificateNothingListensForRTSPS(t *testing.T) {
	c := defaults()
	if c.rtspsOn() {
		t.Error("RTSPS is on without a certificate")
	}
	c.TLS.Cert, c.TLS.Key = "c", "k"
	if !c.rtspsOn() {
		t.Error("RTSPS is off with a certificate")
	}
	if c.RTSPS = "0.0.0.0:8322"; c.loopbackOnly() {
		t.Error("an open RTSPS listener counts as out of reach")
	}
	c.RTSP = "off"
	if c.rtspsOn() || !c.loopbackOnly() {
		t.Error("RTSPS is on where RTSP is off")
	}
	c = defaults()
	c.Data, c.HTTP, c.RTSP, c.TLS.Auto, c.RTSPS = t.TempDir(), "127.0.0.1:0", "off", true, "nowhere"
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "rtsps") {
		t.Errorf("rtsps nowhere: %v", err)
	}
}

// TestAServerThatCannotOpenSaysWhy meets the first error after something was opened.
func TestAServerThatCannotOpenSaysWhy(t *testing.T) {
	dir := t.TempDir()
	newKey(t, dir, "--admin")
	t.Setenv("PENSTOCK_MASTER_KEY", strings.Repeat("ab", 32))
	c := defaults()
	c.Data, c.HTTP, c.RTSP = dir, "127.0.0.1:0", "off"
	if _, err := openDaemon(t.Context(), c, false, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("another master key: %v", err)
	}
	t.Setenv("PENSTOCK_MASTER_KEY", "")
	os.Unsetenv("PENSTOCK_MASTER_KEY")
	d, err := openDaemon(t.Context(), c, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("the directory stays locked: %v", err)
	}
	d.close()
}

func TestCommandsSayHowToReachASecuredServer(t *testing.T) {
	d, _, _ := secured(t)
	run := atHome(t, t.TempDir(), nil)
	address := d.listener.Addr().String()
	for _, c := range []struct {
		server, more string
		code         int
		words        string
	}{
		{"http://" + address, "", exitFailed, "try: --server https://" + address},
		{"https://" + address, "", exitUnreachable, "try: trust its certificate with --ca-file FILE"},
		{"https://" + address, "--ca-file " + d.dir + "/tls/cert.pem", exitDenied, "PENSTOCK_TOKEN"},
		{"https://" + address, "--ca-file " + d.dir + "/LOCK", exitFailed, "holds no PEM certificate"},
	} {
		if code, _, errs := run("", strings.Fields("stream ls --server "+c.server+" "+c.more)...); code != c.code || !strings.Contains(errs, c.words) {
			t.Errorf("%s %s: exit %d %s", c.server, c.more, code, errs)
		}
	}
}
