package awsjson

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf16"

	"github.com/emmansun/base64"
)

// The words of a SerializationException (recorded on AWS).
const (
	javaNumber  = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
	javaBoolean = "class java.lang.Boolean"
	javaString  = "class java.lang.String"
	listFound   = "Start of list found where not expected"
	mapFound    = "Start of structure or map found where not expected."
)

// targets word what a value cannot be converted to, by kind.
func target(k Kind) string {
	switch k {
	case String:
		return "an String"
	case Integer:
		return "an Integer"
	case Long:
		return "an Long"
	case Double:
		return "an Double"
	case Boolean:
		return "an Boolean"
	case Blob:
		return "a Blob"
	}
	return "milliseconds since epoch"
}

func cannot(class string, k Kind) *Error {
	return serialization(class + " can not be converted to " + target(k))
}

// coerce turns n into what s wants, in place, or says why it cannot.
func coerce(n *node, s *Shape) *Error {
	if n.kind == nodeNull {
		return nil
	}
	switch s.Kind {
	case Structure, List, Map:
		return coerceComposite(n, s)
	}
	switch n.kind {
	case nodeList:
		return serialization(listFound)
	case nodeMap:
		return serialization(mapFound)
	}
	switch s.Kind {
	case String:
		return coerceString(n)
	case Blob:
		return coerceBlob(n)
	case Boolean:
		return coerceBoolean(n)
	}
	return coerceNumber(n, s.Kind)
}

func coerceComposite(n *node, s *Shape) *Error {
	switch {
	case n.kind == nodeList && s.Kind != List:
		return serialization(listFound)
	case n.kind == nodeMap && s.Kind == List:
		return serialization(mapFound)
	case n.kind != nodeList && n.kind != nodeMap:
		switch s.Kind {
		case List:
			return serialization("Expected list or null")
		case Map:
			return serialization("Expected map or null")
		}
		return serialization("Expected null")
	}
	if s.Kind == Map {
		n.unite()
	}
	if s.Kind != Structure {
		for i := range n.list {
			if err := coerce(&n.list[i], s.Elem); err != nil {
				return err
			}
		}
		return nil
	}
	for i, key := range n.keys {
		for j := range s.Members {
			if s.Members[j].Name != key || s.Members[j].Shape.Events {
				continue
			}
			if err := coerce(&n.list[i], s.Members[j].Shape); err != nil {
				return err
			}
		}
	}
	return nil
}

func coerceString(n *node) *Error {
	switch n.kind {
	case nodeNumber, nodeTime:
		return cannot(javaNumber, String)
	case nodeBool:
		return cannot(javaBoolean, String)
	case nodeBytes:
		return serialization("class java.nio.HeapByteBuffer can not be converted to an String")
	}
	return nil
}

func coerceNumber(n *node, k Kind) *Error {
	switch n.kind {
	case nodeString:
		return cannot(javaString, k)
	case nodeBool:
		return cannot(javaBoolean, k)
	case nodeBytes:
		return cannot("class java.nio.HeapByteBuffer", k)
	}
	switch k {
	case Integer:
		n.num = n.floorTo(math.MinInt32, math.MaxInt32)
	case Long:
		n.num = n.floorTo(math.MinInt64, math.MaxInt64)
	case Timestamp:
		n.num = n.micros()
	}
	return nil
}

// Instants that a request may name: years 1 to 9999, as seconds of the epoch.
const (
	secondsMin = -62135596800
	secondsMax = 253402300799
)

// micros returns the instant that a number names, in microseconds of the epoch: seconds
// in JSON and untagged; milliseconds under CBOR's tag 1, where a float that is too small
// for milliseconds of our days counts seconds, as RFC 8949 has it.
func (n *node) micros() int64 {
	scale := 1e6
	if n.kind == nodeTime && (n.whole || math.Abs(n.float) >= 1e11) {
		scale = 1e3
	}
	return timeMicros(n.float, scale)
}

func timeMicros(v, scale float64) int64 {
	us := math.Round(v * scale)
	switch {
	case math.IsNaN(us):
		return 0
	case us < secondsMin*1e6:
		return secondsMin * 1e6
	case us > secondsMax*1e6:
		return secondsMax * 1e6
	}
	return int64(us)
}

func coerceBoolean(n *node) *Error {
	switch n.kind {
	case nodeNumber, nodeTime:
		return cannot(javaNumber, Boolean)
	case nodeBytes:
		return cannot("class java.nio.HeapByteBuffer", Boolean)
	case nodeString:
		text := strings.ToUpper(n.text)
		switch text {
		case "TRUE", "1", "YES":
			n.truth = true
		case "FALSE", "0", "NO":
			n.truth = false
		default:
			return cannot("'"+text+"'", Boolean)
		}
		n.kind = nodeBool
	}
	return nil
}

func coerceBlob(n *node) *Error {
	switch n.kind {
	case nodeNumber, nodeTime:
		return cannot(javaNumber, Blob)
	case nodeBool:
		return cannot(javaBoolean, Blob)
	case nodeBytes:
		return nil
	}
	b, err := decodeBlob(n.text)
	if err != nil {
		return err
	}
	n.kind, n.bytes, n.text = nodeBytes, b, ""
	return nil
}

// decodeBlob decodes padded base64 strictly, and says what AWS says of anything else.
func decodeBlob(text string) ([]byte, *Error) {
	refuse := func(format string, args ...any) ([]byte, *Error) {
		return nil, serialization("'" + text + "' can not be converted to a Blob: " + fmt.Sprintf(format, args...))
	}
	if n := utf16Len(text); n%4 != 0 {
		return refuse("Base64 encoded length is expected a multiple of 4 bytes but found: %d", n)
	}
	for i, c := range text {
		padding := c == '=' && (i+1 == len(text) || text[i+1] == '=')
		if !padding && (c > 'z' || !base64Letter(byte(c))) {
			return refuse("Invalid Base64 character: '%c'", c)
		}
	}
	b := make([]byte, len(text)/4*3)
	n, ok := decodeBase64(b, []byte(text))
	if !ok {
		return refuse("Invalid last non-pad Base64 character dectected")
	}
	return b[:n:n], nil
}

func base64Letter(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// decodeBase64 decodes src, of whole quads, into dst, which has room for len(src)/4*3
// bytes. It takes nothing but canonical padded base64: no line breaks (which leave the
// result too short), no bits lost in the last letter.
func decodeBase64(dst, src []byte) (int, bool) {
	if len(src) == 0 {
		return 0, true
	}
	if len(src)%4 != 0 {
		return 0, false
	}
	want := len(src) / 4 * 3
	last := src[len(src)-4:]
	switch {
	case last[3] != '=':
	case last[2] == '=':
		want -= 2
	default:
		want--
	}
	n, err := base64.StdEncoding.Decode(dst, src)
	if err != nil || n != want {
		return 0, false
	}
	if pad := len(src)/4*3 - want; pad > 0 {
		var again [4]byte
		base64.StdEncoding.Encode(again[:], dst[n-(3-pad):n])
		return n, string(again[:]) == string(last)
	}
	return n, true
}
