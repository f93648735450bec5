package awsjson

import (
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/emmansun/base64"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. What is no UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			dst = append(append(dst, s[from:i]...), `\ufffd`...)
			i += size
			from = i
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// AppendBlob appends b as a JSON string of padded base64.
func AppendBlob(dst, b []byte) []byte {
	n := base64.StdEncoding.EncodedLen(len(b))
	dst = slices.Grow(dst, n+2)
	at := len(dst)
	dst = dst[:at+n+2]
	dst[at], dst[at+n+1] = '"', '"'
	if n > 0 {
		base64.StdEncoding.Encode(dst[at+1:at+1+n], b)
	}
	return dst
}

// AppendMillis appends an instant in milliseconds of the epoch as JSON: seconds, with up
// to three decimals.
func AppendMillis(dst []byte, ms int64) []byte {
	if ms < 0 {
		dst, ms = append(dst, '-'), -ms
	}
	dst = strconv.AppendInt(dst, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		dst = append(dst, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

// AppendTime appends t as AppendMillis does.
func AppendTime(dst []byte, t time.Time) []byte { return AppendMillis(dst, t.UnixMilli()) }

// AppendCBORHead appends the first bytes of a CBOR item: its major type (RFC 8949 §3.1)
// and its argument, in the shortest form.
func AppendCBORHead(dst []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(dst, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return append(dst, major|25, byte(arg>>8), byte(arg))
	case arg <= math.MaxUint32:
		return append(dst, major|26, byte(arg>>24), byte(arg>>16), byte(arg>>8), byte(arg))
	}
	return append(dst, major|27, byte(arg>>56), byte(arg>>48), byte(arg>>40), byte(arg>>32),
		byte(arg>>24), byte(arg>>16), byte(arg>>8), byte(arg))
}

// AppendCBORMap appends the head of a map of n entries.
func AppendCBORMap(dst []byte, n int) []byte { return AppendCBORHead(dst, cborMap, uint64(n)) }

// AppendCBORList appends the head of an array of n items.
func AppendCBORList(dst []byte, n int) []byte { return AppendCBORHead(dst, cborArray, uint64(n)) }

// AppendCBORString appends a text string. What is no UTF-8 becomes U+FFFD.
func AppendCBORString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return append(AppendCBORHead(dst, cborText, uint64(len(s))), s...)
}

// AppendCBORBlob appends a byte string.
func AppendCBORBlob(dst, b []byte) []byte {
	return append(AppendCBORHead(dst, cborBytes, uint64(len(b))), b...)
}

// AppendCBORInt appends an integer.
func AppendCBORInt(dst []byte, n int64) []byte {
	if n < 0 {
		return AppendCBORHead(dst, cborNeg, uint64(-1-n))
	}
	return AppendCBORHead(dst, cborUint, uint64(n))
}

// AppendCBORBool appends a truth.
func AppendCBORBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 0xf5)
	}
	return append(dst, 0xf4)
}

// AppendCBORFloat appends a double.
func AppendCBORFloat(dst []byte, f float64) []byte {
	b := math.Float64bits(f)
	return append(dst, cborSimple<<5|27, byte(b>>56), byte(b>>48), byte(b>>40), byte(b>>32),
		byte(b>>24), byte(b>>16), byte(b>>8), byte(b))
}

// AppendCBORMillis appends an instant as the AWS SDK for Java reads it: tag 1 over an
// integer of milliseconds.
func AppendCBORMillis(dst []byte, ms int64) []byte {
	return AppendCBORInt(append(dst, cborTag<<5|cborTagTime), ms)
}
