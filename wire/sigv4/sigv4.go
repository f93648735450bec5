// Package sigv4 verifies AWS Signature Version 4, in headers and in the query, as real
// clients send it (AWS General Reference, "Signing AWS API requests").
//
// It knows signatures, not who has which key: Parse says which access key signed,
// Signature.Verify checks with that key's secret. It follows what clients do rather
// than what the page says: paths are taken as received, only the headers that the
// client lists are looked at, and PutMedia of the Kinesis Video producers signs the
// hash of nothing.
package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
)

// Limits of what is looked at.
const (
	headerMax  = 8 << 10 // of an Authorization header
	partsMax   = 16      // of it
	signedMax  = 64      // signed headers
	queryMax   = 16 << 10
	expiresMax = 7 * 24 * time.Hour // AWS's longest for a presigned URL
)

// Skew is how far a client's clock may be off.
const Skew = 5 * time.Minute

// Payload hashes with a meaning of their own.
const (
	EmptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256 of nothing
	Unsigned  = "UNSIGNED-PAYLOAD"
	Streaming = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
)

// authority is what HTTP/2 has for Host (RFC 9113 §8.3.1); the SDK for JavaScript signs it.
const authority = ":authority"

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeFormat = "20060102T150405Z"
)

// Signature is what a request says about its signature. Nothing of it is proved before
// Verify.
type Signature struct {
	AccessKey string
	Date      time.Time
	Day       string // of the scope, yyyymmdd
	Region    string
	Service   string
	Token     string        // X-Amz-Security-Token, signed or not; may be empty
	Presigned bool          // it is in the query
	Expires   time.Duration // of a presigned URL
	// PayloadHash is X-Amz-Content-Sha256 when sent, else empty.
	PayloadHash string

	date      string // Date as sent, when its text is the one to sign
	signed    string // names of signed headers, with semicolons between
	signature string
	request   *http.Request
	accepted  [2]string // room for what Payload lists
}

// Present reports whether r carries a signature of this kind, good or not.
func Present(r *http.Request) bool {
	return strings.HasPrefix(field(r, "Authorization"), algorithm) || strings.Contains(r.URL.RawQuery, "X-Amz-Signature=")
}

// field is a header by its canonical name, which Header.Get would make anew each time.
func field(r *http.Request, name string) string {
	if v := r.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Parse reads the signature of r. It keeps r, whose body is not touched, for Verify.
// What cannot be read is fault.Invalid (AWS: IncompleteSignature).
func Parse(r *http.Request) (*Signature, error) {
	s := new(Signature)
	if err := s.Read(r); err != nil {
		return nil, err
	}
	return s, nil
}

// Read is Parse into s, which costs no memory where s need not outlive the call.
func (s *Signature) Read(r *http.Request) error {
	*s = Signature{request: r}
	return fault.Wrap(fault.Invalid, "read signature", "", s.parse())
}

func (s *Signature) parse() error {
	r := s.request
	if len(r.URL.RawQuery) > queryMax {
		return fmt.Errorf("the query is longer than %d bytes", queryMax)
	}
	var credential, signed, date string
	if header := field(r, "Authorization"); strings.HasPrefix(header, algorithm) {
		f, err := authorization(header)
		if err != nil {
			return err
		}
		credential, signed, s.signature = f.credential, f.signed, f.signature
		if date = field(r, "X-Amz-Date"); date == "" {
			if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
				date = t.UTC().Format(timeFormat)
			}
		}
		s.Token = field(r, "X-Amz-Security-Token")
	} else {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return errors.New("the query cannot be read")
		}
		if q.Get("X-Amz-Algorithm") != algorithm {
			return errors.New("X-Amz-Algorithm is not " + algorithm)
		}
		credential, signed, s.signature, date = q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature"), q.Get("X-Amz-Date")
		s.Token, s.Presigned = q.Get("X-Amz-Security-Token"), true
		n, err := strconv.Atoi(q.Get("X-Amz-Expires"))
		if s.Expires = time.Duration(n) * time.Second; err != nil || n < 1 || n > int(expiresMax/time.Second) {
			return errors.New("X-Amz-Expires is not 1 to 604800")
		}
	}
	if err := s.scope(credential); err != nil {
		return err
	}
	var err error
	if s.Date, err = parseDate(date); err != nil {
		return errors.New("X-Amz-Date is missing or not like 20060102T150405Z")
	}
	if len(date) < len(s.Day) || s.Day != date[:len("20060102")] {
		return errors.New("the date of the credential is not that of X-Amz-Date")
	}
	if len(date) == len(timeFormat) { // and so without fractions of a second
		s.date = date
	} else {
		s.date = s.Date.UTC().Format(timeFormat)
	}
	s.PayloadHash = field(r, "X-Amz-Content-Sha256")
	return s.setSigned(signed)
}

// parseDate is time.Parse of timeFormat, which finds out anew each time what a layout means
// and so takes as long as the digest of a small body. What is not plain is left to it.
func parseDate(s string) (time.Time, error) {
	if len(s) != len(timeFormat) || s[8] != 'T' || s[15] != 'Z' {
		return time.Parse(timeFormat, s)
	}
	var parts [6]int // year to second
	at := 0
	for i, digits := range [...]int{4, 2, 2, 2, 2, 2} {
		if i == 3 {
			at++ // the T
		}
		for range digits {
			c := s[at] - '0'
			if c > 9 {
				return time.Parse(timeFormat, s)
			}
			parts[i], at = parts[i]*10+int(c), at+1
		}
	}
	t := time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], 0, time.UTC)
	if t.Month() != time.Month(parts[1]) || t.Day() != parts[2] || t.Hour() != parts[3] || t.Minute() != parts[4] || t.Second() != parts[5] {
		return time.Parse(timeFormat, s) // 31 February: it words what is wrong
	}
	return t, nil
}

// fields are the parts of an Authorization header.
type fields struct{ credential, signed, signature string }

func authorization(header string) (f fields, err error) {
	if len(header) > headerMax {
		return f, fmt.Errorf("the Authorization header is longer than %d bytes", headerMax)
	}
	const bad = "the Authorization header has a part that is no name=value, or one twice"
	var seen [3]bool
	rest, more := strings.TrimPrefix(header, algorithm), true
	for n := 0; more; n++ {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || n == partsMax {
			return f, errors.New(bad)
		}
		for i, known := range [...]struct {
			name string
			to   *string
		}{{"Credential", &f.credential}, {"SignedHeaders", &f.signed}, {"Signature", &f.signature}} {
			if name == known.name {
				if seen[i] {
					return f, errors.New(bad)
				}
				*known.to, seen[i] = value, true
			}
		}
	}
	return f, nil
}

func (s *Signature) scope(credential string) error {
	var parts [5]string
	rest, more := credential, true
	for i := range parts {
		if !more {
			parts[4] = ""
			break
		}
		parts[i], rest, more = strings.Cut(rest, "/")
	}
	if more || slices.Contains(parts[:], "") || parts[4] != "aws4_request" {
		return errors.New("Credential is not KEY/DATE/REGION/SERVICE/aws4_request")
	}
	s.AccessKey, s.Day, s.Region, s.Service = parts[0], parts[1], parts[2], parts[3]
	return nil
}

func (s *Signature) setSigned(list string) error {
	if strings.Count(list, ";") >= signedMax {
		return fmt.Errorf("more than %d signed headers", signedMax)
	}
	if !isSignature(s.signature) {
		return errors.New("Signature is not 64 hexadecimal digits")
	}
	s.signed = list
	// A target, a body hash or a date that is sent in a header but not signed could be
	// swapped by whoever sees the request. In a query the latter two have no meaning in a
	// header; a target would make another call of a URL that was given away for one.
	musts := [...]string{"x-amz-target", "x-amz-date", "x-amz-content-sha256"}
	var signs [len(musts)]bool
	host, sorted, odd := false, true, list != strings.ToLower(list)
	for rest, last, more, first := list, "", true, true; more; first = false {
		var h string
		h, rest, more = strings.Cut(rest, ";")
		host = host || h == "host" || h == authority
		sorted = sorted && (first || h >= last)
		odd = odd || h == "" || !first && h == last
		for i := range musts {
			signs[i] = signs[i] || h == musts[i]
		}
		last = h
	}
	switch {
	case !sorted || !host:
		return errors.New("SignedHeaders is not sorted or lacks host")
	case odd:
		return errors.New("SignedHeaders has an empty, upper-case or doubled name")
	}
	for i, must := range musts {
		if s.Presigned && must != "x-amz-target" {
			break
		}
		if signs[i] {
			continue
		}
		if v := s.values(must); len(v) > 0 && v[0] != "" {
			return errors.New(must + " is sent but not signed")
		}
	}
	return nil
}

// isSignature reports whether s is 64 hexadecimal digits, small ones.
func isSignature(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Verify checks the signature with the secret of AccessKey, and the time. payloads are
// the payload hashes that are acceptable, tried in order: Payload lists them. The
// error is fault.Unauthentic; its text is what SDKs look for.
func (s *Signature) Verify(secret string, payloads []string, now time.Time) error {
	return s.VerifyWith(s.Key(secret), payloads, now)
}

// VerifyWith is Verify with a key that Key made.
func (s *Signature) VerifyWith(key *Key, payloads []string, now time.Time) error {
	ok := false
	for _, hash := range payloads {
		// No early end: how many are tried must not show which one fits.
		var want [64]byte
		s.sign(key, hash, &want)
		ok = subtle.ConstantTimeCompare(want[:], []byte(s.signature)) == 1 || ok
	}
	if !ok {
		return fault.New(fault.Unauthentic, "check signature", "", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
	}
	// After the signature, so that a stranger learns nothing of our clock.
	return s.checkTime(now)
}

func (s *Signature) checkTime(now time.Time) error {
	stamp := func(t time.Time) string { return t.UTC().Format(timeFormat) }
	if s.Date.After(now.Add(Skew)) {
		return fault.New(fault.Unauthentic, "check signature", "", fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)", stamp(s.Date), stamp(now.Add(Skew)), stamp(now)))
	}
	end := s.Date.Add(Skew)
	if s.Presigned {
		end = s.Date.Add(s.Expires) // to the second, as its maker wished
	}
	if now.After(end) {
		return fault.New(fault.Unauthentic, "check signature", "", fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 5 min.)", stamp(s.Date), stamp(now.Add(-Skew)), stamp(now)))
	}
	return nil
}

// Payload lists the payload hashes to accept. body is the request's whole body; nil
// means that it was not read: it is the endless body of PutMedia, which clients sign as
// nothing, as UNSIGNED-PAYLOAD or with the word for signed chunks that they then do not
// send. A client that names the hash of a body must have sent that body.
func (s *Signature) Payload(body []byte) []string {
	switch {
	case s.PayloadHash != "" && (s.PayloadHash == Unsigned || s.PayloadHash == Streaming && body == nil):
		return []string{s.PayloadHash}
	case s.PayloadHash != "" && body == nil:
		if s.PayloadHash == EmptyHash {
			return []string{EmptyHash}
		}
		return nil // a hash of what nobody has read
	case body == nil:
		return []string{EmptyHash, Unsigned}
	}
	sum := sha256.Sum256(body)
	var digits [64]byte
	hex.Encode(digits[:], sum[:])
	hash := string(digits[:])
	if s.PayloadHash != "" && s.PayloadHash != hash {
		return nil
	}
	s.accepted = [2]string{hash, Unsigned}
	if s.Presigned {
		return s.accepted[:]
	}
	return s.accepted[:1:1]
}

// Declared lists the payload hashes that the signature can be checked with before there is a
// body; nil when the client says none. Whoever signed one of them has the secret; whether the
// body is the one that was signed is then Payload's to say.
func (s *Signature) Declared() []string {
	switch {
	case s.Presigned && s.PayloadHash != "":
		return []string{Unsigned, s.PayloadHash}
	case s.Presigned:
		return []string{Unsigned}
	case s.PayloadHash != "":
		return []string{s.PayloadHash}
	}
	return nil
}

// canonicalQuery sorts the parameters and encodes them anew, without the signature.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var list [][2]string
	for _, part := range strings.Split(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		if name == "X-Amz-Signature" {
			continue
		}
		list = append(list, [2]string{encode(name), encode(value)})
	}
	slices.SortFunc(list, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0] + "=" + p[1])
	}
	return b.String()
}

// encode decodes a query part and encodes it as RFC 3986 has it; what cannot be
// decoded is taken as it is.
func encode(part string) string {
	if plain, err := url.QueryUnescape(part); err == nil {
		part = plain
	}
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		c := part[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
