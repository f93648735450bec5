package awsjson

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// Reader walks a body once, for a FastInput. It takes only what is plain: the first
// oddity ends the walk, all further answers are zero, and the exact way decides. Blobs
// lie in the body or in one arena, and are valid until the handler returns; strings are
// ordinary ones, made with one allocation for all of them when the walk is done.
type Reader struct {
	format Format
	data   []byte
	pos    int
	odd    bool
	arena  []byte // decoded base64; has room for all that the body can hold
	text   []byte // the content of all strings
	fixups []fixup
	levels []level
}

// fixup is a string that is to be set when the walk is done.
type fixup struct {
	to       *string
	from, at int
}

// level is a list or map that the walk is in.
type level struct {
	left  int  // items left in CBOR; -1: until a break
	first bool // no item was read yet
}

func (x *exchange) reader() *Reader {
	r, _ := x.readers.Get().(*Reader)
	if r == nil {
		r = &Reader{}
	}
	r.begin(x.call.Format, x.body)
	if x.call.Format == JSON {
		r.arena = x.pools.get(arenaSize(x.body))
		x.lent = cap(r.arena)
		x.budget.held.Add(int64(x.lent)) // it takes the body's place
	}
	return r
}

func (x *exchange) returnReader(r *Reader) {
	if r.arena != nil {
		x.pools.put(r.arena)
		x.budget.give(x.lent)
		x.lent = 0
	}
	clear(r.fixups)
	r.data, r.arena = nil, nil
	x.readers.Put(r)
}

// begin makes r ready for a body.
func (r *Reader) begin(f Format, data []byte) {
	*r = Reader{format: f, data: data, text: r.text[:0], fixups: r.fixups[:0], levels: r.levels[:0]}
}

// finish checks that nothing follows, and sets the strings.
func (r *Reader) finish() bool {
	if r.format == JSON {
		r.space()
	}
	if r.odd || r.pos != len(r.data) {
		return false
	}
	all := string(r.text)
	for _, f := range r.fixups {
		*f.to = all[f.from:f.at]
	}
	return true
}

// Odd ends the walk: the exact way has to look at this.
func (r *Reader) Odd() bool {
	r.odd = true
	return false
}

// Fine reports whether nothing odd was met.
func (r *Reader) Fine() bool { return !r.odd }

func (r *Reader) space() {
	for r.pos < len(r.data) {
		switch r.data[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// Object begins a map; then Key is asked until there is none.
func (r *Reader) Object() bool { return r.open('{', cborMap) }

// List begins a list; then More is asked until there is none.
func (r *Reader) List() bool { return r.open('[', cborArray) }

func (r *Reader) open(c, major byte) bool {
	if r.odd || len(r.levels) >= depthMax {
		return r.Odd()
	}
	if r.format == CBOR {
		m, info, arg, ok := r.head()
		if !ok || m != major || info != cborIndefinite && arg > uint64(len(r.data)-r.pos) {
			return r.Odd()
		}
		left := int(arg)
		if info == cborIndefinite {
			left = -1
		}
		r.levels = append(r.levels, level{left: left})
		return true
	}
	r.space()
	if r.pos >= len(r.data) || r.data[r.pos] != c {
		return r.Odd()
	}
	r.pos++
	r.levels = append(r.levels, level{first: true})
	return true
}

func (r *Reader) head() (major, info byte, arg uint64, ok bool) {
	c := cborItems{data: r.data, pos: r.pos}
	major, info, arg, ok = c.head()
	r.pos = c.pos
	return major, info, arg, ok
}

// More reports whether the list has another item.
func (r *Reader) More() bool { return r.more(']') }

func (r *Reader) more(end byte) bool {
	if r.odd {
		return false
	}
	l := &r.levels[len(r.levels)-1]
	if r.format == CBOR {
		switch {
		case l.left > 0:
			l.left--
			return true
		case l.left < 0 && (r.pos >= len(r.data) || r.data[r.pos] != cborBreak):
			return true
		case l.left < 0:
			r.pos++
		}
		r.levels = r.levels[:len(r.levels)-1]
		return false
	}
	r.space()
	if r.pos >= len(r.data) {
		return r.Odd()
	}
	c := r.data[r.pos]
	if c == end {
		r.pos++
		r.levels = r.levels[:len(r.levels)-1]
		return false
	}
	if l.first {
		l.first = false
		return true
	}
	if c != ',' {
		return r.Odd()
	}
	r.pos++
	return true
}

// Key returns the next key of the map, as a slice of the body that is valid until the
// handler returns, and false at the map's end. A key with an escape is odd.
func (r *Reader) Key() ([]byte, bool) {
	if !r.more('}') {
		return nil, false
	}
	k, ok := r.plain()
	if !ok {
		return nil, false
	}
	if r.format == JSON {
		r.space()
		if r.pos >= len(r.data) || r.data[r.pos] != ':' {
			return nil, r.Odd()
		}
		r.pos++
	}
	return k, true
}

// plain reads a string that lies in the body as it is.
func (r *Reader) plain() ([]byte, bool) {
	if r.odd {
		return nil, false
	}
	if r.format == CBOR {
		b, ok := r.piece(cborText)
		if !ok || !utf8.Valid(b) {
			return nil, r.Odd()
		}
		return b, true
	}
	raw, ok := r.quoted()
	if !ok || !textual(raw) {
		return nil, r.Odd()
	}
	return raw, true
}

// textual reports whether raw is UTF-8 without escapes and control characters.
func textual(raw []byte) bool {
	ascii := true
	for _, c := range raw {
		if c < 0x20 || c == '\\' {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.Valid(raw)
}

// quoted returns what is between the next two quotes, which need not be its value.
func (r *Reader) quoted() ([]byte, bool) {
	r.space()
	if r.pos >= len(r.data) || r.data[r.pos] != '"' {
		return nil, false
	}
	from := r.pos + 1
	n := bytes.IndexByte(r.data[from:], '"')
	if n < 0 {
		return nil, false
	}
	r.pos = from + n + 1
	return r.data[from : from+n], true
}

// piece returns the content of a definite byte or text string.
func (r *Reader) piece(major byte) ([]byte, bool) {
	m, info, arg, ok := r.head()
	if !ok || m != major || info == cborIndefinite || arg > uint64(len(r.data)-r.pos) {
		return nil, false
	}
	b := r.data[r.pos : r.pos+int(arg) : r.pos+int(arg)]
	r.pos += int(arg)
	return b, true
}

// String reads a string for to, which is set when the walk is done, and returns its
// content, valid until the handler returns. The empty string is odd: that no model of a
// hot input allows it.
func (r *Reader) String(to *string) []byte {
	b, ok := r.plain()
	if !ok || len(b) == 0 {
		r.Odd()
		return nil
	}
	from := len(r.text)
	r.text = append(r.text, b...)
	r.fixups = append(r.fixups, fixup{to, from, len(r.text)})
	return b
}

// Blob reads a blob. It is not nil unless the walk has ended.
func (r *Reader) Blob() []byte {
	if r.odd {
		return nil
	}
	if r.format == CBOR {
		b, ok := r.piece(cborBytes)
		if !ok {
			r.Odd()
			return nil
		}
		return b
	}
	raw, ok := r.quoted()
	if !ok {
		r.Odd()
		return nil
	}
	from := len(r.arena)
	room := len(raw) / 4 * 3
	if cap(r.arena)-from < room {
		r.Odd()
		return nil
	}
	n, ok := decodeBase64(r.arena[from:from+room], raw)
	if !ok {
		r.Odd()
		return nil
	}
	r.arena = r.arena[:from+n]
	return r.arena[from : from+n : from+n]
}

// Int reads an integer that fits in 32 bits.
func (r *Reader) Int() int32 {
	if r.odd {
		return 0
	}
	if r.format == CBOR {
		m, info, arg, ok := r.head()
		if !ok || m != cborUint || info == cborIndefinite || arg > math.MaxInt32 {
			r.Odd()
			return 0
		}
		return int32(arg)
	}
	r.space()
	end, whole := scanNumber(r.data, r.pos)
	if end < 0 || !whole || end-r.pos > 9 || r.data[r.pos] == '-' {
		r.Odd()
		return 0
	}
	var n int32
	for ; r.pos < end; r.pos++ {
		n = n*10 + int32(r.data[r.pos]-'0')
	}
	return n
}
