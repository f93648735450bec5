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
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"penstock/internal/repotest"
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
	refuse("stream", "set", "x")
	refuse("stream", "set", "x", "--retention-bytes", "much")
	refuse("event", "add", "x", "--data", "{")
	refuse("event", "add", "x", "--open", "--end", "now")
	refuse("event", "add", "x", "--before", "soon")
	refuse("event", "set", "x", "y")
	refuse("camera", "add", "x", "rtsp://x", "--transport", "pigeon")
	refuse("key", "create", "--ttl", "-1h")
	refuse("key", "create", "--role", "king", "--data", t.TempDir())
}

// printed is a command that prints documents, whose formats are all alike.
type printed struct {
	args []string
	name string // of the first, a pattern
	list bool
}

// without are those that need no server, with those that ask one.
func without(dir, key string) []printed {
	system := []string{"--action", "penstock:ManageKeys", "--resource", systemARN, "--data", dir}
	return []printed{
		{[]string{"version"}, "devel", false},
		{[]string{"key", "create", "--data", dir}, "PSAK[A-Z0-9]+", false},
		{[]string{"key", "ls", "--data", dir}, "PSAK[A-Z0-9]+", true},
		{[]string{"link", "--data", dir}, "http://localhost:8080/#link=.*", false},
		{append([]string{"auth", "who-can"}, system...), "arn:.*", true},
		{append([]string{"auth", "test", "--principal", key}, system...), "arn:.*", true},
		{[]string{"audit", "verify", "--data", dir}, "cli", true},
		{[]string{"context", "ls"}, "home", true},
		{[]string{"config", "print"}, "penstock-data", false},
		{[]string{"verify", dir}, "", true},
		{[]string{"reindex", dir}, "", true},
		{[]string{"bench", "record", "--data", dir, "--duration", "100ms"}, bound, false},
	}
}

func with(t *testing.T) []printed {
	at := t.TempDir()
	return []printed{
		{[]string{"stream", "create", "made-FORMAT", "--retention", "2d"}, "made-name", false},
		{[]string{"camera", "add", "camera-FORMAT", "rtsp://192.0.2.1/"}, "camera-name", false},
		{[]string{"stream", "ls", "--prefix", "made-"}, "made-.*", true},
		{[]string{"stream", "info", demoName}, demoName, false},
		{[]string{"stream", "set", demoName, "--retention", "2d"}, demoName, false},
		{[]string{"stream", "set", demoName, "--retention", "1h", "--dry-run"}, demoName, false},
		{[]string{"event", "add", demoName, "--id", "ev-FORMAT", "--open", "--keep", "30d"}, "ev-name", false},
		{[]string{"event", "end", demoName, "ev-FORMAT"}, "ev-name", false},
		{[]string{"event", "set", demoName, "ev-FORMAT", "--keep", "forever"}, "ev-name", false},
		{[]string{"event", "ls", demoName}, "ev-.*", true},
		{[]string{"camera", "ls"}, "camera-.*", true},
		{[]string{"talk", demoName}, "none", false},
		{[]string{"watch", demoName, "--url"}, "http://127.*token=psm_.*", false},
		{[]string{"clip", demoName, "--file", filepath.Join(at, "x.mp4")}, ".*x.mp4", false},
		{[]string{"snapshot", demoName, "--file", filepath.Join(at, "x.jpg")}, ".*x.jpg", false},
		{[]string{"data", "create", "data-FORMAT", "--shards", "2"}, "data-name", false},
		{[]string{"data", "put", "data-FORMAT", "hello"}, "shardId-.*", true},
		{[]string{"data", "split", "data-FORMAT", "shardId-000000000000"}, "data-name", false},
		{[]string{"data", "merge", "data-FORMAT", "shardId-000000000002", "shardId-000000000003"}, "data-name", false},
		{[]string{"data", "ls"}, ".*", true},
		{[]string{"audit", "ls"}, "20.*Z", true},
		{[]string{"data", "info", "data-FORMAT"}, "data-name", false},
		{[]string{"consumer", "ls", "data-FORMAT"}, "", true},
		{[]string{"bench", "put", "--duration", "100ms", "--conns", "1", "--batch", "2"}, bound, false},
	}
}

// TestEveryCommandHasEveryFormat walks the whole tree: a command prints in all formats,
// prints as things happen and has a test of its own, or prints nothing.
func TestEveryCommandHasEveryFormat(t *testing.T) {
	repotest.Need(t, "ffmpeg") // for the snapshot
	dir, conf := t.TempDir(), t.TempDir()
	key := newKey(t, dir, "--admin", "--name", "boss")
	env := map[string]string{}
	home := atHome(t, conf, env)
	if code, _, errs := home("pst_x\n", "context", "add", "home", "--server", "http://127.0.0.1:1"); code != 0 {
		t.Fatal(errs)
	}
	_, run := servedDemo(t, true)
	for late := time.Now().Add(2 * time.Minute); time.Now().Before(late); time.Sleep(50 * time.Millisecond) {
		if code, _, _ := run("", "clip", demoName, "--file", filepath.Join(conf, "first.mp4")); code == 0 {
			break // there is media, and thus a picture too
		}
	}
	seen := map[string]bool{}
	check := func(run func(in string, args ...string) (int, string, string), list []printed) {
		for _, c := range list {
			seen[strings.Join(c.args[:min(2, len(c.args))], " ")], seen[c.args[0]] = true, true
			for _, format := range formats() {
				args := strings.Split(strings.ReplaceAll(strings.Join(c.args, "\x00"), "FORMAT", format), "\x00")
				args = append(args, "--quiet", "-o", format)
				code, out, errs := run("", args...)
				if code != 0 || errs != "" {
					t.Errorf("%v: exit %d, %s", args, code, errs)
					continue
				}
				checkFormatted(t, strings.Join(args, " "), out, format, c.name, c.list)
			}
		}
	}
	check(home, without(dir, key))
	check(run, with(t))
	for name := range leaves(t) {
		switch name {
		case "camera find", "camera test", "data tail", "watch", "doctor": // as things happen
		case "bench ingest", "bench watch": // their tests look at all formats
		case "serve", "agent": // a greeting and a log
		case "stream rm", "event rm", "camera set", "camera rm", "data rm", "key rm", "context add", "context use", "context rm", "password set", "config check", "health", "consumer reset":
		default:
			if !seen[name] && !strings.HasPrefix(name, "completion ") {
				t.Errorf("%s: nobody looks at what it prints", name)
			}
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
