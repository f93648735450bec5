package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// blanks are what JSON allows around values (RFC 8259 section 2).
const blanks = " \t\r\n"

func jsonParts(body []byte) ([][]byte, error) {
	if err := validJSON(body); err != nil {
		return nil, bad(err.Error())
	}
	body = bytes.Trim(body, blanks)
	if body[0] != '[' {
		return [][]byte{body}, nil
	}
	var out [][]byte
	for rest := body[1:]; ; {
		var v []byte
		if v, rest = next(rest); v == nil {
			return out, nil
		}
		if len(out) == RecordsMax {
			return nil, tooMany()
		}
		out = append(out, v)
	}
}

func lineParts(body []byte) ([][]byte, error) {
	var out [][]byte
	for n := 1; len(body) > 0; n++ {
		line, rest, _ := bytes.Cut(body, []byte{'\n'})
		body = rest
		if line = bytes.Trim(line, blanks); len(line) == 0 {
			continue
		}
		if err := validJSON(line); err != nil {
			return nil, bad(fmt.Sprintf("line %d: %v", n, err))
		}
		if len(out) == RecordsMax {
			return nil, tooMany()
		}
		out = append(out, line)
	}
	return out, nil
}

// validJSON says where and why b is no JSON.
func validJSON(b []byte) error {
	if json.Valid(b) {
		return nil
	}
	if len(bytes.Trim(b, blanks)) == 0 {
		return errors.New("it is empty, not JSON")
	}
	var raw json.RawMessage
	err := json.Unmarshal(b, &raw)
	var at *json.SyntaxError
	if errors.As(err, &at) {
		return fmt.Errorf("it is not JSON: byte %d: %w", at.Offset, err)
	}
	return fmt.Errorf("it is not JSON: %w", err)
}

// next returns the first value of the rest of an array or object that is known to be
// good, and what follows it; nil at the end.
func next(b []byte) (value, rest []byte) {
	b = bytes.TrimLeft(b, blanks+",:")
	if len(b) == 0 || b[0] == ']' || b[0] == '}' {
		return nil, b
	}
	depth, i := 0, 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = quoted(b, i)
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return b[:i:i], b[i:]
			}
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return b[:i:i], b[i:]
			}
			continue
		}
		if depth == 0 && (b[i] == '"' || b[i] == ']' || b[i] == '}') {
			return b[: i+1 : i+1], b[i+1:]
		}
	}
	return b, nil
}

// quoted returns the place of the quote that ends the string that begins at i.
func quoted(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return min(i, len(b)-1)
}

// parsePointer reads a JSON pointer (RFC 6901).
func parsePointer(text string) ([]string, error) {
	if !strings.HasPrefix(text, "/") || len(text) > pointerMax {
		return nil, bad("the JSON pointer " + strconv.Quote(cut(text)) + " does not begin with /, or is too long")
	}
	steps := strings.Split(text[1:], "/")
	for i, s := range steps {
		steps[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
	}
	return steps, nil
}

// at returns the value that a JSON pointer leads to in a good JSON value, as it is
// written; nil: there is none.
func at(b []byte, steps []string) []byte {
	for _, s := range steps {
		b = bytes.Trim(b, blanks)
		if len(b) == 0 {
			return nil
		}
		switch b[0] {
		case '{':
			b = member(b[1:], s)
		case '[':
			b = element(b[1:], s)
		default:
			return nil
		}
		if b == nil {
			return nil
		}
	}
	return bytes.Trim(b, blanks)
}

func member(rest []byte, name string) []byte {
	for {
		var key, value []byte
		if key, rest = next(rest); key == nil {
			return nil
		}
		if value, rest = next(rest); value == nil {
			return nil
		}
		if text, ok := unquote(key); ok && text == name {
			return value
		}
	}
}

func element(rest []byte, index string) []byte {
	n, err := strconv.ParseUint(index, 10, 32)
	if err != nil || len(index) > 1 && index[0] == '0' {
		return nil
	}
	for ; ; n-- {
		var v []byte
		if v, rest = next(rest); v == nil || n == 0 {
			return v
		}
	}
}

// unquote reads a JSON string.
func unquote(b []byte) (string, bool) {
	if len(b) < 2 || b[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), true
	}
	var s string
	return s, json.Unmarshal(b, &s) == nil
}

// keyAt is the partition key that a pointer finds in a record.
func keyAt(data []byte, steps []string, inCBOR bool) (string, error) {
	if inCBOR {
		return cborKey(data, steps)
	}
	v := at(data, steps)
	switch {
	case v == nil:
		return "", errors.New("there is nothing")
	case v[0] == '{' || v[0] == '[' || string(v) == "null":
		return "", errors.New("it is neither text nor a number")
	}
	key := string(v)
	if v[0] == '"' {
		key, _ = unquote(v)
	}
	return key, checkKey(key)
}
