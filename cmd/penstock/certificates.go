package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"penstock/internal/host"
)

// certificates serves the operator's certificate, read again when its file changes, one
// made for this machine, or those that an ACME authority gives (RFC 8555). A nil
// *certificates is plain HTTP.
type certificates struct {
	cert, key string
	clock     host.Clock
	acme      *autocert.Manager // nil: files

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time // of the certificate's file
	checked time.Time
}

// recheck is how often the certificate's file is looked at.
const recheck = 10 * time.Second

// selfSignedLife is how long a certificate made here lasts: browsers refuse more than 825 days.
const selfSignedLife = 820 * 24 * time.Hour

func openCertificates(c config, dir string, clock host.Clock) (*certificates, error) {
	cs := &certificates{cert: c.TLS.Cert, key: c.TLS.Key, clock: clock}
	switch {
	case len(c.TLS.ACME.Hosts) > 0:
		cs.acme = &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(filepath.Join(dir, "tls", "acme")),
			HostPolicy: autocert.HostWhitelist(c.TLS.ACME.Hosts...), Email: c.TLS.ACME.Email}
		if c.TLS.ACME.Directory != "" {
			cs.acme.Client = &acme.Client{DirectoryURL: c.TLS.ACME.Directory}
		}
		return cs, nil
	case c.TLS.Auto:
		cs.cert, cs.key = filepath.Join(dir, "tls", "cert.pem"), filepath.Join(dir, "tls", "key.pem")
		if err := cs.make(); err != nil {
			return nil, fmt.Errorf("make certificate: %w", err)
		}
	case c.TLS.Cert == "":
		return nil, nil
	}
	if err := cs.load(); err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return cs, nil
}

// config returns what a TLS listener needs; nil for plain HTTP.
func (cs *certificates) config() *tls.Config {
	if cs == nil {
		return nil
	}
	protocols := []string{"h2", "http/1.1"}
	if cs.acme != nil {
		protocols = append(protocols, acme.ALPNProto) // the authority's challenge comes to this port
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cs.get, NextProtos: protocols}
}

// rtsps is config for RTSP and MQTT over TLS, which are no HTTP.
func (cs *certificates) rtsps() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cs.get}
}

func (cs *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cs.acme != nil {
		return cs.acme.GetCertificate(hello)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if now := cs.clock.Now(); now.Sub(cs.checked) > recheck {
		cs.checked = now
		if st, err := os.Stat(cs.cert); err == nil && !st.ModTime().Equal(cs.changed) {
			// A certificate that is half written now is read the next time; the old one serves.
			_ = cs.load()
		}
	}
	return cs.current, nil
}

func (cs *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(cs.cert, cs.key)
	if err != nil {
		return err
	}
	st, err := os.Stat(cs.cert)
	if err != nil {
		return err
	}
	cs.current, cs.changed = &pair, st.ModTime()
	return nil
}

// fingerprint is the SHA-256 of the certificate, as browsers show it.
func (cs *certificates) fingerprint() string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	sum := sha256.Sum256(cs.current.Certificate[0])
	return strings.TrimSuffix(strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x ", sum[:]), " ", ":")), ":")
}

// make writes a self-signed certificate for this machine's names, once.
func (cs *certificates) make() error {
	if _, err := os.Stat(cs.cert); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	now := cs.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Penstock, self-signed"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife), DNSNames: []string{name, "localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			template.IPAddresses = append(template.IPAddresses, n.IP)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(cs.cert), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(cs.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(cs.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}
