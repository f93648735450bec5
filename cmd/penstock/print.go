package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// print writes rows in the format that was asked for: cells of a table, or the
// documents themselves; name is the first cell alone.
func (t *terminal) print(head []string, docs []map[string]any, row func(map[string]any) []string) error {
	switch t.format {
	case "json":
		if docs == nil {
			docs = []map[string]any{} // a script counts on an array
		}
		return t.encode(docs)
	case "yaml":
		return t.encode(docs)
	case "jsonl", "name":
		for _, d := range docs {
			if err := t.printOne(d, row); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 4, 3, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(head, "\t")))
	for _, d := range docs {
		fmt.Fprintln(w, strings.Join(row(d), "\t"))
	}
	return w.Flush()
}

// printOne writes a document that stands alone: an object in JSON, and for people all of
// its members.
func (t *terminal) printOne(d map[string]any, row func(map[string]any) []string) error {
	switch t.format {
	case "name":
		_, err := fmt.Fprintln(t.out, row(d)[0])
		return err
	case "jsonl":
		return t.line(d)
	}
	return t.encode(d)
}

// line writes a document as one line of JSON.
func (t *terminal) line(d map[string]any) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.out, string(text))
	return err
}

func (t *terminal) encode(v any) error {
	if t.format != "json" {
		e := yaml.NewEncoder(t.out)
		e.SetIndent(2)
		return e.Encode(whole(v))
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.out, string(text))
	return err
}

// whole is v with whole numbers as such: YAML writes large ones of JSON as 1.5e+06.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if n := int64(v); v == float64(n) {
			return n
		}
	case []map[string]any:
		out := make([]any, len(v))
		for i, d := range v {
			out[i] = whole(d)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, d := range v {
			out[i] = whole(d)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, d := range v {
			out[k] = whole(d)
		}
		return out
	}
	return v
}

// result prints what a command made: a row of a table, or the document.
func (t *terminal) result(head []string, d map[string]any, row func(map[string]any) []string) error {
	if t.format == "table" {
		return t.print(head, []map[string]any{d}, row)
	}
	return t.printOne(d, row)
}

// plain shows what would steer a terminal, or write backwards, as an escape: what others
// chose the words of, such as the object of a refused request, is printed for people.
func plain(s string) string {
	steers := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
	if strings.IndexFunc(s, steers) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if steers(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// text is a member of a document as a cell.
func text(d map[string]any, key string) string {
	switch v := d[key].(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return plain(v)
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprintf("%d", int64(v))
		}
		return fmt.Sprintf("%.2f", v)
	default:
		return plain(fmt.Sprint(v))
	}
}

func number(d map[string]any, key string) float64 {
	v, _ := d[key].(float64)
	return v
}

// instant is a time as documents have it, RFC 3339 in UTC; nil when there is none.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}
