package media

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// NALs iterates over the NAL units of an access unit with 4-byte lengths, as samples of
// H.264 and H.265 hold them. The units are views of au and never empty; iteration ends
// at a length that lies. Ranging over it allocates nothing.
func NALs(au []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(au) > 4 {
			n := binary.BigEndian.Uint32(au)
			if uint64(n) > uint64(len(au)-4) {
				return
			}
			unit := au[4 : 4+n : 4+n]
			au = au[4+n:]
			if n > 0 && !yield(unit) {
				return
			}
		}
	}
}

// AppendNAL appends one NAL unit with its 4-byte length.
func AppendNAL(dst, nal []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(nal)))
	return append(dst, nal...)
}

// ValidNALs reports whether au is nothing but whole NAL units with 4-byte lengths, at least one.
func ValidNALs(au []byte) bool {
	if len(au) == 0 {
		return false
	}
	for len(au) > 0 {
		if len(au) < 5 {
			return false
		}
		n := binary.BigEndian.Uint32(au)
		if n == 0 || uint64(n) > uint64(len(au)-4) {
			return false
		}
		au = au[4+n:]
	}
	return true
}

// IsAnnexB reports whether b begins with a start code (ITU-T H.264 annex B). Four-byte
// lengths below 512 look like one too: where both are possible, ask ValidNALs first.
func IsAnnexB(b []byte) bool {
	return len(b) >= 4 && b[0] == 0 && b[1] == 0 && (b[2] == 1 || b[2] == 0 && b[3] == 1)
}

// AnnexBNALs iterates over the NAL units of a byte stream with start codes. The units
// are views of b and never empty; trailing zero bytes belong to no unit (§B.1). Bytes
// before the first start code are skipped.
func AnnexBNALs(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		at, ok := startCode(b, 0)
		for ok {
			next, more := startCode(b, at)
			end := len(b)
			if more {
				end = next - 3
			}
			unit := bytes.TrimRight(b[at:end:end], "\x00")
			if len(unit) > 0 && !yield(unit[:len(unit):len(unit)]) {
				return
			}
			at, ok = next, more
		}
	}
}

// startCode finds the first 00 00 01 from at on and returns the offset behind it.
func startCode(b []byte, at int) (int, bool) {
	for at+2 < len(b) {
		i := bytes.IndexByte(b[at+2:], 1)
		if i < 0 {
			return 0, false
		}
		at += i
		if b[at] == 0 && b[at+1] == 0 {
			return at + 3, true
		}
		at++
	}
	return 0, false
}

// AppendFromAnnexB appends the NAL units of a byte stream with start codes, each with
// a 4-byte length.
func AppendFromAnnexB(dst, b []byte) []byte {
	for n := range AnnexBNALs(b) {
		dst = AppendNAL(dst, n)
	}
	return dst
}

// AppendAnnexB appends the NAL units of an access unit with 4-byte lengths, each after a
// 4-byte start code.
func AppendAnnexB(dst, au []byte) []byte {
	for n := range NALs(au) {
		dst = append(dst, 0, 0, 0, 1)
		dst = append(dst, n...)
	}
	return dst
}
