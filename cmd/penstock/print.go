package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// print writes rows in the format that was asked for: cells of a table, or the
// documents themselves; name is the first cell alone.
func (c *client) print(head []string, docs []map[string]any, row func(map[string]any) []string) error {
	switch c.format {
	case "json":
		text, err := json.MarshalIndent(docs, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.t.out, string(text))
		return err
	case "jsonl":
		for _, d := range docs {
			text, err := json.Marshal(d)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(c.t.out, string(text)); err != nil {
				return err
			}
		}
		return nil
	case "yaml":
		return yaml.NewEncoder(c.t.out).Encode(docs)
	case "name":
		for _, d := range docs {
			if _, err := fmt.Fprintln(c.t.out, row(d)[0]); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(c.t.out, 0, 4, 3, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(head, "\t")))
	for _, d := range docs {
		fmt.Fprintln(w, strings.Join(row(d), "\t"))
	}
	return w.Flush()
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
		return v
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprintf("%d", int64(v))
		}
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprint(v)
	}
}

func number(d map[string]any, key string) float64 {
	v, _ := d[key].(float64)
	return v
}
