package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/auth"
)

func TestAgentSendsFilesToTheServer(t *testing.T) {
	d, run := served(t)
	if code, _, errs := run("", "data", "create", "logs"); code != 0 {
		t.Fatal(errs)
	}
	issued, err := d.auth.CreateKey(t.Context(), auth.NewKey{Role: auth.RoleProducer})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "app.log")
	if err := os.WriteFile(log, []byte("2026 user=ann one\n  and more\n2026 user=bob two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "penstock.yaml")
	text := "agent:\n  endpoint: http://" + d.listener.Addr().String() + "\n  access_key: " + issued.ID + "\n  state: " + filepath.Join(dir, "state") +
		"\n  flows:\n    - {stream: logs, files: ['" + log + "'], key: pattern, key_pattern: 'user=(\\w+)', start: '^2026', gather: 100ms}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	var errs bytes.Buffer
	go func() {
		term := &terminal{out: &errs, err: &errs, env: func(name string) (string, bool) {
			return issued.Secret.Reveal(), name == "PENSTOCK_AGENT_SECRET_KEY"
		}}
		root := rootCommand(term)
		root.SetArgs([]string{"agent", "--config", file})
		ended <- term.report(root.ExecuteContext(ctx))
	}()
	var out string
	for late := time.Now().Add(2 * time.Minute); strings.Count(out, "\n") < 2 && time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		_, out, _ = run("", "data", "tail", "logs", "--from", "horizon", "--no-follow", "-o", "jsonl")
	}
	if !strings.Contains(out, `"key":"ann","size":28,"text":"2026 user=ann one\n  and more"}`) || !strings.Contains(out, `"key":"bob","size":17,"text":"2026 user=bob two"}`) {
		t.Errorf("there is\n%s", out)
	}
	cancel()
	if code := <-ended; code != 0 || !strings.Contains(errs.String(), "stored=2") {
		t.Errorf("exit %d\n%s", code, errs.String())
	}
}

func TestAgentSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for args, words := range map[string]string{
		"agent":                                 "agent.flows: there are none",
		"agent --stream s":                      "flows[0].files",
		"agent --stream s --key other x":        `key "other": not random`,
		"agent --stream s --key pattern x":      "key_pattern: it is empty",
		"agent --stream s --key-pattern a x":    "it needs key: pattern",
		"agent --stream s --start ( x":          "agent.flows[0].start",
		"agent --stream s --from middle x":      `from "middle"`,
		"agent --stream s --endpoint nowhere x": "Endpoint",
		"agent --stream s x":                    "no access key is set",
	} {
		env := func(name string) (string, bool) {
			v := map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "PENSTOCK_AGENT_STATE": dir}[name]
			return v, v != "" && words != "no access key is set"
		}
		var errs bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if code := (&terminal{out: &errs, err: &errs, env: env}).run(ctx, strings.Fields(args)); code != exitUsage || !strings.Contains(errs.String(), words) {
			t.Errorf("%s: exit %d, %s", args, code, errs.String())
		}
	}
}
