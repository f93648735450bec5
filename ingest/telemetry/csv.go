package telemetry

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// csvParts makes a JSON object of each row, by the names in the header. A field that
// reads as a JSON number, true or false is that; an empty one is null; all others are
// text.
func csvParts(body []byte) ([][]byte, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, bad("it is empty, not CSV")
	}
	if err != nil {
		return nil, bad(err.Error())
	}
	if len(header) > columnsMax {
		return nil, bad(fmt.Sprintf("%d columns, more than %d", len(header), columnsMax))
	}
	names, seen := make([][]byte, len(header)), map[string]bool{}
	for i, h := range header {
		if seen[h] {
			return nil, bad(fmt.Sprintf("two columns are called %q", cut(h)))
		}
		seen[h] = true
		if names[i], err = json.Marshal(h); err != nil {
			return nil, bad(err.Error())
		}
	}
	var out [][]byte
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, bad(err.Error())
		}
		if len(out) == RecordsMax {
			return nil, tooMany()
		}
		object, err := rowObject(names, row)
		if err != nil {
			return nil, bad(err.Error())
		}
		out = append(out, object)
	}
}

func rowObject(names [][]byte, row []string) ([]byte, error) {
	b := []byte{'{'}
	for i, field := range row {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, names[i]...), ':')
		switch c := field; {
		case c == "":
			b = append(b, "null"...)
		case c == "true" || c == "false" || (c[0] == '-' || c[0] >= '0' && c[0] <= '9') && json.Valid([]byte(c)):
			b = append(b, c...)
		default:
			text, err := json.Marshal(c)
			if err != nil {
				return nil, err
			}
			b = append(b, text...)
		}
	}
	return append(b, '}'), nil
}

// rowParts gives each row as it is, quotes and all, without its line end.
func rowParts(body []byte) ([][]byte, error) {
	r := csv.NewReader(bytes.NewReader(body))
	r.ReuseRecord, r.FieldsPerRecord = true, -1
	var out [][]byte
	for from := int64(0); ; {
		if _, err := r.Read(); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, bad(err.Error())
		}
		if len(out) == RecordsMax {
			return nil, tooMany()
		}
		end := r.InputOffset()
		row := bytes.Trim(body[from:end], "\r\n")
		out = append(out, row[:len(row):len(row)])
		from = end
	}
}

// textParts gives the lines that are not empty.
func textParts(body []byte) ([][]byte, error) {
	var out [][]byte
	for len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte{'\n'})
		body = rest
		if line = bytes.TrimSuffix(line, []byte{'\r'}); len(line) == 0 {
			continue
		}
		if len(out) == RecordsMax {
			return nil, tooMany()
		}
		out = append(out, line[:len(line):len(line)])
	}
	return out, nil
}
