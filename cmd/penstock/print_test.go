package main

import (
	"bytes"
	"testing"
)

func TestYAMLWritesWholeNumbersWhole(t *testing.T) {
	var out bytes.Buffer
	term := &terminal{out: &out, err: &out, env: noEnv, format: "yaml"}
	doc := map[string]any{"bytes": 6158967229.0, "deep": []any{map[string]any{"n": 1528977.0}}, "fps": 24.5}
	if err := term.print(nil, []map[string]any{doc}, nil); err != nil {
		t.Fatal(err)
	}
	const want = "- bytes: 6158967229\n  deep:\n    - \"n\": 1528977\n  fps: 24.5\n"
	if got := out.String(); got != want {
		t.Errorf("written\n%s, want\n%s", got, want)
	}
}
