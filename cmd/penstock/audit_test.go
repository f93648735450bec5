package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuditVerifyFindsWhatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"first", "second", "third"} {
		newKey(t, dir, "--role", "viewer", "--name", name)
	}
	files, err := filepath.Glob(filepath.Join(dir, "audit", "cli", "audit-*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	both := func(code int, words string) {
		t.Helper()
		for _, args := range [][]string{{"audit", "verify", "--data", dir}, {"verify", dir}} {
			if got, out, errs := command(t, args...); got != code || !strings.Contains(out, words) {
				t.Errorf("%v: exit %d, %s %s; want %d and %q", args, got, out, errs, code, words)
			}
		}
	}
	both(0, "")
	lines := bytes.SplitAfter(good, []byte("\n"))
	if err := os.WriteFile(files[0], bytes.Join(lines[:2], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	both(exitPartly, "lines 3 to 3 are missing")
	newKey(t, dir, "--role", "viewer", "--name", "fourth")
	both(exitPartly, "lines 3 to 3 are missing")

	elsewhere := t.TempDir() // without the metadata store nothing is known of the end
	if err := os.MkdirAll(filepath.Join(elsewhere, "audit", "server"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere, "audit", "server", filepath.Base(files[0])), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command(t, "audit", "verify", "--data", elsewhere); code != 0 || !strings.Contains(out, "good, but for its end") {
		t.Errorf("without meta.db: exit %d, %s %s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "meta.db")); err == nil {
		t.Error("audit verify made a meta.db")
	}
}

func TestAuditListReadsPages(t *testing.T) {
	var asked []string
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		page := map[string]any{"entries": []map[string]any{{"time": "2026-01-01T00:00:00Z", "action": "penstock:SignIn", "principal": "admin", "decision": "deny", "object": "\x1b[31mred"}}, "next": "server.1.5"}
		if len(asked) == 2 {
			page = map[string]any{"entries": []any{}, "next": "server.1.3"} // one call looks at a part only
		}
		if len(asked) == 4 {
			delete(page, "next")
		}
		if err := json.NewEncoder(w).Encode(page); err != nil {
			t.Error(err)
		}
	}))
	defer h.Close()
	code, out, errs := command(t, "audit", "ls", "--server", h.URL, "--token", "t", "--start", "-1d", "--decision", "deny")
	if code != 0 || strings.Count(out, "penstock:SignIn") != 3 || len(asked) != 4 || strings.Contains(out, "\x1b") {
		t.Errorf("exit %d, asked %q: %q %s", code, asked, out, errs)
	}
	if asked[0] != "/v1/audit?decision=deny&limit=100&start=-1d" || !strings.Contains(asked[1], "limit=99&next=server.1.5") {
		t.Errorf("asked %q", asked)
	}
	asked = nil
	if code, out, _ := command(t, "audit", "ls", "--server", h.URL, "--token", "t", "--limit", "1", "-o", "jsonl"); code != 0 || strings.Count(out, "\n") != 1 || len(asked) != 1 {
		t.Errorf("a limit of 1: exit %d, asked %q, %q", code, asked, out)
	}
	if code, _, _ := command(t, "audit", "ls", "--limit", "0"); code != exitUsage {
		t.Errorf("a limit of 0: exit %d", code)
	}
}

func TestWordsOfOthersDoNotSteerTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"a plain näme":        "a plain näme",
		"\x1b]0;title\x07x":   `\x1b]0;title\ax`,
		"\u009b31m":           `\u009b31m`,
		"one\r\nother\x7f":    `one\r\nother\x7f`,
		"\u202egpj.exe\u2066": `\u202egpj.exe\u2066`,
		"":                    "",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
