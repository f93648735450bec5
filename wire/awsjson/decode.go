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

// DecodeFast decodes a body in one pass into in, which is new or was Reset. When it
// answers false, in is to be Reset and Decode decides. Blobs may lie in body.
func DecodeFast(in FastInput, f Format, body []byte) bool {
	r := &Reader{}
	r.begin(f, body)
	if f == JSON {
		r.arena = make([]byte, 0, arenaSize(body))
	}
	return in.DecodeFast(r) && r.finish()
}

// arenaSize is room for all base64 that a body can hold.
func arenaSize(body []byte) int { return len(body)/4*3 + 3 }
