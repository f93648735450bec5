package testcam

import "math/bits"

// bitWriter appends the syntax elements of ISO/IEC 14496-10 clause 7.2, most significant bit first.
type bitWriter struct {
	buf  []byte
	cur  uint64
	have uint // bits in cur, always below 8 between calls
}

func (w *bitWriter) u(n uint, v uint32) {
	w.cur = w.cur<<n | uint64(v)&(1<<n-1)
	w.have += n
	for w.have >= 8 {
		w.have -= 8
		w.buf = append(w.buf, byte(w.cur>>w.have))
	}
}

// ue writes an Exp-Golomb code (clause 9.1).
func (w *bitWriter) ue(v uint32) {
	n := uint(bits.Len32(v + 1))
	w.u(n-1, 0)
	w.u(n, v+1)
}

// se writes a signed Exp-Golomb code (clause 9.1.1).
func (w *bitWriter) se(v int32) {
	if v > 0 {
		w.ue(uint32(2*v - 1))
		return
	}
	w.ue(uint32(-2 * v))
}

// align writes zero bits up to the next byte.
func (w *bitWriter) align() {
	if w.have > 0 {
		w.u(8-w.have, 0)
	}
}

// trailing writes rbsp_trailing_bits (clause 7.3.2.11).
func (w *bitWriter) trailing() {
	w.u(1, 1)
	w.align()
}

// appendNAL appends a NAL unit with its 4-byte length, putting in the emulation
// prevention bytes of clause 7.4.1.1.
func appendNAL(dst []byte, header byte, rbsp []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, header)
	zeros := 0
	for _, b := range rbsp {
		if zeros >= 2 && b <= 3 {
			dst = append(dst, 3)
			zeros = 0
		}
		dst = append(dst, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	n := len(dst) - at - 4
	dst[at], dst[at+1], dst[at+2], dst[at+3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return dst
}
