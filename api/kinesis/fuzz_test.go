package kinesis

import (
	"math/rand/v2"
	"strings"
	"testing"

	"penstock/streams/datastream"
)

// FuzzIterator hands what clients carry around back in every other form: only what was
// made here is taken.
func FuzzIterator(f *testing.F) {
	s, err := newSealer(make([]byte, 32), rand.NewChaCha8([32]byte{}))
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.seal(purposeIterator, []byte("something"), iteratorMin)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, good[:len(good)-4], strings.ToLower(good), "", "AAAAAAAAAAE=", `"` + good + `"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := s.open(purposeIterator, text)
		if err == nil && text != good {
			t.Fatalf("%q opens as %q", text, plain)
		}
		if _, err := s.open(purposeToken, text); err == nil {
			t.Fatal("an iterator opens as a token")
		}
	})
}

// FuzzFields reads sealed fields of any bytes: short ones are empty, none panic.
func FuzzFields(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 3, 'a', 'b', 'c', 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := fields{b}
		n, text := r.takeNumber(), r.takeText()
		if len(b) >= 8 && len(text) <= 255 && text != "" {
			var w fields
			w.number(n)
			w.text(text)
			if !strings.HasPrefix(string(b), string(w.b)) {
				t.Fatalf("%x reads as %x", b, w.b)
			}
		}
	})
}

// FuzzARN parses ARNs: what is taken names a stream that can exist, and is written back as
// it was.
func FuzzARN(f *testing.F) {
	for _, seed := range []string{
		"arn:aws:kinesis:us-east-1:000000000000:stream/s", "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:17",
		"arn:aws-cn:kinesis::1:stream/../x", "arn:aws:kinesis:a:b:c:stream/s", "arn:aws:kinesis:r:000000000000:stream/s/consumer/:", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arn string) {
		p, ok := parseARN(arn)
		if !ok {
			return
		}
		if err := datastream.CheckName(p.stream); err != nil {
			t.Fatalf("%q names %q", arn, p.stream)
		}
		_, rest, _ := strings.Cut(strings.TrimPrefix(arn, "arn:"), ":")
		if _, want, _ := strings.Cut(p.arn(), "aws:"); rest != want {
			t.Fatalf("%q is written as %q", arn, p.arn())
		}
	})
}
