package tail

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"penstock/internal/fault"
)

// Limits of a filter.
const (
	termsMax = 16
	termMax  = 1 << 10
)

// Filter is what an event must be to be shown: all of its terms. Nil shows everything.
// It is immutable.
type Filter []term

// term is one of three: a key, a JSON member's value, or a text somewhere in the data.
type term struct {
	key     string // with * for any characters
	pointer []string
	value   string
	text    []byte
}

// ParseFilter reads terms: "key:sensor-*" is the partition key, with * for any
// characters; "/room/name=kitchen" the value at a JSON pointer (RFC 6901) into data that
// is JSON; anything else is text that must be in the data or the key. fault.Invalid: too
// many, or too long.
func ParseFilter(terms []string) (Filter, error) {
	var f Filter
	for _, s := range terms {
		if s == "" {
			continue
		}
		if len(s) > termMax || len(f) == termsMax {
			return nil, fault.New(fault.Invalid, "read filter", "", "more than 16 terms, or one of more than 1 KiB")
		}
		path, value, valued := strings.Cut(s, "=")
		switch key, keyed := strings.CutPrefix(s, "key:"); {
		case keyed:
			f = append(f, term{key: key})
		case valued && strings.HasPrefix(path, "/"):
			steps := strings.Split(path[1:], "/")
			for i, step := range steps {
				steps[i] = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
			}
			f = append(f, term{pointer: steps, value: value})
		default:
			f = append(f, term{text: []byte(s)})
		}
	}
	return f, nil
}

// Match reports whether e passes all terms.
func (f Filter) Match(e Event) bool {
	for i := range f {
		if !f[i].match(e) {
			return false
		}
	}
	return true
}

func (t *term) match(e Event) bool {
	switch {
	case t.pointer != nil:
		v, ok := lookUp(e.Data, t.pointer)
		return ok && v == t.value
	case t.text != nil:
		return bytes.Contains(e.Data, t.text) || strings.Contains(e.Key, string(t.text))
	}
	return glob(t.key, e.Key)
}

// glob matches * with any characters, and all else with itself.
func glob(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, p := range parts[:len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, last)
}

// lookUp returns the value that a pointer leads to: text as it is, all else as JSON.
func lookUp(data []byte, steps []string) (string, bool) {
	v := json.RawMessage(bytes.TrimSpace(data))
	for _, s := range steps {
		switch {
		case len(v) > 0 && v[0] == '{':
			var m map[string]json.RawMessage
			if json.Unmarshal(v, &m) != nil {
				return "", false
			}
			v = m[s]
		case len(v) > 0 && v[0] == '[':
			var list []json.RawMessage
			n, err := strconv.ParseUint(s, 10, 31)
			if err != nil || json.Unmarshal(v, &list) != nil || n >= uint64(len(list)) {
				return "", false
			}
			v = list[n]
		default:
			return "", false
		}
	}
	if len(v) == 0 || !json.Valid(v) {
		return "", false
	}
	var text string
	if v[0] == '"' && json.Unmarshal(v, &text) == nil {
		return text, true
	}
	return string(v), true
}
