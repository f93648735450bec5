package awsjson

import (
	"reflect"
	"slices"
	"strconv"
	"time"
)

// AppendValue appends a Go value of the given shape. Absent members are left out;
// required ones are written even when they are zero.
func AppendValue(dst []byte, f Format, s *Shape, value any) []byte {
	v := reflect.ValueOf(value)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if f == CBOR {
		return appendCBOR(dst, s, v)
	}
	return appendJSON(dst, s, v)
}

// absent reports whether a member is left out.
func absent(v reflect.Value, m *Member) bool {
	if m.Shape.Events {
		return true
	}
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil()
	case reflect.Slice, reflect.Map:
		return v.IsNil() && !m.Required
	}
	if m.Required {
		return false
	}
	switch m.Shape.Kind {
	case String:
		return v.Len() == 0
	case Timestamp:
		return v.Interface().(time.Time).IsZero()
	}
	return false
}

func deref(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Pointer {
		return v.Elem()
	}
	return v
}

func appendJSON(dst []byte, s *Shape, v reflect.Value) []byte {
	switch s.Kind {
	case Structure:
		dst = append(dst, '{')
		first := true
		for i := range s.Members {
			m := &s.Members[i]
			if m.Shape.Events || absent(v.Field(i), m) {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(append(append(dst, '"'), m.Name...), '"', ':')
			dst = appendJSON(dst, m.Shape, deref(v.Field(i)))
		}
		return append(dst, '}')
	case List:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, s.Elem, deref(v.Index(i)))
		}
		return append(dst, ']')
	case Map:
		dst = append(dst, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, k), ':')
			dst = AppendString(dst, v.MapIndex(reflect.ValueOf(k)).String())
		}
		return append(dst, '}')
	case String:
		return AppendString(dst, v.String())
	case Integer, Long:
		return strconv.AppendInt(dst, v.Int(), 10)
	case Double:
		return strconv.AppendFloat(dst, v.Float(), 'g', -1, 64)
	case Boolean:
		return strconv.AppendBool(dst, v.Bool())
	case Blob:
		return AppendBlob(dst, v.Bytes())
	}
	return AppendTime(dst, v.Interface().(time.Time))
}

func appendCBOR(dst []byte, s *Shape, v reflect.Value) []byte {
	switch s.Kind {
	case Structure:
		n := 0
		for i := range s.Members {
			if !s.Members[i].Shape.Events && !absent(v.Field(i), &s.Members[i]) {
				n++
			}
		}
		dst = AppendCBORMap(dst, n)
		for i := range s.Members {
			m := &s.Members[i]
			if m.Shape.Events || absent(v.Field(i), m) {
				continue
			}
			dst = AppendCBORString(dst, m.Name)
			dst = appendCBOR(dst, m.Shape, deref(v.Field(i)))
		}
		return dst
	case List:
		dst = AppendCBORList(dst, v.Len())
		for i := range v.Len() {
			dst = appendCBOR(dst, s.Elem, deref(v.Index(i)))
		}
		return dst
	case Map:
		dst = AppendCBORMap(dst, v.Len())
		for _, k := range sortedKeys(v) {
			dst = AppendCBORString(dst, k)
			dst = AppendCBORString(dst, v.MapIndex(reflect.ValueOf(k)).String())
		}
		return dst
	case String:
		return AppendCBORString(dst, v.String())
	case Integer, Long:
		return AppendCBORInt(dst, v.Int())
	case Double:
		return AppendCBORFloat(dst, v.Float())
	case Boolean:
		return AppendCBORBool(dst, v.Bool())
	case Blob:
		return AppendCBORBlob(dst, v.Bytes())
	}
	return AppendCBORMillis(dst, v.Interface().(time.Time).UnixMilli())
}

func sortedKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

// appendBody appends an exception's body; the coral form puts it into an Output.
func (e *Error) appendBody(dst []byte, f Format, coral bool) []byte {
	if coral {
		dst = append(dst, `{"Output":{"__type":"com.amazon.coral.service#`...)
		return append(append(dst, e.Type...), `"},"Version":"1.0"}`...)
	}
	if f == CBOR {
		n := 1
		if e.Message != "" {
			n = 2
		}
		dst = AppendCBORString(AppendCBORString(AppendCBORMap(dst, n), "__type"), e.Type)
		if e.Message != "" {
			dst = AppendCBORString(AppendCBORString(dst, e.messageKey()), e.Message)
		}
		return dst
	}
	dst = AppendString(append(dst, `{"__type":`...), e.Type)
	if e.Message != "" {
		dst = append(append(append(dst, `,"`...), e.messageKey()...), `":`...)
		dst = AppendString(dst, e.Message)
	}
	return append(dst, '}')
}

func (e *Error) messageKey() string {
	if e.upper {
		return "Message"
	}
	return "message"
}

// appendEvent appends the payload of an exception that ends an event stream: its type is
// in the headers.
func (e *Error) appendEvent(dst []byte, f Format) []byte {
	if f == CBOR {
		return AppendCBORString(AppendCBORString(AppendCBORMap(dst, 1), "message"), e.Message)
	}
	return append(AppendString(append(dst, `{"message":`...), e.Message), '}')
}
