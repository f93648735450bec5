package kinesis

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"io"
)

// sealer makes what clients carry around and must not understand: iterators and tokens.
type sealer struct {
	aead cipher.AEAD
	rand io.Reader
}

// errForeign is something that this server never made.
type errForeign struct{}

// Error says so.
func (errForeign) Error() string { return "it was not made here" }

// sealHead begins each iterator of the service.
const sealHead = "\x00\x00\x00\x00\x00\x00\x00\x01"

func newSealer(key []byte, random io.Reader) (*sealer, error) {
	if random == nil {
		random = rand.Reader
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &sealer{aead, random}, err
}

// sealOverhead is what a sealed text is longer than the plain one, before base64.
const sealOverhead = len(sealHead) + 12 + 16

// seal encrypts plain, padded with zeros to size bytes in all (0: as it is), as base64.
func (s *sealer) seal(purpose string, plain []byte, size int) (string, error) {
	if pad := size - sealOverhead - len(plain); pad > 0 {
		plain = append(plain, make([]byte, pad)...)
	}
	out := make([]byte, len(sealHead)+12, sealOverhead+len(plain))
	copy(out, sealHead)
	if _, err := io.ReadFull(s.rand, out[len(sealHead):]); err != nil {
		return "", err
	}
	out = s.aead.Seal(out, out[len(sealHead):], plain, []byte(purpose))
	return base64.StdEncoding.EncodeToString(out), nil
}

// open undoes seal; padding stays.
func (s *sealer) open(purpose, text string) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < sealOverhead || !bytes.HasPrefix(raw, []byte(sealHead)) {
		return nil, errForeign{}
	}
	raw = raw[len(sealHead):]
	plain, err := s.aead.Open(raw[12:12], raw[:12], raw[12:], []byte(purpose))
	if err != nil {
		return nil, errForeign{}
	}
	return plain, nil
}

// fields writes what is sealed: numbers and short strings.
type fields struct{ b []byte }

func (f *fields) number(n int64) { f.b = binary.BigEndian.AppendUint64(f.b, uint64(n)) }

func (f *fields) text(s string) {
	f.b = append(f.b, byte(len(s)))
	f.b = append(f.b, s...)
}

func (f *fields) takeNumber() int64 {
	if len(f.b) < 8 {
		f.b = nil
		return 0
	}
	n := int64(binary.BigEndian.Uint64(f.b))
	f.b = f.b[8:]
	return n
}

func (f *fields) takeText() string {
	if len(f.b) == 0 || len(f.b) < 1+int(f.b[0]) {
		f.b = nil
		return ""
	}
	n := int(f.b[0])
	s := string(f.b[1 : 1+n])
	f.b = f.b[1+n:]
	return s
}
