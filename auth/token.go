package auth

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"strings"
)

// Prefixes of what we hand out, so that a found secret shows what it is.
const (
	prefixBearer = "pst_" // access key's bearer token
	prefixMedia  = "psm_" // media token
	prefixLink   = "psl_" // one-time sign-in link
	prefixCookie = "psc_" // console session
)

// A token is its prefix, 25 random bytes (200 bits) and a CRC-32 in lower-case base32:
// letters and digits only, so that it survives URLs and RTSP user information, and a
// mistyped one is told apart without asking the database.
const (
	tokenRandom = 25
	tokenBytes  = tokenRandom + 4
)

// tokenMax bounds any credential that is looked at.
const tokenMax = 4096

func base32Lower() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

func newToken(prefix string, random io.Reader) (string, error) {
	var b [tokenBytes]byte
	if _, err := io.ReadFull(random, b[:tokenRandom]); err != nil {
		return "", err
	}
	sum := crc32.ChecksumIEEE(append([]byte(prefix), b[:tokenRandom]...))
	binary.BigEndian.PutUint32(b[tokenRandom:], sum)
	return prefix + base32Lower().EncodeToString(b[:]), nil
}

// wellFormed reports whether token could have come from newToken(prefix).
func wellFormed(prefix, token string) bool {
	if len(token) > tokenMax || !strings.HasPrefix(token, prefix) {
		return false
	}
	text := token[len(prefix):]
	b, err := base32Lower().DecodeString(text)
	if err != nil || len(b) != tokenBytes || base32Lower().EncodeToString(b) != text {
		return false
	}
	sum := crc32.ChecksumIEEE(append([]byte(prefix), b[:tokenRandom]...))
	return binary.BigEndian.Uint32(b[tokenRandom:]) == sum
}

// hashToken is what the store keeps of a token. The tokens hold 200 random bits, so a
// plain hash cannot be reversed and no slow one is needed.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// randomID returns prefix and n characters of upper-case base32.
func randomID(prefix string, n int, random io.Reader) (string, error) {
	b := make([]byte, (n*5+7)/8)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", err
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
	return prefix + text[:n], nil
}

// randomGeneration returns a number that no earlier proof carries.
func randomGeneration(random io.Reader) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(random, b[:])
	return binary.BigEndian.Uint64(b[:]) >> 1, err // SQL integers are signed
}
