package awsjson

import "reflect"

// Decode decodes a body the exact way, over a tree, into in: a pointer to a new struct of
// shape s. Blobs may lie in body. It returns a SerializationException or a
// ValidationException with the words of AWS.
func Decode(in any, s *Shape, f Format, body []byte) *Error {
	parse := parseJSON
	if f == CBOR {
		parse = parseCBOR
	}
	n, ok := parse(body)
	if !ok || n.kind != nodeMap {
		return serialization("")
	}
	if e := coerce(&n, s); e != nil {
		return e
	}
	if e := validate(&n, s); e != nil {
		return e
	}
	fill(reflect.ValueOf(in).Elem(), &n, s)
	return nil
}

// Decoder decodes bodies in one pass, keeping its memory from one to the next. It is for
// one goroutine.
type Decoder struct {
	r     Reader
	arena []byte
}

// NewDecoder returns a Decoder.
func NewDecoder() *Decoder { return &Decoder{} }

// Decode decodes body into in, which is new or was Reset. When it answers false, in is to
// be Reset and the function Decode decides. Blobs lie in body, or in memory that the next
// call uses again.
func (d *Decoder) Decode(in FastInput, f Format, body []byte) bool {
	d.r.begin(f, body)
	if f == JSON {
		if n := arenaSize(body); cap(d.arena) < n {
			d.arena = make([]byte, 0, n)
		}
		d.r.arena = d.arena[:0]
	}
	return in.DecodeFast(&d.r) && d.r.finish()
}

// DecodeFast is Decoder.Decode with memory of its own.
func DecodeFast(in FastInput, f Format, body []byte) bool { return NewDecoder().Decode(in, f, body) }

// arenaSize is room for all base64 that a body can hold.
func arenaSize(body []byte) int { return len(body)/4*3 + 3 }
