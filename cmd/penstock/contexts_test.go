package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"penstock/internal/camsim"
)

// atHome runs commands of a user with settings of their own.
func atHome(t *testing.T, conf string, env map[string]string) func(in string, args ...string) (code int, out, errs string) {
	return func(in string, args ...string) (int, string, string) {
		var o, e bytes.Buffer
		code := (&terminal{out: &o, err: &e, in: strings.NewReader(in), env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
			confDir: func() (string, error) { return conf, nil }}).run(t.Context(), args)
		return code, o.String(), e.String()
	}
}

// echo is a server whose streams are named after the token that asks.
func echo(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		_, _ = w.Write([]byte(`{"streams":[{"name":"` + name + ":" + token + `"}]}`)) // the client is gone: it tells
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAContextIsSavedAndUsed(t *testing.T) {
	conf := t.TempDir()
	env := map[string]string{}
	run := atHome(t, conf, env)
	a, b, c := echo(t, "a"), echo(t, "b"), echo(t, "c")
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("pst_b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in, args string
		code     int
		errs     string
	}{
		{"pst_a\n", "context add home --server " + a + "/", 0, "home is saved, and commands use it"},
		{"", "context add site --server " + b + " --token-file " + tokenFile, 0, "penstock context use site"},
		{"pst_x\n", "context add far --server http://192.0.2.7:8080", 0, "in the clear"},
		{"pst_x\n", "context add far --server https://192.0.2.7:8080", 0, "penstock context use far"},
		{"", "context add far --server https://192.0.2.7:8080", 0, "no token was given"},
		{"", "context rm far", 0, ""},
		{"", "context add bad/name --server " + b, exitUsage, "letters, digits"},
		{"", "context add x --server 10.0.0.1:8080", exitUsage, "try: --server http://HOST:8080"},
		{"", "context add x --server http://u:p@10.0.0.1:8080", exitUsage, "without user and password"},
		{"", "context add x --server " + b + " --ca-file /no/such/file", exitNotFound, "no such file"},
		{"", "context use nowhere", exitNotFound, "try: penstock context ls"},
		{"", "context rm nowhere", exitNotFound, "none of this name"},
	} {
		if code, out, errs := run(c.in, strings.Fields(c.args)...); code != c.code || out != "" || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: exit %d %q %q", c.args, code, out, errs)
		}
	}
	file := filepath.Join(conf, "penstock", "contexts.yaml")
	if st, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	for _, format := range append(formats(), "table") {
		if _, out, errs := run("", "context", "ls", "-o", format); strings.Contains(out+errs, "pst_") || !strings.Contains(out, "site") {
			t.Errorf("%s shows\n%s%s", format, out, errs)
		}
	}
	// Flags win over the environment, that over the context; its token is for its own server.
	for _, c := range []struct {
		env  map[string]string
		args string
		code int
		out  string
	}{
		{nil, "", 0, "a:pst_a"},
		{nil, "--context site", 0, "b:pst_b"},
		{map[string]string{"PENSTOCK_CONTEXT": "site"}, "", 0, "b:pst_b"},
		{map[string]string{"PENSTOCK_CONTEXT": "site"}, "--context home", 0, "a:pst_a"},
		{map[string]string{"PENSTOCK_SERVER": c}, "", 0, "c:"},
		{map[string]string{"PENSTOCK_SERVER": c, "PENSTOCK_TOKEN": "pst_c", "PENSTOCK_CONTEXT": "site"}, "", 0, "c:pst_c"},
		{map[string]string{"PENSTOCK_SERVER": c, "PENSTOCK_TOKEN": "pst_c"}, "--context home", 0, "a:pst_a"},
		{map[string]string{"PENSTOCK_TOKEN": "pst_other"}, "", 0, "a:pst_other"},
		{nil, "--server " + c, 0, "c:"},
		{nil, "--token pst_flag", 0, "a:pst_flag"},
		{nil, "--server " + c + " --context home", exitUsage, ""},
		{nil, "--context nowhere", exitNotFound, ""},
		{nil, "--server localhost:8080", exitUsage, ""},
		{map[string]string{"PENSTOCK_SERVER": "ftp://x"}, "", exitUsage, ""},
	} {
		clear(env)
		for k, v := range c.env {
			env[k] = v
		}
		code, out, errs := run("", append([]string{"stream", "ls", "-o", "name"}, strings.Fields(c.args)...)...)
		if code != c.code || strings.TrimSpace(out) != c.out {
			t.Errorf("%v %s: exit %d %q %q, want %q", c.env, c.args, code, out, errs, c.out)
		}
	}
	clear(env)
	if code, _, _ := run("", "context", "use", "site"); code != 0 {
		t.Error(code)
	}
	if _, out, _ := run("", "__complete", "context", "rm", ""); !strings.Contains(out, "home\t"+a+"\n") {
		t.Errorf("completes\n%s", out)
	}
	if code, _, _ := run("", "context", "rm", "site", "nowhere"); code != exitPartly {
		t.Errorf("exit %d", code)
	}
}

func TestContextsThatOthersCanReadAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // files have no such mode there
	}
	conf := t.TempDir()
	run := atHome(t, conf, nil)
	if code, _, errs := run("pst_a\n", "context", "add", "home", "--server", "http://127.0.0.1:1"); code != 0 {
		t.Fatal(errs)
	}
	if err := os.Chmod(filepath.Join(conf, "penstock", "contexts.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run("", "stream", "ls"); code != exitDenied || !strings.Contains(errs, "try: chmod 600 ") {
		t.Errorf("exit %d %s", code, errs)
	}
	if err := os.WriteFile(filepath.Join(conf, "penstock", "contexts.yaml"), []byte("contexts: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(conf, "penstock", "contexts.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run("", "stream", "ls"); code != exitFailed || !strings.Contains(errs, "line 1") {
		t.Errorf("exit %d %s", code, errs)
	}
}

func TestACameraIsTestedWithoutAServer(t *testing.T) {
	cam, err := camsim.Serve(camsim.ServerConfig{Auth: camsim.Digest, Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	run := atHome(t, t.TempDir(), nil)
	code, out, errs := run("p\n", "camera", "test", cam.URL(0), "--user", "u", "--password-file", "-")
	if code != 0 || !strings.Contains(out, "ok    key frame") || !strings.Contains(errs, "from this machine") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, errs = run("wrong\n", "camera", "test", "--here", cam.URL(0), "--user", "u", "--password-file", "-", "-o", "json")
	if code != exitFailed || !strings.Contains(out, `"ok": false`) || !strings.Contains(out, `"step": "signed in"`) || strings.Contains(out+errs, "wrong\"") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	// Whoever has a token asks the server.
	code, _, errs = run("", "camera", "test", cam.URL(0), "--server", "http://127.0.0.1:1", "--token", "pst_x")
	if code != exitUnreachable {
		t.Errorf("exit %d\n%s", code, errs)
	}
}
