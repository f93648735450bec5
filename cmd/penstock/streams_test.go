package main

import (
	"net/http"
	"testing"
)

func TestWindowSaysWhatAFileHolds(t *testing.T) {
	const start, end = "2026-01-02T03:04:05.25Z", "2026-01-02T03:05:05.15Z"
	for name, c := range map[string]struct{ time, start, end, held, want string }{
		"a picture":   {time: start, want: ", of 2026-01-02T03:04:05Z"},
		"a whole one": {start: start, end: end, held: start + "/" + end, want: ", 2026-01-02T03:04:05Z to 2026-01-02T03:05:05Z (59.9s)"},
		"with gaps":   {start: start, end: end, held: "a/b,c/d", want: ", 2026-01-02T03:04:05Z to 2026-01-02T03:05:05Z (59.9s), with gaps: it holds a/b,c/d"},
		"nothing":     {want: ""},
	} {
		h := http.Header{}
		for k, v := range map[string]string{"Time": c.time, "Start": c.start, "End": c.end, "Coverage": c.held} {
			if v != "" {
				h.Set("X-Penstock-"+k, v)
			}
		}
		if got := window(h); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
