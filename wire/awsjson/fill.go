package awsjson

import (
	"fmt"
	"reflect"
	"time"
)

// fill writes a coerced and valid value into v, whose fields are in the order of the
// shape's members.
func fill(v reflect.Value, n *node, s *Shape) {
	if n.kind == nodeNull {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch s.Kind {
	case Structure:
		for i := range s.Members {
			m := &s.Members[i]
			if child := n.member(m.Name); child != nil {
				fill(v.Field(i), child, m.Shape)
			}
		}
	case List:
		list := reflect.MakeSlice(v.Type(), len(n.list), len(n.list))
		for i := range n.list {
			fill(list.Index(i), &n.list[i], s.Elem)
		}
		v.Set(list)
	case Map:
		m := make(map[string]string, len(n.keys))
		for i, k := range n.keys {
			m[k] = n.list[i].text
		}
		v.Set(reflect.ValueOf(m))
	case String:
		v.SetString(n.text)
	case Integer, Long:
		v.SetInt(n.num)
	case Double:
		v.SetFloat(n.float)
	case Boolean:
		v.SetBool(n.truth)
	case Blob:
		b := n.bytes
		if b == nil {
			b = []byte{}
		}
		v.SetBytes(b)
	case Timestamp:
		v.Set(reflect.ValueOf(time.UnixMicro(n.num).UTC()))
	}
}

// Match reports how a Go struct differs from the shape that is to describe it; nil: it
// does not. The generator's test asks it.
func Match(t reflect.Type, s *Shape) error {
	return match(t, s, map[reflect.Type]bool{})
}

func match(t reflect.Type, s *Shape, seen map[reflect.Type]bool) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	want := map[Kind]reflect.Kind{
		Structure: reflect.Struct, List: reflect.Slice, Map: reflect.Map, String: reflect.String, Integer: reflect.Int32,
		Long: reflect.Int64, Double: reflect.Float64, Boolean: reflect.Bool, Blob: reflect.Slice, Timestamp: reflect.Struct,
	}[s.Kind]
	if t.Kind() != want {
		return fmt.Errorf("%s is a %v, not a %v", s.Name, t, want)
	}
	switch {
	case s.Kind == List:
		return match(t.Elem(), s.Elem, seen)
	case s.Kind == Timestamp && t != reflect.TypeFor[time.Time]():
		return fmt.Errorf("%s is a %v", s.Name, t)
	case s.Kind != Structure || seen[t]:
		return nil
	}
	seen[t] = true
	fields := 0
	for _, m := range s.Members {
		if m.Shape.Events {
			continue
		}
		if fields >= t.NumField() || t.Field(fields).Name != m.Name {
			return fmt.Errorf("%v has no field %s at place %d", t, m.Name, fields)
		}
		if err := match(t.Field(fields).Type, m.Shape, seen); err != nil {
			return fmt.Errorf("%v.%s: %w", t, m.Name, err)
		}
		fields++
	}
	if fields != t.NumField() {
		return fmt.Errorf("%v has %d fields, the shape %d", t, t.NumField(), fields)
	}
	return nil
}
