package fragments

import (
	"encoding/binary"
	"math/bits"
)

// riceMost is how many ones a Rice code has before it is given up for a length and that
// many bits.
const riceMost = 24

// bitWriter appends bits to a slice, the highest of a byte first.
type bitWriter struct {
	b    []byte
	word uint64 // the bits that are not yet in b, on the right
	n    int    // how many, fewer than 8
}

// put appends the n lowest bits of v, n <= 56.
func (w *bitWriter) put(v uint64, n int) {
	w.word = w.word<<n | v&(1<<n-1)
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.b = append(w.b, byte(w.word>>(w.n-8)))
	}
}

// rice appends v, which is thought to be about 1<<k away from 0.
func (w *bitWriter) rice(v int64, k int) {
	z := uint64(v<<1) ^ uint64(v>>63)
	if q := z >> k; q < riceMost {
		w.put(1<<(q+1)-2, int(q)+1)
		w.wide(z, k)
		return
	}
	w.put(1<<riceMost-1, riceMost)
	n := bits.Len64(z)
	w.put(uint64(n-1), 6)
	w.wide(z, n)
}

func (w *bitWriter) wide(v uint64, n int) {
	if n > 32 {
		w.put(v>>32, n-32)
		n = 32
	}
	w.put(v, n)
}

// end fills the last byte with zeros and returns all of them.
func (w *bitWriter) end() []byte {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
	return w.b
}

// bitReader reads what a bitWriter wrote. After the end everything reads as zero and fail
// is set.
type bitReader struct {
	b    []byte
	word uint64 // the next bits, on the left
	n    int    // how many of them are real
	fail bool
}

// fill makes at least 57 bits ready, or all there are.
func (r *bitReader) fill() {
	if len(r.b) >= 8 {
		r.word |= binary.BigEndian.Uint64(r.b) >> r.n
		take := (64 - r.n) >> 3
		r.b = r.b[take:]
		r.n += take << 3
		if r.n < 64 { // bits beyond n belong to the byte that is not taken yet
			r.word &^= 1<<(64-r.n) - 1
		}
		return
	}
	for r.n <= 56 && len(r.b) > 0 {
		r.word |= uint64(r.b[0]) << (56 - r.n)
		r.b = r.b[1:]
		r.n += 8
	}
}

// take reads n bits, n <= 56.
func (r *bitReader) take(n int) uint64 {
	if r.n < n {
		if r.fill(); r.n < n {
			r.fail, r.word, r.n, r.b = true, 0, 0, nil
			return 0
		}
	}
	v := r.word >> 1 >> (63 - n)
	r.word <<= n
	r.n -= n
	return v
}

// rice reads what bitWriter.rice wrote with the same k.
func (r *bitReader) rice(k int) int64 {
	if r.n <= 56 {
		r.fill()
	}
	q := bits.LeadingZeros64(^r.word)
	if used := q + 1 + k; q < riceMost && used <= r.n {
		rest := r.word << (q + 1)
		z := uint64(q)<<k | rest>>(64-k)
		r.word, r.n = rest<<k, r.n-used
		return int64(z>>1) ^ -int64(z&1)
	}
	return r.slowRice(q, k)
}

// slowRice reads a number at the end, or one that is far off.
func (r *bitReader) slowRice(q, k int) int64 {
	var z uint64
	if q < riceMost {
		r.take(q + 1)
		z = uint64(q)<<k | r.wide(k)
	} else {
		r.take(riceMost)
		z = r.wide(int(r.take(6)) + 1)
	}
	return int64(z>>1) ^ -int64(z&1)
}

func (r *bitReader) wide(n int) uint64 {
	v := uint64(0)
	if n > 32 {
		v = r.take(n-32) << 32
		n = 32
	}
	return v | r.take(n)
}

// ended reports whether nothing is left but the zeros that fill the last byte.
func (r *bitReader) ended() bool {
	return !r.fail && len(r.b) == 0 && r.n < 8 && r.word == 0
}
