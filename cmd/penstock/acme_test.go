package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/acme"

	"penstock/internal/host"
)

func TestACMEAsksItsAuthorityForItsOwnNamesOnly(t *testing.T) {
	var asked atomic.Int64
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound) // final: the client does not try again
	}))
	defer authority.Close()
	c := defaults()
	c.TLS.ACME.Hosts, c.TLS.ACME.Directory = []string{"video.example.org"}, authority.URL
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	cs, err := openCertificates(c, t.TempDir(), host.System{})
	if err != nil {
		t.Fatal(err)
	}
	conf := cs.config()
	if !slices.Contains(conf.NextProtos, acme.ALPNProto) {
		t.Errorf("the challenge's protocol is not offered: %v", conf.NextProtos)
	}
	hello := func(name string) *tls.ClientHelloInfo {
		return &tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}, SupportedVersions: []uint16{tls.VersionTLS13}}
	}
	if _, err := conf.GetCertificate(hello("other.example.org")); err == nil || asked.Load() != 0 {
		t.Errorf("for a name that is not ours: %v, asked %d times", err, asked.Load())
	}
	if _, err := conf.GetCertificate(hello("video.example.org")); err == nil || asked.Load() == 0 {
		t.Errorf("for our name: %v, asked %d times", err, asked.Load())
	}
	c.TLS.Auto = true
	if err := c.Validate(); err == nil {
		t.Error("two sources of certificates at once are taken")
	}
}
