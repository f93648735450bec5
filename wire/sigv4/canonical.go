package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// Key signs for one access key on one day, in one region, for one service. It may be kept
// and shared: whoever has many requests to check derives it once.
type Key struct {
	inner, outer [sha256.BlockSize]byte // RFC 2104 §2: the key, padded, with each pad
}

// Key derives the key that s was signed with from the access key's secret.
func (s *Signature) Key(secret string) *Key {
	raw := []byte("AWS4" + secret)
	for _, part := range [...]string{s.Day, s.Region, s.Service, "aws4_request"} {
		m := hmac.New(sha256.New, raw)
		m.Write([]byte(part))
		raw = m.Sum(nil)
	}
	k := &Key{}
	copy(k.inner[:], raw) // 32 bytes: shorter than a block
	k.outer = k.inner
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

// textMax is what a text to sign is made in: algorithm, date, scope and a hash. A longer
// scope costs an allocation.
const textMax = 256

// sum is HMAC-SHA256 of text, which crypto/hmac does with six allocations.
func (k *Key) sum(text []byte) [sha256.Size]byte {
	var room [sha256.BlockSize + textMax]byte
	in := sha256.Sum256(append(append(room[:0], k.inner[:]...), text...))
	return sha256.Sum256(append(append(room[:0], k.outer[:]...), in[:]...))
}

// sign writes the signature over the request with a payload hash, in hexadecimal.
func (s *Signature) sign(key *Key, payload string, to *[64]byte) {
	var room [1024]byte
	sum := sha256.Sum256(s.canonical(room[:0], payload))
	var scope [textMax]byte
	text := append(append(scope[:0], algorithm+"\n"...), s.date...)
	for i, part := range [...]string{s.Day, s.Region, s.Service, "aws4_request\n"} {
		text = append(append(text, "\n///"[i]), part...)
	}
	text = hex.AppendEncode(text, sum[:])
	mac := key.sum(text)
	hex.Encode(to[:], mac[:])
}

// canonical appends the canonical request, with the path as received.
func (s *Signature) canonical(b []byte, payload string) []byte {
	path := s.request.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	b = append(append(append(append(b, s.request.Method...), '\n'), path...), '\n')
	b = append(append(b, canonicalQuery(s.request.URL.RawQuery)...), '\n')
	for rest, more := s.signed, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		b = append(append(b, name...), ':')
		b = append(s.header(b, name), '\n')
	}
	b = append(append(b, '\n'), s.signed...)
	return append(append(b, '\n'), payload...)
}

// header appends the value as signed: trimmed, blanks collapsed, several joined by commas.
// net/http takes some headers out of the map.
func (s *Signature) header(b []byte, name string) []byte {
	r := s.request
	switch name {
	case "host", authority:
		return append(b, r.Host...)
	case "transfer-encoding":
		if len(r.TransferEncoding) > 0 {
			return append(b, strings.Join(r.TransferEncoding, ",")...)
		}
	case "content-length":
		if len(s.values(name)) == 0 && r.ContentLength >= 0 {
			return strconv.AppendInt(b, r.ContentLength, 10)
		}
	}
	for i, v := range s.values(name) {
		if i > 0 {
			b = append(b, ',')
		}
		b = collapse(b, v)
	}
	return b
}

// collapse appends v without blanks around it, and with one where there are more.
func collapse(b []byte, v string) []byte {
	blank := true // before the first
	for i := range len(v) {
		c := v[i]
		if c < ' ' || c > '~' || c == ' ' && blank {
			return append(b, strings.Join(strings.Fields(v), " ")...)
		}
		blank = c == ' '
	}
	if blank && v != "" {
		v = v[:len(v)-1]
	}
	return append(b, v...)
}

// values are a header's, by its lower-case name. Those that every request has are not made
// canonical anew each time.
func (s *Signature) values(name string) []string {
	switch name {
	case "x-amz-date":
		return s.request.Header["X-Amz-Date"]
	case "x-amz-target":
		return s.request.Header["X-Amz-Target"]
	case "x-amz-content-sha256":
		return s.request.Header["X-Amz-Content-Sha256"]
	case "content-type":
		return s.request.Header["Content-Type"]
	case "content-length":
		return s.request.Header["Content-Length"]
	}
	return s.request.Header.Values(name)
}
