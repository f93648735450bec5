package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// leaves are the commands that do something, by what is typed.
func leaves(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	all := map[string]*cobra.Command{}
	each(rootCommand(&terminal{env: noEnv}), func(c *cobra.Command) {
		if !c.HasSubCommands() {
			all[strings.TrimPrefix(c.CommandPath(), "penstock ")] = c
		}
	})
	return all
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for name, c := range leaves(t) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its one line is %q", name, c.Short)
		}
		if !strings.Contains(c.Example, "penstock "+name) {
			t.Errorf("%s: no example shows it: %q", name, c.Example)
		}
	}
}

func TestEveryCommandRefusesWhatItDoesNotKnow(t *testing.T) {
	lines := regexp.MustCompile(`^penstock: [^\n]+\ntry: [^\n]+\n$`)
	refuse := func(words ...string) {
		t.Helper()
		code, out, errs := command(t, words...)
		if code != exitUsage || out != "" || !lines.MatchString(errs) {
			t.Errorf("%s: exit %d, %q, %q", strings.Join(words, " "), code, out, errs)
		}
	}
	each(rootCommand(&terminal{env: noEnv}), func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())[1:]
		refuse(append(slices.Clone(path), "--no-such-flag")...)
		if c.HasSubCommands() {
			refuse(append(slices.Clone(path), "no-such-command")...)
			return
		}
		need := regexp.MustCompile(`[A-Z]{2,}`).FindAllString(strings.Split(c.Use, "[")[0], -1)
		if c.Args != nil && !strings.Contains(c.Use, "...") {
			most := make([]string, len(regexp.MustCompile(`[A-Z]{2,}`).FindAllString(c.Use, -1))+1)
			refuse(append(slices.Clone(path), most...)...)
		}
		if len(need) > 0 {
			refuse(path...)
			refuse(append(append(slices.Clone(path), need...), "-o", "xml")...)
		}
	})
	refuse("strem")
	if _, _, errs := command(t, "strem", "ls"); !strings.Contains(errs, "try: penstock stream\n") {
		t.Errorf("a slip of the finger: %s", errs)
	}
	refuse("version", "-o", "xml")
	refuse("clip", "x", "--start", "tomorrow")
	refuse("snapshot", "x", "--at", "-3x")
	refuse("stream", "create", "x", "--retention", "long")
	refuse("camera", "add", "x", "rtsp://x", "--transport", "pigeon")
	refuse("key", "create", "--ttl", "-1h")
}

// TestEveryFormat runs what works without a server in each format.
func TestEveryFormat(t *testing.T) {
	dir := t.TempDir()
	conf := t.TempDir()
	newKey(t, dir, "--admin", "--name", "boss")
	system := []string{"--action", "penstock:ManageKeys", "--resource", systemARN, "--data", dir}
	for _, c := range []struct {
		args []string
		name string // of the first, a pattern
		list bool
	}{
		{[]string{"version"}, "devel", false},
		{[]string{"key", "create", "--data", dir}, "PSAK[A-Z0-9]+", false},
		{[]string{"key", "ls", "--data", dir}, "PSAK[A-Z0-9]+", true},
		{[]string{"link", "--data", dir}, "http://localhost:8080/#link=.*", false},
		{append([]string{"auth", "who-can"}, system...), "arn:.*", true},
		{append([]string{"auth", "test", "--principal", "boss"}, system...), "", true},
		{[]string{"audit", "verify", "--data", dir}, "cli", true},
		{[]string{"context", "ls"}, "home", true},
		{[]string{"config", "print"}, "penstock-data", false},
		{[]string{"verify", dir}, "", true},
		{[]string{"reindex", dir}, "", true},
	} {
		for _, format := range formats() {
			var o, e bytes.Buffer
			run := func(in string, args ...string) int {
				o.Reset()
				e.Reset()
				return (&terminal{out: &o, err: &e, in: strings.NewReader(in), env: noEnv, confDir: func() (string, error) { return conf, nil }}).run(t.Context(), args)
			}
			if code := run("pst_x\n", "context", "add", "home", "--server", "http://127.0.0.1:1"); code != 0 {
				t.Fatal(e.String())
			}
			args := append(slices.Clone(c.args), "--quiet", "-o", format)
			code := run("", args...)
			if c.args[0] == "auth" && c.args[1] == "test" && code == exitNotFound {
				continue // people are found by their id
			}
			if code != 0 || e.Len() > 0 {
				t.Errorf("%v: exit %d, %s", args, code, e.String())
				continue
			}
			checkFormatted(t, strings.Join(args, " "), o.String(), format, c.name, c.list)
		}
	}
}

func checkFormatted(t *testing.T, args, out, format, name string, list bool) {
	t.Helper()
	var v any
	switch format {
	case "json":
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Errorf("%s: %v in %s", args, err, out)
		}
	case "yaml":
		if err := yaml.Unmarshal([]byte(out), &v); err != nil {
			t.Errorf("%s: %v in %s", args, err, out)
		}
	case "jsonl":
		for line := range strings.Lines(out) {
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Errorf("%s: %v in %s", args, err, line)
			}
		}
		return
	case "name":
		first, _, _ := strings.Cut(out, "\n")
		if !regexp.MustCompile("^(" + name + ")$").MatchString(first) {
			t.Errorf("%s: the name is %q, want %s", args, first, name)
		}
		return
	default:
		return
	}
	if _, many := v.([]any); many != list {
		t.Errorf("%s: a list: %v, want %v: %s", args, many, list, out)
	}
}

func TestAnErrorIsOneLineAndOneToTry(t *testing.T) {
	code, out, errs := command(t, "key", "rm", "PSAK1", "PSAK2", "--data", t.TempDir())
	if code != exitNotFound || out != "" || !regexp.MustCompile(`^penstock: [^\n]*PSAK1[^\n]*; [^\n]*PSAK2[^\n]*\ntry: [^\n]+\n$`).MatchString(errs) {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	code, _, errs = command(t, "verify", filepath.Join(t.TempDir(), "none"))
	if code != exitNotFound || !strings.Contains(errs, "\ntry: ") {
		t.Errorf("exit %d %q", code, errs)
	}
	// A request's address holds a token now and then, so no error shows it.
	code, _, errs = command(t, "stream", "info", "x", "--server", "http://127.0.0.1:1", "--token", "pst_secret")
	if code != exitUnreachable || strings.Contains(errs, "pst_secret") || strings.Contains(errs, "/v1/") {
		t.Errorf("exit %d %q", code, errs)
	}
}

func TestTheGuideNamesTheExitCodes(t *testing.T) {
	text, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"0 done", "1 failed", "2 usage", "3 not found", "4 denied", "5 server unreachable", "6 partly done"} {
		if !bytes.Contains(text, []byte(words)) {
			t.Errorf("docs/guide.md does not say %q", words)
		}
	}
}

func TestCompletionIsThereForEveryShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, errs := command(t, "completion", shell); code != 0 || !strings.Contains(out, "penstock") {
			t.Errorf("%s: exit %d, %d bytes, %s", shell, code, len(out), errs)
		}
	}
}
