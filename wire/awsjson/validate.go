package awsjson

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// problems gathers what a request breaks, ten at most.
type problems struct{ list []string }

func (p *problems) full() bool { return len(p.list) >= problemsMax }

func (p *problems) add(text string) {
	if !p.full() {
		p.list = append(p.list, text)
	}
}

// validate checks a coerced structure against its shape.
func validate(n *node, s *Shape) *Error {
	var p problems
	p.structure(n, s, "")
	if len(p.list) == 0 {
		return nil
	}
	return Invalid(p.list...)
}

func (p *problems) structure(n *node, s *Shape, path string) {
	for i := range s.Members {
		if p.full() {
			return
		}
		m := &s.Members[i]
		if m.Shape.Events {
			continue
		}
		at := path + lowerFirst(m.Name)
		child := n.member(m.Name)
		if child == nil || child.kind == nodeNull {
			if m.Required {
				p.add(NullViolation(at))
			}
			continue
		}
		p.value(child, m.Shape, at)
	}
}

// value checks one value that is there.
func (p *problems) value(n *node, s *Shape, path string) {
	if !s.bounded() {
		return
	}
	for _, c := range s.broken(n) {
		if s.Kind == Blob || s.Kind == List && s.Elem.Kind == Structure {
			p.add(BareViolation(path, c))
		} else {
			p.add(Violation(printed(n, s), path, c))
		}
	}
	switch s.Kind {
	case Structure:
		p.structure(n, s, path+".")
	case Map:
		p.entries(n, s, path)
	case List:
		p.elements(n, s, path)
	}
}

// bounded reports whether anything of s may be broken; it keeps the walk short.
func (s *Shape) bounded() bool {
	return s.Kind == Structure || s.Kind == List || s.Kind == Map ||
		s.Min != nil || s.Max != nil || s.Pattern != nil || len(s.Enum) > 0
}

// broken words the constraints of s itself that n breaks.
func (s *Shape) broken(n *node) []string {
	var out []string
	if s.Pattern != nil && !s.Pattern.Match(n.text) {
		out = append(out, "Member must satisfy regular expression pattern: "+s.Pattern.Text)
	}
	if len(s.Enum) > 0 && !s.lists(n.text) {
		out = append(out, "Member must satisfy enum value set: ["+strings.Join(s.Enum, ", ")+"]")
	}
	size, what := s.measure(n)
	if s.Max != nil && size > *s.Max {
		out = append(out, "Member must have "+what+" less than or equal to "+strconv.FormatInt(*s.Max, 10))
	}
	if s.Min != nil && size < *s.Min {
		out = append(out, "Member must have "+what+" greater than or equal to "+strconv.FormatInt(*s.Min, 10))
	}
	return out
}

func (s *Shape) lists(value string) bool {
	for _, e := range s.Enum {
		if e == value {
			return true
		}
	}
	return false
}

// measure returns what Min and Max bound.
func (s *Shape) measure(n *node) (size int64, what string) {
	switch s.Kind {
	case String:
		return int64(utf8.RuneCountInString(n.text)), "length"
	case Blob:
		return int64(len(n.bytes)), "length"
	case List:
		return int64(len(n.list)), "length"
	case Map:
		return int64(len(n.keys)), "length"
	case Double:
		return int64(n.float), "value"
	}
	return n.num, "value"
}

// elements checks what is in a list. Broken strings are told of the whole list at once.
func (p *problems) elements(n *node, s *Shape, path string) {
	simple := false
	for i := range n.list {
		if p.full() {
			return
		}
		child := &n.list[i]
		at := path + "." + strconv.Itoa(i+1) + ".member"
		switch {
		case child.kind == nodeNull:
			p.add(NullViolation(at))
		case s.Elem.Kind == Structure || s.Elem.Kind == List || s.Elem.Kind == Map:
			p.value(child, s.Elem, at)
		default:
			simple = simple || len(s.Elem.broken(child)) > 0
		}
	}
	if simple {
		p.add(Violation(printed(n, s), path, "Member must satisfy constraint: ["+strings.Join(s.Elem.constraints(), ", ")+"]"))
	}
}

func (p *problems) entries(n *node, s *Shape, path string) {
	keys, values := false, false
	for i := range n.list {
		child := &n.list[i]
		if child.kind == nodeNull {
			p.add(NullViolation(path + "." + n.keys[i] + ".member"))
			continue
		}
		keys = keys || len(s.Key.broken(&node{kind: nodeString, text: n.keys[i]})) > 0
		values = values || len(s.Elem.broken(child)) > 0
	}
	if keys {
		p.add(Violation(printed(n, s), path, "Map keys must satisfy constraint: ["+strings.Join(s.Key.constraints(), ", ")+"]"))
	}
	if values {
		p.add(Violation(printed(n, s), path, "Map value must satisfy constraint: ["+strings.Join(s.Elem.constraints(), ", ")+"]"))
	}
}

// constraints words all that s demands, as lists and maps are told.
func (s *Shape) constraints() []string {
	var out []string
	what := "length"
	if s.Kind == Integer || s.Kind == Long || s.Kind == Double {
		what = "value"
	}
	if s.Max != nil {
		out = append(out, "Member must have "+what+" less than or equal to "+strconv.FormatInt(*s.Max, 10))
	}
	if s.Min != nil {
		out = append(out, "Member must have "+what+" greater than or equal to "+strconv.FormatInt(*s.Min, 10))
	}
	if s.Pattern != nil {
		out = append(out, "Member must satisfy regular expression pattern: "+s.Pattern.Text)
	}
	if len(s.Enum) > 0 {
		out = append(out, "Member must satisfy enum value set: ["+strings.Join(s.Enum, ", ")+"]")
	}
	return out
}

// printed returns a value as a violation shows it.
func printed(n *node, s *Shape) string {
	switch s.Kind {
	case String:
		return n.text
	case Integer, Long:
		return strconv.FormatInt(n.num, 10)
	case Double:
		return strconv.FormatFloat(n.float, 'g', -1, 64)
	case Boolean:
		return strconv.FormatBool(n.truth)
	case List:
		words := make([]string, len(n.list))
		for i := range n.list {
			words[i] = printed(&n.list[i], s.Elem)
		}
		return "[" + strings.Join(words, ", ") + "]"
	case Map:
		words := make([]string, len(n.list))
		for i, k := range n.keys {
			words[i] = k + "=" + printed(&n.list[i], s.Elem)
		}
		return "{" + strings.Join(words, ", ") + "}"
	}
	return s.Name
}
