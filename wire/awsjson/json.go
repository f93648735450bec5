package awsjson

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// nodesMax bounds the values of one body on the exact way: the largest input of any
// model has a few thousand.
const nodesMax = 200_000

// jsonText walks a JSON text (RFC 8259). It takes what encoding/json takes.
type jsonText struct {
	data  []byte
	pos   int
	nodes int
	buf   []byte
}

// parseJSON reads a whole body; ok is false when it is no JSON text.
func parseJSON(data []byte) (n node, ok bool) {
	t := jsonText{data: data}
	if !t.value(&n, 0) {
		return node{}, false
	}
	t.space()
	return n, t.pos == len(data)
}

// validJSON reports whether data is one JSON text, without keeping anything of it, and
// whether it is an object.
func validJSON(data []byte) (valid, object bool) {
	t := jsonText{data: data}
	t.space()
	object = t.pos < len(data) && data[t.pos] == '{'
	if !t.value(nil, 0) {
		return false, object
	}
	t.space()
	return t.pos == len(data), object
}

func (t *jsonText) space() {
	for t.pos < len(t.data) {
		switch t.data[t.pos] {
		case ' ', '\t', '\n', '\r':
			t.pos++
		default:
			return
		}
	}
}

// next returns the next byte that is no space without taking it; 0: none.
func (t *jsonText) next() byte {
	t.space()
	if t.pos >= len(t.data) {
		return 0
	}
	return t.data[t.pos]
}

func (t *jsonText) take(c byte) bool {
	if t.next() != c {
		return false
	}
	t.pos++
	return true
}

// value reads one value into n, or checks it only when n is nil.
func (t *jsonText) value(n *node, depth int) bool {
	if t.nodes++; depth > depthMax || (n != nil && t.nodes > nodesMax) {
		return false
	}
	switch c := t.next(); c {
	case '{':
		return t.object(n, depth)
	case '[':
		return t.list(n, depth)
	case '"':
		raw, plain, ok := t.rawString()
		if !ok {
			return false
		}
		if n != nil {
			n.kind, n.text = nodeString, t.text(raw, plain)
		}
		return true
	case 't', 'f', 'n':
		return t.word(n)
	default:
		return t.number(n)
	}
}

func (t *jsonText) object(n *node, depth int) bool {
	t.pos++
	if n != nil {
		n.kind = nodeMap
	}
	if t.take('}') {
		return true
	}
	for {
		if t.next() != '"' {
			return false
		}
		raw, plain, ok := t.rawString()
		if !ok || !t.take(':') {
			return false
		}
		var child *node
		if n != nil {
			n.keys = append(n.keys, t.text(raw, plain))
			n.list = append(n.list, node{})
			child = &n.list[len(n.list)-1]
		}
		if !t.value(child, depth+1) {
			return false
		}
		if t.take('}') {
			return true
		}
		if !t.take(',') {
			return false
		}
	}
}

func (t *jsonText) list(n *node, depth int) bool {
	t.pos++
	if n != nil {
		n.kind = nodeList
	}
	if t.take(']') {
		return true
	}
	for {
		var child *node
		if n != nil {
			n.list = append(n.list, node{})
			child = &n.list[len(n.list)-1]
		}
		if !t.value(child, depth+1) {
			return false
		}
		if t.take(']') {
			return true
		}
		if !t.take(',') {
			return false
		}
	}
}

func (t *jsonText) word(n *node) bool {
	rest := t.data[t.pos:]
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		t.pos += 4
		if n != nil {
			n.kind, n.truth = nodeBool, true
		}
	case bytes.HasPrefix(rest, []byte("false")):
		t.pos += 5
		if n != nil {
			n.kind = nodeBool
		}
	case bytes.HasPrefix(rest, []byte("null")):
		t.pos += 4
	default:
		return false
	}
	return true
}

// scanNumber returns the end of the number that begins at pos, or -1, and whether it
// has neither fraction nor exponent.
func scanNumber(data []byte, pos int) (end int, whole bool) {
	digits := func() bool {
		from := pos
		for pos < len(data) && data[pos]-'0' <= 9 {
			pos++
		}
		return pos > from
	}
	if pos < len(data) && data[pos] == '-' {
		pos++
	}
	if pos < len(data) && data[pos] == '0' {
		pos++
	} else if !digits() {
		return -1, false
	}
	whole = true
	if pos < len(data) && data[pos] == '.' {
		pos, whole = pos+1, false
		if !digits() {
			return -1, false
		}
	}
	if pos < len(data) && data[pos]|0x20 == 'e' {
		pos, whole = pos+1, false
		if pos < len(data) && (data[pos] == '+' || data[pos] == '-') {
			pos++
		}
		if !digits() {
			return -1, false
		}
	}
	return pos, whole
}

func (t *jsonText) number(n *node) bool {
	end, whole := scanNumber(t.data, t.pos)
	if end < 0 {
		return false
	}
	text := t.data[t.pos:end]
	t.pos = end
	if n == nil {
		return true
	}
	n.kind = nodeNumber
	if whole {
		i, err := strconv.ParseInt(string(text), 10, 64)
		n.num, n.whole = i, err == nil
	}
	n.float, _ = strconv.ParseFloat(string(text), 64) // out of range: an infinity, which clamps
	return true
}

// rawString takes a string and returns what is between its quotes; plain says that it
// holds no escape. Control characters end the walk.
func (t *jsonText) rawString() (raw []byte, plain, ok bool) {
	from := t.pos + 1
	plain = true
	for i := from; i < len(t.data); i++ {
		switch c := t.data[i]; {
		case c == '"':
			t.pos = i + 1
			return t.data[from:i], plain, true
		case c < 0x20:
			return nil, false, false
		case c == '\\':
			plain = false
			if i++; i >= len(t.data) {
				return nil, false, false
			}
			switch t.data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(t.data) || hex4(t.data[i+1:]) < 0 {
					return nil, false, false
				}
				i += 4
			default:
				return nil, false, false
			}
		}
	}
	return nil, false, false
}

// text returns the value of a raw string; what is no UTF-8 becomes U+FFFD.
func (t *jsonText) text(raw []byte, plain bool) string {
	if plain && utf8.Valid(raw) {
		return string(raw)
	}
	t.buf = appendUnescaped(t.buf[:0], raw)
	return string(t.buf)
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendUnescaped appends the value of a well-formed raw string.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			if c < utf8.RuneSelf {
				dst = append(dst, c)
				i++
				continue
			}
			r, size := utf8.DecodeRune(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		c = raw[i+1]
		i += 2
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					if pair = utf16.DecodeRune(r, hex4(raw[i+2:])); pair != utf8.RuneError {
						i += 6
					}
				}
				r = pair
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// floorTo returns a number as an integer of the given range: fractions are floored,
// what is out of range is clamped.
func (n *node) floorTo(low, high int64) int64 {
	if n.whole {
		return min(max(n.num, low), high)
	}
	f := math.Floor(n.float)
	switch {
	case math.IsNaN(f):
		return 0
	case f <= float64(low):
		return low
	case f >= float64(high):
		return high
	}
	return int64(f)
}
