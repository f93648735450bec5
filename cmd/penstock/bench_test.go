package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/internal/loadgen"
	"penstock/internal/repotest"
)

// asProgram makes the test binary the program itself: `bench` starts one as a process.
const asProgram = "TEST_AS_PENSTOCK"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// bound is what scripts read of a benchmark.
const bound = "cpu|disk|generator|others|limits|waiting|none"

// document reads what a benchmark printed, and checks that it has members and a verdict.
func document(t *testing.T, out string, members ...string) map[string]any {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, m := range append(members, "bench", "verdict") {
		if _, ok := d[m]; !ok {
			t.Errorf("it has no %s, but %v", m, slices.Sorted(maps.Keys(d)))
		}
	}
	v, _ := d["verdict"].(map[string]any)
	if b, _ := v["bound"].(string); !regexp.MustCompile("^("+bound+")$").MatchString(b) || v["words"] == "" {
		t.Errorf("the verdict is %v", v)
	}
	return d
}

// soon tries again what a machine that stands still can spoil, until it is right or two
// minutes are over.
func soon(t *testing.T, what string, right func() bool) {
	t.Helper()
	for late := time.Now().Add(2 * time.Minute); !right(); {
		if time.Now().After(late) {
			t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// fits checks that people can read it on a terminal of 80 columns.
func fits(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > pageWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if !strings.Contains(out, "verdict: ") {
		t.Errorf("it says nothing: %s", out)
	}
}

// untouched checks that nothing of a benchmark is left in a server.
func untouched(t *testing.T, run func(in string, args ...string) (int, string, string), d *daemon) {
	t.Helper()
	for _, args := range []string{"data ls -o name", "stream ls -o name"} {
		if code, out, errs := run("", strings.Fields(args)...); code != 0 || strings.Contains(out, "bench-") {
			t.Errorf("%s: exit %d, %s%s", args, code, out, errs)
		}
	}
	if _, out, _ := command(t, "key", "ls", "-o", "json", "--data", d.dir); strings.Contains(out, "penstock bench") {
		t.Errorf("a key is left: %s", out)
	}
}

func TestBenchPutLoadsAServerAndLeavesNothing(t *testing.T) {
	d, run := served(t)
	soon(t, "records are put", func() bool {
		code, out, errs := run("", "bench", "put", "--duration", "500ms", "--conns", "2", "--batch", "10", "--size", "100", "-o", "json")
		if code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		doc := document(t, out, "records_per_s", "bytes_per_s", "calls_per_s", "wait_ms", "refused", "shards", "usage", "disk_busy")
		if doc["operation"] != "PutRecords" || doc["own"] != false || number(doc, "shards") != 4 {
			t.Errorf("it says %v", doc)
		}
		return number(doc, "records") > 0
	})
	_, out, _ := run("", "bench", "put", "--duration", "200ms", "--conns", "2", "--batch", "1", "--cbor")
	if !strings.Contains(out, "PutRecord, CBOR, 2 connections") {
		t.Errorf("it says %s", out)
	}
	fits(t, out)
	untouched(t, run, d)
	for _, args := range []string{"data create mine --shards 1", "bench put --stream mine --duration 100ms --conns 1 --batch 5 --size 10"} {
		if code, _, errs := run("", strings.Fields(args)...); code != 0 && code != exitPartly {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
	if _, out, _ := run("", "data", "tail", "mine", "--from", "horizon", "--no-follow", "--limit", "1", "-o", "name"); out == "" {
		t.Error("nothing is in the stream that was named")
	}
}

func TestBenchGoesOverTLSWhereTheServerDoes(t *testing.T) {
	d, _, _ := secured(t)
	token := newToken(t, d)
	server := []string{"--server", "https://localhost:" + port(t, d.listener.Addr().String()), "--token", token, "--ca-file", d.dir + "/tls/cert.pem", "--duration", "200ms", "-o", "json"}
	for _, args := range []string{"bench put --conns 1 --batch 2", "bench ingest --cameras 1 --bitrate 64kbit --rtsp localhost:" + port(t, d.rtspsAddr)} {
		code, out, errs := command(t, append(strings.Fields(args), server...)...)
		if code != 0 {
			t.Errorf("%s: exit %d: %s", args, code, errs)
			continue
		}
		document(t, out, "usage")
	}
	// The key does not go to the port of plain RTSP.
	if code, out, errs := command(t, append([]string{"bench", "ingest", "--rtsp", "localhost:" + port(t, d.rtspAddr)}, server...)...); code != exitUnreachable {
		t.Errorf("plain RTSP: exit %d, %s%s", code, out, errs)
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBenchPutSaysWhatLimitsRefuse(t *testing.T) {
	_, run := served(t)
	soon(t, "records are refused", func() bool {
		code, out, errs := run("", "bench", "put", "--duration", "500ms", "--conns", "4", "--shards", "1", "-o", "json")
		refused, _ := document(t, out)["refused"].(map[string]any)
		if refused["ProvisionedThroughputExceededException"] == nil {
			return false
		}
		if code != exitPartly || !strings.Contains(errs, "records were refused") {
			t.Errorf("exit %d, refused %v: %s", code, refused, errs)
		}
		return true
	})
}

func TestBenchStartsAServerOfItsOwnAndEndsIt(t *testing.T) {
	t.Setenv(asProgram, "1")
	for _, args := range [][]string{{"put", "--conns", "1", "--batch", "5"}, {"ingest", "--cameras", "2", "--bitrate", "100kbit"}} {
		dir := t.TempDir()
		code, out, errs := command(t, append(append([]string{"bench"}, args...), "--own", "--data", dir, "--duration", "500ms", "-o", "json")...)
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
		if doc := document(t, out, "usage"); doc["own"] != true {
			t.Errorf("%v: %v", args, doc)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v left %v, %v", args, left, err)
		}
	}
}

func TestBenchIngestPushesCamerasAndLeavesNothing(t *testing.T) {
	d, run := served(t, func(c *config) { c.RTSP, c.RTSPUDP = "127.0.0.1:0", "" })
	for _, transport := range []string{"tcp", "udp"} {
		soon(t, transport, func() bool {
			code, out, errs := run("", "bench", "ingest", "--cameras", "3", "--bitrate", "200kbit", "--duration", "500ms", "--transport", transport, "-o", "json")
			if code != 0 {
				t.Fatalf("%s: exit %d: %s", transport, code, errs)
			}
			doc := document(t, out, "samples_sent", "lost", "fragments", "stored_bytes", "durable_ms", "sync_ms", "disk_busy", "camera", "usage")
			if number(doc, "accepted") != 3 || doc["transport"] != transport {
				t.Errorf("%s: %v", transport, doc)
			}
			return number(doc, "bytes_sent") > 0
		})
	}
	for _, format := range formats() {
		_, out, errs := run("", "bench", "ingest", "--cameras", "1", "--bitrate", "64kbit", "--duration", "100ms", "-q", "-o", format)
		checkFormatted(t, "bench ingest "+errs, out, format, bound, false)
		if format == "table" {
			fits(t, out)
		}
	}
	untouched(t, run, d)
}

func TestBenchRecordMeasuresADisk(t *testing.T) {
	dir := t.TempDir()
	code, out, errs := command(t, "bench", "record", "--data", dir, "--duration", "500ms", "-o", "json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if doc := document(t, out, "cameras", "records_per_s", "records_alone_per_s", "camera_bits_per_s"); len(members(doc, "steps")) != 4 {
		t.Errorf("it says %v", doc)
	}
	code, out, errs = command(t, "bench", "record", "--data", dir, "--duration", "500ms")
	if code != 0 || !regexp.MustCompile(`(?m)^WHAT +MB/S +FLOOR +PER SECOND +P50 +P99$`).MatchString(out) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	fits(t, out)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestBenchWatchLetsViewersCome(t *testing.T) {
	_, run := servedDemo(t, true, func(c *config) { c.RTSP = "127.0.0.1:0" })
	for _, over := range []string{"hls", "ws", "rtsp"} {
		soon(t, over, func() bool {
			code, out, errs := run("", "bench", "watch", demoName, "--viewers", "3", "--duration", "1s", "--over", over, "-o", "json")
			if code != 0 {
				if !strings.Contains(errs, "it is not live") && !strings.Contains(errs, "picture") && !strings.Contains(errs, "live.m3u8") {
					t.Fatalf("%s: exit %d: %s", over, code, errs)
				}
				return false
			}
			doc := document(t, out, "first_picture_ms", "behind_ms", "stalls", "viewer_bytes_per_s", "usage")
			if doc["over"] != over || number(doc, "saw_a_picture") < 1 || number(doc, "viewer_bytes_per_s") <= 0 {
				t.Errorf("%s: %v", over, doc)
			}
			return number(doc, "pieces") > 0
		})
	}
	for _, format := range formats() {
		soon(t, format, func() bool {
			code, out, errs := run("", "bench", "watch", demoName, "--viewers", "1", "--duration", "1s", "-q", "-o", format)
			if code == 0 {
				checkFormatted(t, "bench watch "+errs, out, format, bound, false)
			}
			if code == 0 && format == "table" {
				fits(t, out)
			}
			return code == 0
		})
	}
}

func TestBenchRefusesInOneLineWithWhatToTry(t *testing.T) {
	d, run := served(t)
	producer, viewer := asKey(t, d, "--role=producer"), asKey(t, d, "--role=viewer")
	for _, c := range []struct {
		as   func(in string, args ...string) (int, string, string)
		args string
		code int
		errs string
	}{
		{producer, "bench put", exitDenied, "try: set AWS_ACCESS_KEY_ID"},
		{producer, "bench ingest", exitDenied, "operator or admin"},
		{run, "bench ingest", exitFailed, "RTSP"}, // it is switched off in this server
		{viewer, "bench put", exitDenied, "may not make a key"},
		{run, "bench watch no-such", exitNotFound, "no such stream"},
		{run, "bench put --stream no-such --duration 100ms --conns 1", exitNotFound, "try: penstock data ls"},
		{run, "bench put --server http://192.0.2.1:8080", exitUsage, "try: add --yes"},
		{run, "bench ingest --server https://penstock.example", exitUsage, "try: add --yes"},
		{run, "bench watch x --server http://192.0.2.1:8080", exitUsage, "try: add --yes"},
		{run, "bench put --server http://127.0.0.1:1", exitUnreachable, "try: start it"},
		{run, "bench put --own --server http://127.0.0.1:1", exitUsage, "exclude"},
		{run, "bench put --duration 1ms", exitUsage, "not from 100ms"},
		{run, "bench put --conns 0", exitUsage, "--conns 0"},
		{run, "bench put --batch 501", exitUsage, "--batch 501"},
		{run, "bench put --size 2MiB", exitUsage, "--size"},
		{run, "bench put --size 1MiB --batch 100", exitUsage, "9 MiB"},
		{run, "bench put --stream x --shards 2", exitUsage, "exclude"},
		{run, "bench ingest --cameras 0", exitUsage, "--cameras 0"},
		{run, "bench ingest --bitrate fast", exitUsage, "3Mbit"},
		{run, "bench ingest --transport pigeon", exitUsage, "not tcp or udp"},
		{run, "bench watch x --over smoke", exitUsage, "not hls, ws or rtsp"},
		{run, "bench record --data /no/such/folder", exitNotFound, "/no/such/folder"},
		{run, "bench record --duration 2h", exitUsage, "to 1h"},
	} {
		code, out, errs := c.as("", strings.Fields(c.args)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.errs) || strings.Count(errs, "\n") != 2 {
			t.Errorf("%s: exit %d, %q, %q; want %d, %s", c.args, code, out, errs, c.code, c.errs)
		}
	}
	untouched(t, run, d)
}

func TestBenchWithAKeyThatMayNotRemoveMakesNothing(t *testing.T) {
	d, run := served(t, func(c *config) { c.RTSP = "127.0.0.1:0" })
	code, text, errs := command(t, "key", "create", "--role", "producer", "-o", "json", "--data", d.dir)
	var key map[string]string
	if err := json.Unmarshal([]byte(text), &key); code != 0 || err != nil {
		t.Fatal(errs, err)
	}
	env := map[string]string{"PENSTOCK_SERVER": "http://" + d.listener.Addr().String(), "PENSTOCK_TOKEN": key["token"],
		"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
	as := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		return (&terminal{out: &out, err: &errs, env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}).run(t.Context(), args), errs.String()
	}
	if code, errs := as("bench", "put", "--duration", "100ms"); code != exitDenied || !strings.Contains(errs, "--stream") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, errs := as("bench", "ingest", "--duration", "100ms"); code != exitDenied || !strings.Contains(errs, "operator or admin") {
		t.Errorf("exit %d: %s", code, errs)
	}
	untouched(t, run, d)
	if code, _, errs := run("", "data", "create", "mine"); code != 0 {
		t.Fatal(errs)
	}
	if code, errs := as("bench", "put", "--duration", "100ms", "--stream", "mine", "--conns", "1"); code != 0 && code != exitPartly {
		t.Errorf("a key that may put: exit %d: %s", code, errs)
	}
	env["AWS_SECRET_ACCESS_KEY"] = "wrong"
	if code, errs := as("bench", "put", "--duration", "100ms", "--stream", "mine"); code != exitDenied || !strings.Contains(errs, "AWS_SECRET_ACCESS_KEY") {
		t.Errorf("a wrong secret: exit %d: %s", code, errs)
	}
}

func TestAnInterruptedBenchCleansUp(t *testing.T) {
	d, run := served(t, func(c *config) { c.RTSP = "127.0.0.1:0" })
	token := newToken(t, d)
	for _, c := range []struct{ args, list string }{
		{"bench put --duration 1h --conns 2 --batch 2", "data ls -o name"},
		{"bench ingest --duration 1h --cameras 2 --bitrate 64kbit", "stream ls -o name"},
	} {
		ctx, stop := context.WithCancel(t.Context())
		var out, errs bytes.Buffer
		ended := make(chan int, 1)
		go func() {
			ended <- (&terminal{out: &out, err: &errs, env: noEnv}).run(ctx, append(strings.Fields(c.args), "--server", "http://"+d.listener.Addr().String(), "--token", token))
		}()
		there := false
		for late := time.Now().Add(2 * time.Minute); !there && time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
			_, names, _ := run("", strings.Fields(c.list)...)
			there = strings.Contains(names, "bench-")
		}
		stop()
		if code := <-ended; !there || code != exitFailed || out.Len() > 0 || !strings.Contains(errs.String(), "interrupted") {
			t.Errorf("%s: there %v, exit %d, %q %q", c.args, there, code, out.String(), errs.String())
		}
		untouched(t, run, d)
	}
}

// newToken makes a key of an admin.
func newToken(t *testing.T, d *daemon) string {
	t.Helper()
	_, text, errs := command(t, "key", "create", "--admin", "-o", "json", "--data", d.dir)
	var key struct{ Token string }
	if err := json.Unmarshal([]byte(text), &key); err != nil {
		t.Fatal(err, errs)
	}
	return key.Token
}

func TestAStallIsCountedOnce(t *testing.T) {
	began := time.Unix(1000, 0)
	s := seat{began: began, settled: time.Second}
	for _, a := range []struct {
		at  time.Duration
		key bool
	}{{100, false}, {200, true}, {300, false}, {2300, false}, {2400, false}} {
		now := began.Add(a.at * time.Millisecond)
		s.take(loadgen.Arrival{Media: true, Key: a.key, Bytes: 10, Made: now.Add(-30 * time.Millisecond)}, now)
	}
	s.pause(began.Add(5 * time.Second))
	if s.first != 200*time.Millisecond || s.stalls != 2 || s.still != 4600*time.Millisecond || s.bytes != 50 || s.pieces != 4 || len(s.behind) != 2 {
		t.Errorf("%+v", s)
	}
}

func TestBitRatesAsPeopleWriteThem(t *testing.T) {
	for in, want := range map[string]string{"3Mbit": "3Mbit", "3M": "3Mbit", "2.5 Mbit/s": "2.5Mbit", "800kbps": "800kbit", "64000": "64kbit", "4mbit": "4Mbit"} {
		var b bitrate
		if err := b.Set(in); err != nil || b.String() != want {
			t.Errorf("%s is %s, %v; want %s", in, &b, err, want)
		}
	}
	for _, in := range []string{"", "fast", "1bit", "1Gbit", "-3Mbit", "3MB"} {
		var b bitrate
		if err := b.Set(in); err == nil {
			t.Errorf("%q is %s", in, &b)
		}
	}
}

func TestTheGuideShowsEachBenchmark(t *testing.T) {
	text, err := os.ReadFile(repotest.Root(t) + "/docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range leaves(t) {
		if strings.HasPrefix(name, "bench ") && !strings.Contains(string(text), "penstock "+name) {
			t.Errorf("docs/guide.md does not show penstock %s", name)
		}
	}
}
