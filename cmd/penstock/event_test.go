package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"penstock/streams/events"
)

func TestEventCommands(t *testing.T) {
	d, run := served(t)
	worker, viewer := asKey(t, d, "--role=worker"), asKey(t, d, "--role=viewer")
	for _, c := range []struct {
		as   func(in string, args ...string) (int, string, string)
		args string
		code int
		out  string // a pattern of what is printed
		errs string
	}{
		{args: "stream create gate --retention 2d --retention-bytes 1GiB -o name", out: "^gate\n$"},
		{args: "stream info gate -o jsonl", out: `"retention_bytes":1073741824`},
		{args: "stream create tiny --retention-bytes 1000", code: exitFailed, errs: "1 MiB to 1 EiB"},
		{args: "stream set gate --retention-bytes 500GiB -o jsonl", out: `"retention":"2d","retention_bytes":536870912000`},
		{args: "stream set gate --retention-bytes 0 --retention 1d -o jsonl", out: `"retention":"24h","retention_bytes":0`},
		{args: "stream set gate --retention 1h --dry-run", out: `(?s)NAME +DELETES +FRAGMENTS +FROM +TO +KEPT BY EVENTS\ngate +0 B +0 +- +- +0 B`},
		{args: "stream info gate -o jsonl", out: `"retention":"24h"`},
		{args: "stream set none --retention 1h", code: exitNotFound, errs: "no such stream"},
		{args: "stream set gate --retention 59m --dry-run", code: exitFailed, errs: "between 1h and 87600h"},
		{args: "stream set gate --retention 59m", code: exitFailed, errs: "between 1h and 87600h"},

		{args: "event add gate --id a --label parcel --start -10m --end -9m --keep 30d --data {\"by\":\"hand\"}",
			out: `(?s)ID +KIND +START +END +KEPT +BY +LABEL\na +mark +\S+Z +\S+Z +until \S+Z +--admin +parcel\n$`},
		{args: "event add gate --id a --label parcel --keep 30d -o name", out: "^a\n$"},
		{args: "event add gate --id a --kind motion", code: exitFailed, errs: "another event of this stream has the id"},
		{as: worker, args: "event add gate --id rec --kind recording --open", out: `rec +recording +\S+ +goes on +- +--role=worker +-\n$`},
		{args: "__complete event end gate r", out: "^rec\trecording \\S+ -\n:4\n$"},
		{args: "__complete event rm gate x", out: "^a\t.*\nrec\t.*\n:4\n$"},
		{args: "__complete event ls ga", out: "^gate\tidle\n:4\n$"},
		{as: worker, args: "event end gate rec --at now -o jsonl", out: `"open":false`},
		{as: worker, args: "event end gate rec", code: exitFailed, errs: "ended at"},
		{args: "event ls gate -o name", out: "^a\nrec\n$"},
		{args: "event ls gate --kind recording --start -1h --end now -o name", out: "^rec\n$"},
		{args: "event ls gate --limit 1 -o name", out: "^a\n$", errs: "more than 1"},
		{as: viewer, args: "event ls gate -o name", out: "^a\nrec\n$"},
		{as: viewer, args: "event add gate", code: exitDenied, errs: "penstock:PutEvent"},
		{as: worker, args: "event set gate a --label mine", code: exitDenied, errs: "penstock:ChangeEvent"},
		{args: "event set gate rec --keep forever --label yard", out: `rec +recording .* forever +--role=worker +yard\n$`},
		{args: "event set gate rec --keep soon", code: exitFailed, errs: "soon"},
		{args: "event add gate --start -30d", code: exitFailed, errs: "expired"},
		{args: "event add gate --kind Motion", code: exitFailed, errs: "small letter"},
		{args: "event rm gate a b", code: exitPartly, errs: "no such event"},
		{args: "event rm gate b", code: exitNotFound, errs: "try: "},
		{args: "event ls gate -o name", out: "^rec\n$"},
		{args: "event ls none", code: exitNotFound, errs: "no such stream"},
	} {
		as := run
		if c.as != nil {
			as = c.as
		}
		code, out, errs := as("", strings.Fields(c.args)...)
		if code != c.code || !regexp.MustCompile(c.out).MatchString(out) || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: exit %d\n%s%s\nwant %d, %s, %s", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
}

func TestADeletedStreamTakesItsEventsAlong(t *testing.T) {
	d, run := served(t)
	run("", "stream", "create", "gate")
	st, err := d.catalogue.Get(d.c.Account, "gate")
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run("", "event", "add", "gate", "--keep", "forever"); code != 0 || len(d.events.Keeps(st.ID)) != 1 {
		t.Fatalf("exit %d %s", code, errs)
	}
	run("", "stream", "rm", "gate")
	left := func() int {
		page, err := d.events.List(t.Context(), events.Query{Stream: st.ID})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Events) + len(d.events.Keeps(st.ID))
	}
	for late := time.Now().Add(time.Minute); left() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the events of a deleted stream are there yet")
		}
	}
	run("", "stream", "create", "gate")
	if code, out, errs := run("", "event", "ls", "gate", "-o", "name"); code != 0 || out != "" {
		t.Errorf("a new stream of the name has %q, exit %d %s", out, code, errs)
	}
}
