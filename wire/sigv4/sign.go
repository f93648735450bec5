package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Signer signs outgoing requests with one key, as AWS clients do: the host, the
// content type and every X-Amz- header, in the Authorization header. It may be used by
// many at once.
type Signer struct {
	AccessKey, Secret string
	Token             string // of a session; empty: none
	Region, Service   string
	// Authority signs :authority in place of host, as the SDK for JavaScript does over
	// HTTP/2.
	Authority bool
}

// Sign signs r, whose whole body is body, at the time now. It sets X-Amz-Date and, with
// a Token, X-Amz-Security-Token.
func (g *Signer) Sign(r *http.Request, body []byte, now time.Time) {
	sum := sha256.Sum256(body)
	g.SignHash(r, hex.EncodeToString(sum[:]), now)
}

// SignHash is Sign for who knows the SHA-256 of the body, in hexadecimal: one who sends
// the same body often.
func (g *Signer) SignHash(r *http.Request, hash string, now time.Time) {
	now = now.UTC()
	date := now.Format(timeFormat)
	r.Header.Set("X-Amz-Date", date)
	if g.Token != "" {
		r.Header.Set("X-Amz-Security-Token", g.Token)
	}
	signed := []string{"host"}
	if g.Authority {
		signed[0] = authority
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if name == "content-type" || strings.HasPrefix(name, "x-amz-") {
			signed = append(signed, name)
		}
	}
	slices.Sort(signed)
	s := &Signature{AccessKey: g.AccessKey, date: date, Day: date[:len("20060102")], Region: g.Region, Service: g.Service, request: r,
		signed: strings.Join(signed, ";")}
	scope := g.AccessKey + "/" + s.Day + "/" + g.Region + "/" + g.Service + "/aws4_request"
	var signature [64]byte
	s.sign(s.Key(g.Secret), hash, &signature)
	r.Header.Set("Authorization", algorithm+" Credential="+scope+", SignedHeaders="+s.signed+", Signature="+string(signature[:]))
}
