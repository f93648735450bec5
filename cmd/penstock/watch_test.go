package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/internal/repotest"
)

// showing is a server that shows one answer after the other; after the last it calls done.
func showing(t *testing.T, done func(), answers ...string) *httptest.Server {
	t.Helper()
	var mu sync.Mutex // one asks after the other, on connections of their own
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		defer func() { n++ }()
		w.Header().Set("Connection", "close") // on a connection that was good before, a client asks again by itself
		if n >= len(answers) {
			done()
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if answers[n] == "gone" {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte(answers[n])) // the client tells
	}))
	t.Cleanup(s.Close)
	return s
}

func TestWatchPrintsALineForEachChange(t *testing.T) {
	const tracks = `"tracks":[{"codec":"h264","width":1920,"height":1080},{"codec":"aac","sample_rate":48000}]`
	live := func(last, viewers, rate string) string {
		return `{"name":"x","state":"live",` + tracks + `,"fps":25,"bitrate":` + rate + `,"key_interval":2,"viewers":` + viewers + `,"last":"` + last + `"}`
	}
	answers := []string{
		`{"name":"x","state":"connecting","tracks":[]}`,
		live("10:00:00Z", "0", "4000000"), live("10:00:02Z", "0", "4100000"), live("10:00:04Z", "1", "4100000"), "gone",
		live("10:00:06Z", "1", "4100000"), live("10:00:06Z", "1", "4100000"), live("10:00:06Z", "1", "4100000"),
		`{"name":"x","state":"offline","reason":"no route to host","tracks":[]}`,
	}
	for format, want := range map[string]string{
		"table": `^\S+Z  connecting
\S+Z  live, h264 1920x1080 and aac 48 kHz, 25.0 frames/s, 4.00 Mb/s, a key frame every 2.0 s, viewers 0, last fragment 10:00:00Z
\S+Z  live, .*, viewers 1, last fragment 10:00:04Z
\S+Z  unreachable \(reach http://127.0.0.1:\d+: EOF\)
\S+Z  live, .*
\S+Z  live, no new fragment for 12s, .*
\S+Z  offline \(no route to host\)
$`,
		"name":  "^connecting\nlive\nlive\nunreachable\nlive\nlive\noffline\n$",
		"jsonl": `^({.*}\n){7}$`,
		"json":  `^({.*}\n){7}$`,
		"yaml":  `^(?s:---\n[^-].*){7}$`,
	} {
		ctx, stop := context.WithCancel(t.Context())
		s := showing(t, stop, answers...)
		var out bytes.Buffer
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		term := &terminal{out: &out, err: &out, env: noEnv, format: format}
		w := &watcher{c: &client{t: term, server: s.URL}, name: "x", every: time.Millisecond, now: func() time.Time { at = at.Add(7 * time.Second); return at }}
		if err := w.run(ctx); err != nil || !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s: %v\n%s", format, err, out.String())
		}
		stop()
	}
}

func TestWatchEndsWithWhatItCannotFind(t *testing.T) {
	_, run := served(t)
	for _, c := range []struct {
		args string
		code int
	}{
		{"watch no-such", exitNotFound}, {"watch no-such --url", exitNotFound}, {"watch x --url --open", exitUsage},
		{"watch x --server http://127.0.0.1:1", exitUnreachable}, {"watch x --url --ttl soon", exitUsage},
	} {
		if code, out, errs := run("", strings.Fields(c.args)...); code != c.code || out != "" {
			t.Errorf("%s: exit %d\n%s%s", c.args, code, out, errs)
		}
	}
}

func TestWatchDrawsOverWhatItDrew(t *testing.T) {
	var out bytes.Buffer
	w := &watcher{c: &client{t: &terminal{out: &out, env: noEnv}}, now: time.Now}
	long := strings.Repeat("very long ", 30)
	for range 2 {
		if err := w.draw(map[string]any{"name": "x", "state": "offline", "reason": long}, false); err != nil {
			t.Fatal(err)
		}
	}
	once, _, _ := strings.Cut(out.String(), "\x1b")
	if !strings.HasSuffix(out.String(), "\x1b[3F\x1b[J"+once) || strings.Count(once, "\n") != 3 {
		t.Errorf("drew %q", out.String())
	}
	for line := range strings.Lines(once) {
		if len(line) > 81 {
			t.Errorf("wraps: %q", line)
		}
	}
}

func TestWatchPrintsAddressesThatWork(t *testing.T) {
	d, run := servedDemo(t, true, func(c *config) { c.RTSP = "127.0.0.1:0" })
	code, out, errs := run("", "watch", demoName, "--url", "-o", "json", "--ttl", "5m")
	var a struct{ HLS, RTSP, Expires string }
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 {
		t.Fatal(code, err, out, errs)
	}
	res, err := http.Get(a.HLS)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %v", a.HLS, res, err)
	}
	res.Body.Close()
	_, port, _ := strings.Cut(d.rtspAddr, ":")
	if !strings.HasPrefix(a.RTSP, "rtsp://127.0.0.1:"+port+"/"+demoName+"?token=psm_") {
		t.Errorf("rtsp is %s, the server's is %s", a.RTSP, d.rtspAddr)
	}
	// A viewer may watch, and not ask for the server's ports.
	viewer := asKey(t, d, "--role=viewer")
	if code, out, errs := viewer("", "watch", demoName, "--url"); code != 0 || !strings.Contains(out, ":8554/") || !strings.Contains(errs, "it is a guess") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

func TestWatchStartsAPlayerAndTakesTheTokenBack(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // a script is no program there
	}
	_, run := servedDemo(t, true)
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	code, _, errs := run("", "watch", demoName, "--open")
	if code != exitFailed || !strings.Contains(errs, "none of ffplay, mpv, vlc is on PATH") || !strings.Contains(errs, "try: install") {
		t.Errorf("exit %d %s", code, errs)
	}
	for _, name := range []string{"vlc", "mpv", "ffplay"} { // each is looked for before the one before it
		script := "#!/bin/sh\necho \"$@\" > " + bin + "/words\nfor file; do :; done\nfile=${file#--playlist=}\n" +
			"/bin/cat \"$file\" > " + bin + "/asked\n/bin/ls -l \"$file\" > " + bin + "/mode\necho \"$file\" > " + bin + "/name\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		if code, _, errs = run("", "watch", demoName, "--open"); code != 0 {
			t.Fatalf("exit %d %s", code, errs)
		}
		read := func(file string) string {
			text, err := os.ReadFile(filepath.Join(bin, file))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		if words := read("words"); strings.Contains(words, "psm_") || strings.Contains(words, "://") {
			t.Errorf("%s is called with %s", name, words)
		}
		if mode := read("mode"); !strings.HasPrefix(mode, "-rw------- ") {
			t.Errorf("%s: %s", name, mode)
		}
		if _, err := os.Stat(filepath.Dir(strings.TrimSpace(read("name")))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the playlist is still there: %v", name, err)
		}
		lines := strings.Fields(read("asked"))
		address := lines[len(lines)-1]
		if !strings.Contains(address, "/live.m3u8?token=psm_") {
			t.Fatalf("%s is to open %q", name, lines)
		}
		res, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("the address of a player that ended answers %s", res.Status)
		}
	}
}

// TestThePlaylistForFfplayCanBeRead has ffprobe open what ffplay is given.
func TestThePlaylistForFfplayCanBeRead(t *testing.T) {
	repotest.Need(t, "ffprobe")
	_, run := servedDemo(t, true)
	var a struct{ HLS string }
	if code, out, errs := run("", "watch", demoName, "--url", "-o", "json"); code != 0 || json.Unmarshal([]byte(out), &a) != nil {
		t.Fatalf("exit %d %s %s", code, out, errs)
	}
	p := players()[0]
	cmd, err := p.command(t.Context(), "ffprobe", t.TempDir(), a.HLS)
	if err != nil {
		t.Fatal(err)
	}
	words := slices.DeleteFunc(cmd.Args[1:], func(w string) bool { return w == "-nostats" }) // it is no word of ffprobe's
	for late := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command("ffprobe", append([]string{"-show_entries", "stream=codec_name"}, words...)...).CombinedOutput()
		if err == nil && strings.Contains(string(out), "codec_name=h264") {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%v: %s", err, out)
		}
	}
}
