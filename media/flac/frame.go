package flac

import (
	"iter"
	"math/bits"
)

// The bytes of a frame around its header's sample number and its subframes (§9.1, §9.3).
const (
	frameStart = 4 // sync code, strategy, block size, rate, channels, bits
	frameCRC8  = 1
	frameCRC16 = 2
)

// Kinds of subframes (§9.2.1), in the place they have in a subframe's first byte, with
// the flag of wasted bits.
const (
	constant = 0x00<<1 | 1
	verbatim = 0x01<<1 | 1
	fixed    = 0x08<<1 | 1 // and the predictor's order
)

const (
	fixedOrders = 5  // 0 to 4 (§9.2.5)
	riceMost    = 14 // 15 escapes (§9.2.7.1)
)

// frame appends a frame of the n samples in octets, channels interleaved, or of silence
// where there are none.
func (c *Coder) frame(b []byte, number uint64, n int, octets []byte) []byte {
	start := len(b)
	b = append(b, 0xff, 0xf9, byte(sizeCode(n))<<4|rateCode(c.rate), byte(c.channels-1)<<4|4<<1)
	b = appendNumber(b, number)
	if n > 256 {
		b = append(b, byte((n-1)>>8))
	}
	b = append(b, byte(n-1))
	b = append(b, crc8(b[start:]))
	w := bitWriter{b: b}
	for ch := range c.channels {
		c.pcm = append(c.pcm[:0], make([]int32, n-len(octets)/c.channels)...)
		for i := ch; i < len(octets); i += c.channels {
			c.pcm = append(c.pcm, int32(c.law[octets[i]]))
		}
		c.subframe(&w, c.pcm)
	}
	b = w.end()
	sum := crc16(b[start:])
	return append(b, byte(sum>>8), byte(sum))
}

// plainSize is the length of a plain frame of n samples.
func (c *Coder) plainSize(number uint64, n int) int {
	size := 1
	if n > 256 {
		size = 2
	}
	return frameStart + numberSize(number) + size + frameCRC8 + (c.channels*c.plainBits(n)+7)/8 + frameCRC16
}

// plainBits is the length of a verbatim subframe of n samples.
func (c *Coder) plainBits(n int) int { return 8 + int(c.wasted) + n*c.depth() }

// depth is the bits of a sample without the wasted ones.
func (c *Coder) depth() int { return 16 - int(c.wasted) }

// subframe writes the samples of one channel in the shortest form of those there are.
func (c *Coder) subframe(w *bitWriter, x []int32) {
	kind, order, rice := verbatim, 0, uint(0)
	if !c.Plain {
		if same(x) {
			kind = constant
		} else if p, k, size := predict(x, c.depth()); 8+int(c.wasted)+size < c.plainBits(len(x)) {
			kind, order, rice = fixed, p, k
		}
	}
	w.put(uint64(kind+order<<1), 8)
	w.put(1, c.wasted) // unary
	mask, depth := uint64(1)<<c.depth()-1, uint(c.depth())
	switch kind {
	case constant:
		w.put(uint64(x[0])&mask, depth)
		return
	case verbatim:
		order = len(x)
	}
	for _, v := range x[:order] {
		w.put(uint64(v)&mask, depth)
	}
	if kind == fixed {
		w.put(uint64(rice), 2+4+4) // method 0, one partition, its parameter
		for e := range residual(x, order) {
			w.rice(zigzag(e), rice)
		}
	}
}

func same(x []int32) bool {
	for _, v := range x {
		if v != x[0] {
			return false
		}
	}
	return true
}

// predict chooses the fixed predictor and the Rice parameter for x, and returns how many
// bits they take, warm-up samples of depth bits included.
func predict(x []int32, depth int) (order int, rice uint, size int) {
	var sums [fixedOrders]uint64
	var last [fixedOrders]int32 // the newest difference of each order
	for i, v := range x {
		for p := range min(fixedOrders, i+1) {
			if i >= fixedOrders-1 { // from here on all orders have a residual
				sums[p] += uint64(max(v, -v))
			}
			v, last[p] = v-last[p], v
		}
	}
	for p, sum := range sums {
		if sum < sums[order] && p < len(x) {
			order = p
		}
	}
	size = 1 << 30
	// The best parameter is near the binary logarithm of the mean.
	k := uint(bits.Len64(sums[order] * 2 / uint64(max(1, len(x)-order))))
	for k := min(max(k, 2)-2, riceMost); k <= riceMost; k++ {
		n := depth*order + 10
		for e := range residual(x, order) {
			n += int(zigzag(e)>>k) + 1 + int(k)
		}
		if n >= size {
			break
		}
		size, rice = n, k
	}
	return order, rice, size
}

// residual is what the fixed predictor of an order leaves of x behind its warm-up samples.
func residual(x []int32, order int) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for i := order; i < len(x); i++ {
			var e int32
			switch order {
			case 0:
				e = x[i]
			case 1:
				e = x[i] - x[i-1]
			case 2:
				e = x[i] - 2*x[i-1] + x[i-2]
			case 3:
				e = x[i] - 3*x[i-1] + 3*x[i-2] - x[i-3]
			default:
				e = x[i] - 4*x[i-1] + 6*x[i-2] - 4*x[i-3] + x[i-4]
			}
			if !yield(e) {
				return
			}
		}
	}
}

// zigzag folds negative numbers between the others (§9.2.7.3).
func zigzag(e int32) uint32 { return uint32(e<<1) ^ uint32(e>>31) }

// sizeCode says where the block size stands: in one byte or two (§9.1.1).
func sizeCode(n int) int {
	if n > 256 {
		return 7
	}
	return 6
}

// rateCode is a sampling rate as §9.1.2 has it; 0: STREAMINFO says it.
func rateCode(rate int) byte {
	switch rate {
	case 8000:
		return 4
	case 16000:
		return 5
	case 22050:
		return 6
	case 24000:
		return 7
	case 32000:
		return 8
	case 44100:
		return 9
	case 48000:
		return 10
	case 96000:
		return 11
	}
	return 0
}

// numberSize is how many bytes appendNumber appends.
func numberSize(v uint64) int {
	if v < 0x80 {
		return 1
	}
	return (bits.Len64(v) + 3) / 5
}

// appendNumber appends a number of up to 31 bits as UTF-8 first had it (§9.1.5).
func appendNumber(b []byte, v uint64) []byte {
	n := numberSize(v)
	if n == 1 {
		return append(b, byte(v))
	}
	b = append(b, byte(uint16(0xff00)>>n)|byte(v>>(6*(n-1))))
	for i := n - 2; i >= 0; i-- {
		b = append(b, 0x80|byte(v>>(6*i))&0x3f)
	}
	return b
}

// bitWriter appends bits, the most significant first.
type bitWriter struct {
	b   []byte
	acc uint64 // the last n bits, fewer than 8, are not in b yet
	n   uint
}

// put appends the low n bits of v, at most 56; it has no others.
func (w *bitWriter) put(v uint64, n uint) {
	w.acc = w.acc<<n | v
	for w.n += n; w.n >= 8; {
		w.n -= 8
		w.b = append(w.b, byte(w.acc>>w.n))
	}
}

// rice appends v with a parameter.
func (w *bitWriter) rice(v uint32, k uint) {
	q := v >> k
	for ; q >= 24; q -= 24 {
		w.put(0, 24)
	}
	w.put(1<<k|uint64(v)&(1<<k-1), uint(q)+1+k)
}

// end fills the last byte with zeros and returns all.
func (w *bitWriter) end() []byte {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
	return w.b
}

// crc8 has polynomial x^8+x^2+x+1 (§9.1.8).
func crc8(b []byte) (sum byte) {
	for _, v := range b {
		sum ^= v
		for range 8 {
			if sum&0x80 != 0 {
				sum = sum<<1 ^ 0x07
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}

// crc16 has polynomial x^16+x^15+x^2+1 (§9.3).
func crc16(b []byte) (sum uint16) {
	for _, v := range b {
		sum = sum<<8 ^ crc16Table[byte(sum>>8)^v]
	}
	return sum
}

var crc16Table = func() (t [256]uint16) {
	for i := range t {
		sum := uint16(i) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x8005
			} else {
				sum <<= 1
			}
		}
		t[i] = sum
	}
	return t
}()
