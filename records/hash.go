package records

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"math/big"
	"math/bits"
	"unsafe"

	"penstock/internal/fault"
)

// HashKey is a place in the hash space of 128 bits, 0 to 2^128-1. It is comparable; the
// zero value is 0.
type HashKey struct{ Hi, Lo uint64 }

// MaxHashKey is the last place of the hash space.
var MaxHashKey = HashKey{^uint64(0), ^uint64(0)}

// HashOf returns where the records of a partition key go: the MD5 of its bytes as a
// big-endian number.
func HashOf(partitionKey string) HashKey {
	sum := md5.Sum(unsafe.Slice(unsafe.StringData(partitionKey), len(partitionKey)))
	return HashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// ParseHashKey reads a decimal number. fault.Invalid: it is none, or not below 2^128.
func ParseHashKey(decimal string) (HashKey, error) {
	var k HashKey
	if decimal == "" || len(decimal) > 39 {
		return k, badHashKey(decimal)
	}
	for i := range len(decimal) {
		d := uint64(decimal[i]) - '0'
		if d > 9 {
			return k, badHashKey(decimal)
		}
		hh, hl := bits.Mul64(k.Hi, 10)
		lh, ll := bits.Mul64(k.Lo, 10)
		lo, c := bits.Add64(ll, d, 0)
		hi, c := bits.Add64(hl, lh, c)
		if hh != 0 || c != 0 {
			return HashKey{}, badHashKey(decimal)
		}
		k = HashKey{hi, lo}
	}
	return k, nil
}

func badHashKey(s string) error {
	return fault.New(fault.Invalid, "read hash key", clip(s), "it is not a decimal number below 2^128")
}

// clip shortens what came from outside, for an error's words.
func clip(s string) string {
	if len(s) > 140 {
		return s[:140] + "..."
	}
	return s
}

// Append appends k as a decimal number to dst.
func (k HashKey) Append(dst []byte) []byte { return appendDecimal(dst, 0, k.Hi, k.Lo) }

// String returns k as a decimal number.
func (k HashKey) String() string { return string(k.Append(nil)) }

// Compare returns -1, 0 or 1 as k lies before, at or behind o.
func (k HashKey) Compare(o HashKey) int {
	if c := cmp.Compare(k.Hi, o.Hi); c != 0 {
		return c
	}
	return cmp.Compare(k.Lo, o.Lo)
}

// Next returns the place behind k; that behind MaxHashKey is 0.
func (k HashKey) Next() HashKey {
	lo, c := bits.Add64(k.Lo, 1, 0)
	return HashKey{k.Hi + c, lo}
}

// Prev returns the place before k; that before 0 is MaxHashKey.
func (k HashKey) Prev() HashKey {
	lo, b := bits.Sub64(k.Lo, 1, 0)
	return HashKey{k.Hi - b, lo}
}

// distance returns how many places lie between k and o.
func (k HashKey) distance(o HashKey) HashKey {
	if k.Compare(o) < 0 {
		k, o = o, k
	}
	lo, b := bits.Sub64(k.Lo, o.Lo, 0)
	return HashKey{k.Hi - o.Hi - b, lo}
}

// Middle returns the place half way from a to b, rounded down; a is not behind b.
func Middle(a, b HashKey) HashKey {
	lo, br := bits.Sub64(b.Lo, a.Lo, 0)
	hi, _ := bits.Sub64(b.Hi, a.Hi, br)
	lo, hi = lo>>1|hi<<63, hi>>1
	lo, c := bits.Add64(a.Lo, lo, 0)
	return HashKey{a.Hi + hi + c, lo}
}

// uniform returns where shard i of n begins when all are equally wide:
// i times floor(2^128/n), the last taking what is left over.
func uniform(i, n int) HashKey {
	w := new(big.Int).Lsh(big.NewInt(1), 128)
	w.Div(w, big.NewInt(int64(n)))
	w.Mul(w, big.NewInt(int64(i)))
	var b [16]byte
	w.FillBytes(b[:])
	return HashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// appendDecimal appends the number of three 64-bit digits in decimal, without leading
// zeros and without allocating beyond dst.
func appendDecimal(dst []byte, a, b, c uint64) []byte {
	const unit = 1e19 // the largest power of ten in 64 bits
	var part [4]uint64
	n := 0
	for a|b|c != 0 {
		var r uint64
		a, r = a/unit, a%unit
		b, r = bits.Div64(r, b, unit)
		c, r = bits.Div64(r, c, unit)
		part[n] = r
		n++
	}
	if n == 0 {
		return append(dst, '0')
	}
	var buf [80]byte
	at := len(buf)
	for i := range n {
		v := part[i]
		for d := 0; d < 19 && (v != 0 || i < n-1); d++ {
			at--
			buf[at] = byte('0' + v%10)
			v /= 10
		}
	}
	return append(dst, buf[at:]...)
}
