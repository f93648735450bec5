package awsjson

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// The major types of CBOR (RFC 8949 §3.1).
const (
	cborUint   = 0
	cborNeg    = 1
	cborBytes  = 2
	cborText   = 3
	cborArray  = 4
	cborMap    = 5
	cborTag    = 6
	cborSimple = 7
)

const (
	cborBreak      = 0xff
	cborIndefinite = 31
	cborTagTime    = 1 // epoch; here over milliseconds
)

// cborText reads CBOR (RFC 8949): definite and indefinite lengths, all widths of integers
// and floats, any tag. It must be well-formed, text must be UTF-8, keys must be text.
type cborItems struct {
	data  []byte
	pos   int
	nodes int
}

// parseCBOR reads a whole body; ok is false when it is no single CBOR item.
func parseCBOR(data []byte) (n node, ok bool) {
	c := cborItems{data: data}
	if !c.value(&n, 0) {
		return node{}, false
	}
	return n, c.pos == len(data)
}

// validCBOR reports whether data is one CBOR item, without keeping anything of it, and
// whether it is a map.
func validCBOR(data []byte) (valid, object bool) {
	c := cborItems{data: data}
	object = len(data) > 0 && data[0]>>5 == cborMap
	return c.value(nil, 0) && c.pos == len(data), object
}

// head reads the first byte of an item and its argument.
func (c *cborItems) head() (major, info byte, arg uint64, ok bool) {
	if c.pos >= len(c.data) {
		return 0, 0, 0, false
	}
	b := c.data[c.pos]
	c.pos++
	major, info = b>>5, b&31
	rest := c.data[c.pos:]
	switch {
	case info < 24:
		return major, info, uint64(info), true
	case info == 24 && len(rest) >= 1:
		c.pos++
		return major, info, uint64(rest[0]), true
	case info == 25 && len(rest) >= 2:
		c.pos += 2
		return major, info, uint64(binary.BigEndian.Uint16(rest)), true
	case info == 26 && len(rest) >= 4:
		c.pos += 4
		return major, info, uint64(binary.BigEndian.Uint32(rest)), true
	case info == 27 && len(rest) >= 8:
		c.pos += 8
		return major, info, binary.BigEndian.Uint64(rest), true
	case info == cborIndefinite:
		return major, info, 0, true
	}
	return 0, 0, 0, false
}

// value reads one item into n, or checks it only when n is nil.
func (c *cborItems) value(n *node, depth int) bool {
	if c.nodes++; depth > depthMax || (n != nil && c.nodes > nodesMax) {
		return false
	}
	major, info, arg, ok := c.head()
	if !ok {
		return false
	}
	if n == nil {
		n = &node{kind: nodeBytes} // its content is dropped
		return c.item(n, major, info, arg, depth, false)
	}
	return c.item(n, major, info, arg, depth, true)
}

func (c *cborItems) item(n *node, major, info byte, arg uint64, depth int, keep bool) bool {
	switch major {
	case cborUint, cborNeg:
		if info == cborIndefinite {
			return false
		}
		n.integer(major == cborNeg, arg)
		return true
	case cborBytes, cborText:
		b, ok := c.chunk(major, info, arg, keep)
		if !ok {
			return false
		}
		if n.kind = nodeBytes; major == cborBytes {
			n.bytes = b
			return true
		}
		n.kind = nodeString
		if keep {
			n.text = string(b)
		}
		return true
	case cborArray, cborMap:
		return c.children(n, major, info, arg, depth, keep)
	case cborTag:
		if info == cborIndefinite {
			return false
		}
		child := n
		if !keep {
			child = nil
		}
		if !c.value(child, depth+1) {
			return false
		}
		if keep && arg == cborTagTime && n.kind == nodeNumber {
			n.kind = nodeTime
		}
		return true
	}
	return n.simple(info, arg)
}

func (n *node) integer(negative bool, arg uint64) {
	n.kind, n.whole, n.num, n.float = nodeNumber, arg <= math.MaxInt64, int64(arg), float64(arg)
	if negative {
		n.num, n.float = -1-n.num, -1-n.float
	}
}

// simple reads false, true, null, undefined and floats.
func (n *node) simple(info byte, arg uint64) bool {
	switch info {
	case 20, 21:
		n.kind, n.truth = nodeBool, info == 21
	case 22, 23:
		n.kind = nodeNull
	case 25:
		n.kind, n.float = nodeNumber, half(uint16(arg))
	case 26:
		n.kind, n.float = nodeNumber, float64(math.Float32frombits(uint32(arg)))
	case 27:
		n.kind, n.float = nodeNumber, math.Float64frombits(arg)
	default:
		return false
	}
	return true
}

// half returns the value of an IEEE 754 binary16.
func half(h uint16) float64 {
	exp, mant := int(h>>10&31), float64(h&1023)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		if f = math.Inf(1); mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h>>15 == 1 {
		return -f
	}
	return f
}

// chunk reads the content of a byte or text string. What is in one piece stays where it
// lies; pieces are joined into new memory when keep is set.
func (c *cborItems) chunk(major, info byte, arg uint64, keep bool) ([]byte, bool) {
	if info != cborIndefinite {
		if arg > uint64(len(c.data)-c.pos) {
			return nil, false
		}
		b := c.data[c.pos : c.pos+int(arg) : c.pos+int(arg)]
		c.pos += int(arg)
		return b, major == cborBytes || utf8.Valid(b)
	}
	joined := []byte{}
	for {
		if c.pos < len(c.data) && c.data[c.pos] == cborBreak {
			c.pos++
			return joined, true
		}
		m, i, a, ok := c.head()
		if !ok || m != major || i == cborIndefinite {
			return nil, false
		}
		b, ok := c.chunk(m, i, a, keep)
		if !ok {
			return nil, false
		}
		if keep {
			joined = append(joined, b...)
		}
	}
}

func (c *cborItems) children(n *node, major, info byte, arg uint64, depth int, keep bool) bool {
	if n.kind = nodeList; major == cborMap {
		n.kind = nodeMap
	}
	indefinite := info == cborIndefinite
	if !indefinite && arg > uint64(len(c.data)-c.pos) {
		return false // each child takes a byte at least
	}
	for i := uint64(0); indefinite || i < arg; i++ {
		if indefinite && c.pos < len(c.data) && c.data[c.pos] == cborBreak {
			c.pos++
			return true
		}
		if major == cborMap {
			m, inf, a, ok := c.head()
			if !ok || m != cborText {
				return false
			}
			key, ok := c.chunk(m, inf, a, true)
			if !ok {
				return false
			}
			if keep {
				n.keys = append(n.keys, string(key))
			}
		}
		var child *node
		if keep {
			n.list = append(n.list, node{})
			child = &n.list[len(n.list)-1]
		}
		if !c.value(child, depth+1) {
			return false
		}
	}
	return true
}
