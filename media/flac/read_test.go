package flac_test

import "testing"

// bitReader reads bits, the most significant first.
type bitReader struct {
	t  *testing.T
	b  []byte
	at int
}

func (r *bitReader) bits(n int) (v uint64) {
	for range n {
		if r.at >= len(r.b)*8 {
			r.t.Fatal("the frame is cut off")
		}
		v = v<<1 | uint64(r.b[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

func (r *bitReader) signed(n int) int64 { return int64(r.bits(n)<<(64-n)) >> (64 - n) }

func (r *bitReader) zeros() (n int) {
	for r.bits(1) == 0 {
		n++
	}
	return n
}

func checksum(b []byte, width int, poly uint32) (sum uint32) {
	for _, v := range b {
		for i := 7; i >= 0; i-- {
			top := sum>>(width-1)&1 ^ uint32(v>>i)&1
			sum = sum << 1 & (1<<width - 1)
			if top == 1 {
				sum ^= poly
			}
		}
	}
	return sum
}

// read decodes a frame of the kinds that this package writes to 16-bit little-endian PCM,
// by RFC 9639 chapter 9, bit by bit.
func read(t *testing.T, b []byte) (pcm []byte, number uint64) {
	r := &bitReader{t: t, b: b}
	if r.bits(16) != 0xfff9 {
		t.Fatalf("starts %x", b[:2])
	}
	code, _, channels, depth := r.bits(4), r.bits(4), int(r.bits(4))+1, r.bits(4)
	if depth != 4<<1 {
		t.Fatalf("bit depth code %d", depth)
	}
	number = r.coded()
	n := int(r.bits(map[uint64]int{6: 8, 7: 16}[code])) + 1
	if sum := r.bits(8); sum != uint64(checksum(b[:r.at/8-1], 8, 0x07)) {
		t.Fatal("CRC-8 is wrong")
	}
	all := make([][]int64, channels)
	for ch := range all {
		all[ch] = r.subframe(n)
	}
	if r.at%8 != 0 && r.bits(8-r.at%8) != 0 {
		t.Fatal("padding is not zero")
	}
	if sum := r.bits(16); sum != uint64(checksum(b[:len(b)-2], 16, 0x8005)) || r.at != len(b)*8 {
		t.Fatal("CRC-16 is wrong, or not at the end")
	}
	for i := range n {
		for ch := range all {
			pcm = append(pcm, byte(all[ch][i]), byte(all[ch][i]>>8))
		}
	}
	return pcm, number
}

// coded reads a number in the manner of UTF-8.
func (r *bitReader) coded() uint64 {
	ones := 0
	for r.bits(1) == 1 {
		ones++
	}
	v := r.bits(max(0, 7-ones))
	for range ones - 1 {
		if r.bits(2) != 2 {
			r.t.Fatal("no continuation byte")
		}
		v = v<<6 | r.bits(6)
	}
	return v
}

func (r *bitReader) subframe(n int) []int64 {
	if r.bits(1) != 0 {
		r.t.Fatal("reserved bit")
	}
	kind, wasted := int(r.bits(6)), 0
	if r.bits(1) == 1 {
		wasted = r.zeros() + 1
	}
	x := make([]int64, n)
	warm, fixed := n, false
	switch {
	case kind == 0:
		warm = 1
	case kind == 1:
	case kind >= 8 && kind <= 12:
		warm, fixed = kind-8, true
	default:
		r.t.Fatalf("subframe of kind %d", kind)
	}
	for i := range warm {
		x[i] = r.signed(16 - wasted)
	}
	for i := warm; i < n && kind == 0; i++ {
		x[i] = x[0]
	}
	if fixed {
		if r.bits(6) != 0 {
			r.t.Fatal("more than one partition")
		}
		k := int(r.bits(4))
		for i := warm; i < n; i++ {
			u := int64(r.zeros())<<k | int64(r.bits(k))
			x[i] = u>>1 ^ -(u & 1)
			for j, c := range [][]int64{{}, {1}, {2, -1}, {3, -3, 1}, {4, -6, 4, -1}}[warm] {
				x[i] += c * x[i-1-j]
			}
		}
	}
	for i := range x {
		x[i] <<= wasted
	}
	return x
}
