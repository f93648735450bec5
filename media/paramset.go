package media

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// setKey says which parameter set a NAL unit is: a newer one of the same key replaces it.
type setKey struct {
	kind byte
	id   uint32
}

// mergeSets returns known with the parameter sets of au put in. key names a set; it
// reports false for NAL units that are none. When au brings a set of kind root (SPS)
// that is not known, the encoder began anew: of what is known only kinds that au does
// not bring at all are kept.
func mergeSets(known [][]byte, au []byte, key func([]byte) (setKey, bool), root byte) [][]byte {
	var kinds uint64
	fresh := false
	for n := range NALs(au) {
		if k, ok := key(n); ok {
			kinds |= 1 << (k.kind & 63)
			fresh = fresh || k.kind == root && !contains(known, n)
		}
	}
	out := make([][]byte, 0, len(known)+2)
	for _, s := range known {
		if k, ok := key(s); ok && (!fresh || kinds>>(k.kind&63)&1 == 0) {
			out = append(out, s)
		}
	}
	for n := range NALs(au) {
		k, ok := key(n)
		if !ok || len(n) > setMax {
			continue
		}
		at := slices.IndexFunc(out, func(o []byte) bool { have, _ := key(o); return have == k })
		switch {
		case at >= 0:
			out[at] = bytes.Clone(n)
		case len(out) < setsMax:
			out = append(out, bytes.Clone(n))
		}
	}
	return out
}

// setMax bounds one parameter set: real ones are below 200 bytes, and a record's lengths
// have 16 bits.
const setMax = 4 << 10

func contains(sets [][]byte, n []byte) bool {
	return slices.ContainsFunc(sets, func(s []byte) bool { return bytes.Equal(s, n) })
}

// golomb reads one unsigned Exp-Golomb value (ITU-T H.264 §9.1) at the start of b; a
// value that does not fit into four bytes is 0, which no id of a real set needs.
func golomb(b []byte) uint32 {
	var w [4]byte
	copy(w[:], b)
	v := binary.BigEndian.Uint32(w[:])
	zeros := bits.LeadingZeros32(v)
	if zeros > 15 {
		return 0
	}
	return v<<zeros>>(31-zeros) - 1
}

// present joins the sets that are there, in order.
func present(extra [][]byte, sets ...[]byte) [][]byte {
	var out [][]byte
	for _, s := range append(sets, extra...) {
		if len(s) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// appendSets appends NAL units with 2-byte lengths, as configuration records hold them.
func appendSets(b []byte, sets [][]byte) []byte {
	for _, s := range sets {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// cutSets takes count NAL units with 2-byte lengths from the start of b.
func cutSets(b []byte, count int) (sets [][]byte, rest []byte, ok bool) {
	if count > setsMax {
		return nil, b, false
	}
	for range count {
		if len(b) < 2 {
			return nil, b, false
		}
		n := int(binary.BigEndian.Uint16(b))
		if n == 0 || len(b) < 2+n {
			return nil, b, false
		}
		sets = append(sets, b[2:2+n:2+n])
		b = b[2+n:]
	}
	return sets, b, true
}
