package camera

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"penstock/internal/fault"
)

// Certificate says which certificates of an rtsps camera are good. The zero value
// verifies against the machine's roots, as browsers do.
type Certificate struct {
	// Any accepts whatever comes: the password can then be read by who sits in between.
	Any bool
	// SHA256 accepts exactly the certificate with this fingerprint, self-signed or not.
	SHA256 []byte
	// Roots replace the machine's when not nil.
	Roots *x509.CertPool
}

// parseCertificate reads the policy that an address carries in its fragment:
// "certificate=sha256:HEX" pins one, "certificate=any" accepts all, "" verifies.
// Faults: Invalid.
func parseCertificate(fragment string) (Certificate, error) {
	bad := func(text string) (Certificate, error) {
		return Certificate{}, fault.New(fault.Invalid, "read camera address", "", text).
			WithHint("after #, write certificate=sha256:FINGERPRINT or certificate=any")
	}
	if fragment == "" {
		return Certificate{}, nil
	}
	key, value, _ := strings.Cut(fragment, "=")
	if key != "certificate" {
		return bad(fmt.Sprintf("%q after # is not known", key))
	}
	if unescaped, err := url.PathUnescape(value); err == nil {
		value = unescaped
	}
	if value == "any" {
		return Certificate{Any: true}, nil
	}
	sum, found := strings.CutPrefix(strings.ToLower(value), "sha256:")
	if !found {
		return bad("the certificate policy is neither any nor sha256:FINGERPRINT")
	}
	b, err := hex.DecodeString(strings.ReplaceAll(sum, ":", ""))
	if err != nil || len(b) != sha256.Size {
		return bad("a SHA-256 fingerprint has 64 hexadecimal digits")
	}
	return Certificate{SHA256: b}, nil
}

// ErrFingerprint is the cause when a pinned camera shows another certificate.
var ErrFingerprint = errors.New("the camera shows another certificate than the pinned one")

// config returns the TLS client settings for host. Cameras' firmware is old: TLS 1.2
// is the floor, as crypto/tls has it.
func (c Certificate) config(host string) *tls.Config {
	conf := &tls.Config{ServerName: host, RootCAs: c.Roots}
	switch {
	case c.Any:
		conf.InsecureSkipVerify = true
	case c.SHA256 != nil:
		conf.InsecureSkipVerify = true // replaced by the comparison below
		conf.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) > 0 {
				if sum := sha256.Sum256(raw[0]); bytes.Equal(sum[:], c.SHA256) {
					return nil
				}
			}
			return ErrFingerprint
		}
	}
	return conf
}
