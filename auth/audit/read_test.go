package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/internal/host"
)

// stepper is a clock that goes on by a second at each look.
type stepper struct {
	host.System
	now time.Time
}

// Now is a second after the last.
func (s *stepper) Now() time.Time {
	s.now = s.now.Add(time.Second)
	return s.now
}

// fill writes n lines, a second apart from begin on, into a log of small files.
func fill(t *testing.T, dir string, begin time.Time, n int, event func(i int) auth.AuditEvent) {
	t.Helper()
	l, err := audit.Open(t.Context(), audit.Config{Dir: dir, Max: 300 << 10, Clock: &stepper{now: begin.Add(-time.Second)}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- l.Run(ctx) }()
	for i := range n {
		l.Record(ctx, event(i))
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func numbered(i int) auth.AuditEvent {
	return auth.AuditEvent{Action: fmt.Sprintf("penstock:Act%d", i%3), Principal: fmt.Sprintf("arn:aws:iam::1:user/P%d", i%7), Account: fmt.Sprint(i % 2),
		Object: fmt.Sprint("object ", i), Decision: []string{"allow", "deny", "fail", "allow"}[i%4]}
}

// all reads every page.
func all(t *testing.T, r *audit.Reader, q audit.Query) (got []audit.Entry, pages int) {
	t.Helper()
	for {
		p, err := r.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Entries) > max(q.Limit, audit.PageUsual) {
			t.Fatalf("%d entries on a page", len(p.Entries))
		}
		got, pages = append(got, p.Entries...), pages+1
		if q.Next = p.Next; q.Next == "" {
			return got, pages
		}
		if pages > 10_000 {
			t.Fatal("it does not end")
		}
	}
}

func TestReadShowsNewestFirst(t *testing.T) {
	base, begin := t.TempDir(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const n = 20_000 // 5.5 hours, in many files
	fill(t, filepath.Join(base, "server"), begin, n, numbered)
	fill(t, filepath.Join(base, "cli"), begin.Add(100*time.Second+time.Millisecond), 10, func(i int) auth.AuditEvent {
		return auth.AuditEvent{Action: "penstock:CreateKey", Decision: "allow", Object: fmt.Sprint("key ", i)}
	})
	r := &audit.Reader{FS: host.OS{}, Sources: []audit.Source{{Name: "server", Dir: filepath.Join(base, "server")}, {Name: "cli", Dir: filepath.Join(base, "cli")}, {Name: "none", Dir: filepath.Join(base, "none")}}}
	at := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second) }
	objects := func(keep func(i int) bool) (list []string) {
		for i := n - 1; i >= 0; i-- {
			if keep(i) {
				list = append(list, fmt.Sprint("object ", i))
			}
		}
		return list
	}
	for _, c := range []struct {
		name string
		q    audit.Query
		want []string
	}{
		{"a window", audit.Query{Start: at(5000), End: at(5200), Object: "OBJECT"}, objects(func(i int) bool { return i >= 5000 && i < 5200 })},
		{"the begin", audit.Query{End: at(3), Object: "object"}, objects(func(i int) bool { return i < 3 })},
		{"the end", audit.Query{Start: at(n - 3)}, objects(func(i int) bool { return i >= n-3 })},
		{"before all", audit.Query{End: begin}, nil},
		{"after all", audit.Query{Start: at(n)}, nil},
		{"one among many", audit.Query{Object: "object 77"}, objects(func(i int) bool { return strings.HasPrefix(fmt.Sprint(i), "77") })},
		{"filters together", audit.Query{Principal: "user/p3", Action: "act1", Decision: "deny", Limit: 50}, objects(func(i int) bool { return i%7 == 3 && i%3 == 1 && i%4 == 1 })},
		{"an account", audit.Query{Account: "1", Limit: 1000}, objects(func(i int) bool { return i%2 == 1 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := all(t, r, c.q)
			var list []string
			for _, e := range got {
				list = append(list, e.Object)
			}
			if !slices.Equal(list, c.want) {
				t.Errorf("%d entries, want %d", len(list), len(c.want))
			}
		})
	}
	t.Run("logs together, by time", func(t *testing.T) {
		got, _ := all(t, r, audit.Query{Start: at(90), End: at(120), Limit: 7})
		if len(got) != 40 || !slices.IsSortedFunc(got, func(a, b audit.Entry) int { return b.Time.Compare(a.Time) }) {
			t.Errorf("%d entries", len(got))
		}
		if i := slices.IndexFunc(got, func(e audit.Entry) bool { return e.Log == "cli" }); i < 0 || got[i].Object != "key 9" {
			t.Error("the newest line of commands is missing")
		}
	})
	t.Run("strangers", func(t *testing.T) {
		got, _ := all(t, r, audit.Query{Account: "0", Strangers: true, Action: "CreateKey"})
		if own, _ := all(t, r, audit.Query{Account: "0", Action: "CreateKey"}); len(got) != 10 || len(own) != 0 {
			t.Errorf("%d lines of nobody, %d without asking for them", len(got), len(own))
		}
	})
}

func TestOneReadLooksAtABoundedPart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "server")
	long := strings.Repeat("x", 1000)
	fill(t, dir, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 20_000, func(i int) auth.AuditEvent {
		return auth.AuditEvent{Action: "penstock:A", Decision: "allow", Object: fmt.Sprint(i), Detail: long}
	})
	r := &audit.Reader{FS: host.OS{}, Sources: []audit.Source{{Name: "server", Dir: dir}}}
	p, err := r.Read(t.Context(), audit.Query{Object: "no such"})
	if err != nil || len(p.Entries) != 0 || p.Next == "" {
		t.Errorf("%d entries, next %q, %v: 24 MB were looked at in one call", len(p.Entries), p.Next, err)
	}
	if got, pages := all(t, r, audit.Query{Object: "12345"}); len(got) != 1 || pages < 3 {
		t.Errorf("%d entries on %d pages", len(got), pages)
	}
}

func TestReadGoesPastWhatIsNoLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "server")
	fill(t, dir, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 50, numbered)
	names, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	bad := strings.Join(lines[:20], "") + strings.Repeat("\x00", 300<<10) + "\n{}\n\n" + strings.Join(lines[20:], "") + `{"seq":51,"time":"2026-`
	if err := os.WriteFile(names[0], []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &audit.Reader{FS: host.OS{}, Sources: []audit.Source{{Name: "server", Dir: dir}}}
	if got, _ := all(t, r, audit.Query{}); len(got) != 50 {
		t.Errorf("%d entries", len(got))
	}
	for _, next := range []string{"server", "server.1", "server.1.-5", "server.x.5", "server.1.5~server.1.5", "../x.1.5~a.1.1", "~"} {
		if _, err := r.Read(t.Context(), audit.Query{Next: next}); err == nil && !strings.HasPrefix(next, "server.1.5") {
			t.Errorf("next %q is taken", next)
		}
	}
	for _, next := range []string{"server.1.700", "server.1.9223372036854775807", "server.99.5", "server.0.5", "other.1.5"} {
		if _, err := r.Read(t.Context(), audit.Query{Next: next}); err != nil {
			t.Errorf("next %q: %v", next, err)
		}
	}
}
