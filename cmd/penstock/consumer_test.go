package main

import (
	"regexp"
	"testing"
)

func TestConsumersAreListedWithTheirLag(t *testing.T) {
	d, run := served(t)
	if code, _, errs := run("", "data", "create", "trucks", "--shards", "1"); code != 0 {
		t.Fatal(errs)
	}
	st, err := d.data.Get(t.Context(), d.c.Account, d.c.Region, "trucks")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Register(t.Context(), "dashboard", nil); err != nil {
		t.Fatal(err)
	}
	const row = `^NAME .*\ndashboard +ACTIVE +- +0 +- +arn:aws:kinesis:us-east-1:000000000000:stream/trucks/consumer/dashboard:\d+\n$`
	if code, out, errs := run("", "consumer", "ls", "trucks"); code != 0 || !regexp.MustCompile(row).MatchString(out) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	// A server that has seen it read says how far behind it is.
	s := showing(t, func() {}, `{"consumers":[{"name":"dashboard","status":"ACTIVE","arn":"arn:x","shards":2,"behind_s":12.5,"seen":"2026-01-01T00:00:00Z"}]}`)
	if _, out, _ := run("", "consumer", "ls", "trucks", "--server", s.URL); !regexp.MustCompile(`dashboard +ACTIVE +12.50 s +2 +2026-01-01T00:00:00Z +arn:x\n$`).MatchString(out) {
		t.Errorf("shows\n%s", out)
	}
	if code, out, _ := run("", "consumer", "ls", "trucks", "-o", "name"); code != 0 || out != "dashboard\n" {
		t.Errorf("exit %d %s", code, out)
	}
}
