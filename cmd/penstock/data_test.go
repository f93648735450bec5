package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

// served runs a server; it returns what runs client commands against it.
func served(t *testing.T, change ...func(*config)) (d *daemon, run func(in string, args ...string) (code int, out, errs string)) {
	t.Helper()
	return servedDemo(t, false, change...)
}

func servedDemo(t *testing.T, withDemo bool, change ...func(*config)) (d *daemon, run func(in string, args ...string) (code int, out, errs string)) {
	t.Helper()
	c := defaults()
	c.Data, c.HTTP, c.RTSP, c.RTSPS = t.TempDir(), "127.0.0.1:0", "off", "off"
	for _, f := range change {
		f(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	d, err := openDaemon(t.Context(), c, withDemo, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	runs(t, d)
	return d, asKey(t, d, "--admin")
}

// runs runs d until the test ends, then closes it.
func runs(t *testing.T, d *daemon) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		d.close()
	})
}

// asKey runs client commands with a key of its own.
func asKey(t *testing.T, d *daemon, role ...string) func(in string, args ...string) (code int, out, errs string) {
	t.Helper()
	code, text, errs := command(t, append([]string{"key", "create", "-o", "json", "--data", d.dir, "--name", strings.Join(role, "")}, role...)...)
	var key map[string]string
	if err := json.Unmarshal([]byte(text), &key); code != 0 || err != nil {
		t.Fatalf("key create: %d %s %v", code, errs, err)
	}
	env := func(name string) (string, bool) {
		v := map[string]string{"PENSTOCK_SERVER": "http://" + d.listener.Addr().String(), "PENSTOCK_TOKEN": key["token"]}[name]
		return v, v != ""
	}
	return func(in string, args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		code := (&terminal{out: &out, err: &errs, in: strings.NewReader(in), env: env}).run(ctx, args)
		return code, out.String(), errs.String()
	}
}

func TestDataCommands(t *testing.T) {
	d, run := served(t)
	producer := asKey(t, d, "--role=producer")
	for _, c := range []struct {
		as   func(in string, args ...string) (int, string, string)
		args string
		in   string
		code int
		out  string // a pattern of what is printed
		errs string
	}{
		{args: "data create trucks --shards 2 --retention 7d --tag team=road", out: `(?s)NAME +STATUS +MODE +SHARDS +KEPT.*trucks +ACTIVE +PROVISIONED +2 +7d`},
		{args: "data create trucks --shards 2", code: exitFailed, errs: "the name is taken"},
		{args: "data create bad/name", code: exitFailed, errs: "letters, digits"},
		{args: "data create x --max-record much", code: exitUsage, errs: "much"},
		{args: `data put trucks --key truck-7 {"speed":80} {"speed":81}`, out: `(?s)^SHARD +SEQUENCE NUMBER\nshardId-00000000000\d +\d{56}\nshardId-00000000000\d +\d{56}\n$`},
		{args: "data put trucks --key t -o jsonl", in: "one\n\ntwo\n", out: `^{"sequence_number":"\d{56}","shard":"shardId-\d{12}"}\n{.*}\n$`},
		{args: "data put trucks --format csv --key /truck", in: "truck,speed\ntruck-8,60\ntruck-9,70\n", out: `(?s)shardId.*shardId`},
		{args: "data put trucks --format json --key /truck", in: `[{"truck":"a"},{"no":"key"}]`, code: exitFailed, errs: "record 1 has no key at /truck"},
		{args: "data put trucks --format xml", code: exitUsage, errs: "not lines, json"},
		{args: "data put trucks --file /no/such/file", code: exitNotFound, errs: "no such file"},
		{as: producer, args: "data put made-on-first-use hello", out: "shardId"},
		{as: producer, args: "data tail made-on-first-use", code: exitDenied, errs: "kinesis:GetRecords"},
		{args: "data tail trucks --from horizon --no-follow --raw --filter key:truck-7", out: "^{\"speed\":80}\n{\"speed\":81}\n$"},
		{args: "data tail trucks --from horizon --no-follow -o jsonl --filter /speed=70", out: `^{"shard":"shardId-\d{12}","sequence_number":"\d{56}","time":"\S+Z","key":"truck-9","size":30,"json":{"truck":"truck-9","speed":70}}` + "\n$"},
		{args: "data tail trucks --from -1h --no-follow --limit 1 --filter one", out: `(?s)^TIME +SHARD +KEY +DATA\n\S+Z +shardId-\d{12} +t +one\n$`},
		{args: "data tail trucks --from horizon --no-follow -o name --filter two", out: `^\d{56}\n$`},
		{args: "data tail trucks --from never", code: exitUsage, errs: "never"},
		{args: "data tail no-such", code: exitNotFound, errs: "no such data stream"},
		{args: "data split trucks shardId-000000000000", out: `(?s)SHARD +STATE.*shardId-000000000000 +closed.*shardId-000000000003 +open +shardId-000000000000`},
		{args: "data merge trucks shardId-000000000003 shardId-000000000002 -o jsonl", out: `"open_shards":2`},
		{args: "data split trucks shardId-000000000000", code: exitFailed, errs: "split or merged already"},
		{args: "data merge trucks 1", code: exitUsage},
		{args: "data ls", out: `(?s)made-on-first-use +ACTIVE +ON_DEMAND +4.*trucks`},
		{args: "data ls --prefix tr -o name", out: "^trucks\n$"},
		{args: "data info trucks", out: "open_shards: 2"},
		{args: "consumer ls trucks", out: `^NAME +STATUS +LAG +SHARDS +LAST READ +ARN\n$`},
		{args: "consumer ls trucks -o json", out: `^\[\]\n$`},
		{args: "consumer ls no-such", code: exitNotFound, errs: "no such data stream"},
		{args: "consumer reset trucks dashboard", code: exitFailed, errs: "keeps no positions"},
		{args: "data rm trucks no-such", code: exitPartly, errs: "no such data stream"},
		{args: "data ls -o name", out: "^made-on-first-use\n$"},
		{args: "__complete data info made", out: "^made-on-first-use\tACTIVE\n:4\n$"},
		{args: "__complete stream info x", out: "^:4\n$"},
		{args: "data ls --server http://127.0.0.1:1", code: exitUnreachable, errs: "try: start it"},
	} {
		as := run
		if c.as != nil {
			as = c.as
		}
		code, out, errs := as(c.in, strings.Fields(c.args)...)
		if code != c.code || !regexp.MustCompile(c.out).MatchString(out) || !strings.Contains(errs, c.errs) || c.code != 0 && errs == "" {
			t.Errorf("%s: exit %d\n%s%s\nwant %d, %s, %s", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
}

func TestWhatComesOverAPipeIsSentAsItComes(t *testing.T) {
	_, run := served(t)
	lines := strings.Repeat("a line of a log\n", 3000)
	code, out, errs := run(lines, "data", "put", "logs", "-o", "name")
	if code != 0 || strings.Count(out, "\n") != 3000 {
		t.Fatalf("exit %d, %d rows: %s", code, strings.Count(out, "\n"), errs)
	}
	code, out, _ = run("", "data", "tail", "logs", "--from", "horizon", "--no-follow", "--raw")
	if code != 0 || out != lines {
		t.Errorf("exit %d, %d lines of 3000", code, strings.Count(out, "\n"))
	}
}

func TestTheDemoHasASensor(t *testing.T) {
	_, run := servedDemo(t, true)
	var out string
	for late := time.Now().Add(2 * time.Minute); !strings.Contains(out, "temperature") && time.Now().Before(late); time.Sleep(50 * time.Millisecond) {
		_, out, _ = run("", "data", "tail", demoSensor, "--from", "horizon", "--no-follow", "-o", "jsonl")
	}
	if !regexp.MustCompile(`"key":"greenhouse","size":\d+,"json":{"time":"\S+Z","sensor":"greenhouse","temperature":\d\d\.\d\d,"humidity":\d\d\.\d}}`).MatchString(out) {
		t.Errorf("there is\n%s", out)
	}
	if code, out, _ := run("", "data", "rm", demoSensor); code != 0 {
		t.Errorf("rm: %d %s", code, out)
	}
}
