package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs a command line in this process.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = (&terminal{out: &o, err: &e, env: noEnv}).run(t.Context(), args)
	return code, o.String(), e.String()
}

// newKey makes a key in dir and returns its id.
func newKey(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, out, errs := command(t, append([]string{"key", "create", "-o", "json", "--data", dir}, args...)...)
	var k map[string]string
	if err := json.Unmarshal([]byte(out), &k); code != 0 || err != nil {
		t.Fatalf("key create: %d %s %v", code, errs, err)
	}
	return k["access_key_id"]
}

const (
	frontARN  = "arn:aws:kinesisvideo:us-east-1:000000000000:stream/front/1767323045000"
	backARN   = "arn:aws:kinesisvideo:us-east-1:000000000000:stream/back/1767323045000"
	systemARN = "arn:aws:penstock::000000000000:system"
)

func TestAuthTestNamesTheStatement(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.json")
	text := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"kinesisvideo:*","Resource":"*"},
		{"Sid":"NotAtNight","Effect":"Deny","Action":"kinesisvideo:DeleteStream","Resource":"*"},
		{"Sid":"Home","Effect":"Deny","Action":"kinesisvideo:GetMedia","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}]}`
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	viewer := newKey(t, dir, "--role", "viewer", "--stream", "front", "--name", "wall")
	custom := newKey(t, dir, "--role", "custom", "--policy-file", policy, "--name", "night")
	for _, c := range []struct {
		who, action, resource string
		more                  []string
		code                  int
		words                 string
	}{
		{viewer, "kinesisvideo:GetMedia", frontARN, nil, 0, "arn:aws:iam::000000000000:user/wall   allow      statement 1 of "},
		{viewer, "kinesisvideo:GetMedia", backARN, nil, exitDenied, "no statement allows kinesisvideo:GetMedia"},
		{viewer, "penstock:ManageKeys", systemARN, nil, exitDenied, "deny"},
		{viewer, "kinesisvideo:GetMedia", strings.Replace(frontARN, "000000000000", "111111111111", 1), nil, exitDenied, "another account"},
		{custom, "kinesisvideo:DeleteStream", frontARN, nil, exitDenied, "(Sid NotAtNight)"},
		{custom, "kinesisvideo:GetMedia", frontARN, []string{"--source-ip", "192.0.2.7"}, 0, "statement 1 of "},
		{custom, "kinesisvideo:GetMedia", frontARN, []string{"--source-ip", "198.51.100.7"}, exitDenied, "(Sid Home)"},
		{"PSAKNOBODY", "kinesisvideo:GetMedia", frontARN, nil, exitNotFound, ""},
		{viewer, "GetMedia", frontARN, nil, exitUsage, ""},
		{viewer, "kinesisvideo:GetMedia", "front", nil, exitUsage, ""},
	} {
		args := append([]string{"auth", "test", "--data", dir, "--principal", c.who, "--action", c.action, "--resource", c.resource}, c.more...)
		if code, out, errs := command(t, args...); code != c.code || !strings.Contains(out, c.words) {
			t.Errorf("%s %s %v: exit %d, %q %q; want %d and %q", c.action, c.resource, c.more, code, out, errs, c.code, c.words)
		}
	}
}

func TestWhoCanListsThoseWhoMay(t *testing.T) {
	dir := t.TempDir()
	newKey(t, dir, "--admin", "--name", "boss")
	newKey(t, dir, "--role", "viewer", "--stream", "front", "--name", "wall")
	newKey(t, dir, "--role", "producer", "--stream", "back", "--name", "cam")
	for _, c := range []struct {
		action, resource string
		yes, no          []string
	}{
		{"kinesisvideo:GetMedia", frontARN, []string{"boss", "wall"}, []string{"cam"}},
		{"kinesisvideo:PutMedia", backARN, []string{"boss", "cam"}, []string{"wall"}},
		{"penstock:ManageKeys", systemARN, []string{"boss"}, []string{"wall", "cam"}},
	} {
		code, out, errs := command(t, "auth", "who-can", "--data", dir, "--action", c.action, "--resource", c.resource)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		for _, name := range c.yes {
			if !strings.Contains(out, "user/"+name+" ") {
				t.Errorf("%s to %s lacks %s:\n%s", c.action, c.resource, name, out)
			}
		}
		for _, name := range c.no {
			if strings.Contains(out, "user/"+name+" ") {
				t.Errorf("%s to %s has %s:\n%s", c.action, c.resource, name, out)
			}
		}
	}
}

func TestAuditVerifyFindsAChangedLine(t *testing.T) {
	dir := t.TempDir()
	if code, _, _ := command(t, "audit", "verify", "--data", dir); code != exitNotFound {
		t.Errorf("without a log: exit %d, want %d", code, exitNotFound)
	}
	newKey(t, dir, "--role", "viewer", "--name", "honest")
	newKey(t, dir, "--role", "viewer", "--name", "second")
	code, out, errs := command(t, "audit", "verify", "--data", dir)
	if code != 0 || !strings.Contains(out, "\ncli   2       ") || !strings.HasSuffix(out, "good\n") {
		t.Fatalf("exit %d: %s %s", code, out, errs)
	}
	files, err := filepath.Glob(filepath.Join(dir, "audit", "cli", "audit-*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.Replace(text, []byte("honest"), []byte("forged"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = command(t, "audit", "verify", "--data", dir)
	if code != exitPartly || !strings.Contains(out, "BROKEN: audit-00000000000000000001.jsonl line 1") {
		t.Errorf("a changed line: exit %d, %s", code, out)
	}
}
