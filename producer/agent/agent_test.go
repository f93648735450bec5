package agent

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestLinesAreSentAsTheyAreAppended(t *testing.T) {
	b := newBench(t)
	b.write("app.log", 0, 10)
	b.start()
	b.sink.wait(t, "logs", "what was there", count(10))
	b.write("app.log", 10, 2000)
	b.text("app.log", "half a li")
	b.sink.wait(t, "logs", "what came", count(2000))
	b.text("app.log", "ne\n")
	got := b.sink.wait(t, "logs", "the rest of a line", count(2001))
	if got[2000] != "half a line" {
		t.Errorf("the last is %q", got[2000])
	}
	b.whole(got[:2000], 2000)
	if s := b.last.Stats()["logs"]; s.Records != 2001 || s.Lost+s.Refused+s.Cut != 0 {
		t.Errorf("figures %+v", s)
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	b := newBench(t)
	b.write("app.log", 0, 100)
	b.start()
	b.sink.wait(t, "logs", "the first lines", count(100))
	b.stop()
	b.write("app.log", 100, 200)
	b.start()
	got := b.sink.wait(t, "logs", "all lines", count(200))
	b.stop()
	if len(got) != 200 {
		t.Errorf("%d lines", len(got))
	}
	b.whole(got, 200)
}

func TestRotation(t *testing.T) {
	rename := func(b *bench) {
		if _, err := os.Stat(b.path("app.log.1")); err == nil {
			b.rename("app.log.1", "app.log.2")
		}
		b.rename("app.log", "app.log.1")
	}
	copyTruncate := func(b *bench) {
		if _, err := os.Stat(b.path("app.log.1")); err == nil {
			b.rename("app.log.1", "app.log.2")
		}
		b.copyTruncate("app.log", "app.log.1")
	}
	for name, rotate := range map[string]func(*bench){"by rename": rename, "by copy and truncate": copyTruncate} {
		for _, pattern := range []string{"app.log", "app.log*"} {
			flow := func() Flow {
				return Flow{Files: []string{pattern}, Stream: "logs", Key: Key{Pattern: regexp.MustCompile(`^(line)`)}}
			}
			t.Run(name+" while it runs, "+pattern, func(t *testing.T) {
				b := newBench(t, flow())
				b.start()
				for i := range 5 {
					b.write("app.log", i*1000, i*1000+1000)
					b.sink.wait(t, "logs", "some lines", all(i*1000+1))
					rotate(b)
				}
				b.write("app.log", 5000, 5010)
				got := b.sink.wait(t, "logs", "all lines", all(5010))
				b.whole(got, 5010)
				if doubles := len(got) - 5010; doubles > 0 {
					t.Errorf("%d doubles though nothing failed", doubles)
				}
			})
			t.Run(name+" while it is down, "+pattern, func(t *testing.T) {
				b := newBench(t, flow())
				b.start()
				for i := range 4 {
					b.write("app.log", i*100, i*100+50)
					b.sink.wait(t, "logs", "half of the lines", all(i*100+50))
					b.stop()
					b.write("app.log", i*100+50, i*100+100)
					rotate(b)
					b.start()
				}
				b.write("app.log", 400, 410)
				b.whole(b.sink.wait(t, "logs", "all lines", all(410)), 410)
			})
			t.Run(name+" while the server is down, "+pattern, func(t *testing.T) {
				b := newBench(t, flow())
				b.c.Producer.PendingBytes = 20 << 10
				b.start()
				b.write("app.log", 0, 10)
				b.sink.wait(t, "logs", "the first lines", count(10))
				b.sink.set(func() { b.sink.down = true })
				b.write("app.log", 10, 2000)
				for b.last.Stats()["logs"].Producer.Pending == 0 {
					time.Sleep(time.Millisecond)
				}
				rotate(b)
				b.write("app.log", 2000, 3000)
				if p := b.last.Stats()["logs"].Producer; p.PendingBytes > 20<<10 {
					t.Errorf("%d bytes wait in memory", p.PendingBytes)
				}
				b.sink.set(func() { b.sink.down = false })
				got := b.sink.wait(t, "logs", "all lines", all(3000))
				b.whole(got, 3000)
			})
		}
	}
}

func TestAFileThatIsEmptiedIsReadAnew(t *testing.T) {
	b := newBench(t)
	b.write("app.log", 0, 100)
	b.start()
	b.sink.wait(t, "logs", "the first lines", count(100))
	if err := os.Truncate(b.path("app.log"), 0); err != nil {
		t.Fatal(err)
	}
	b.write("app.log", 100, 600) // it may be longer than before when it is looked at
	b.whole(b.sink.wait(t, "logs", "all lines", all(600)), 600)
}

func TestFilesThatBeginAlikeAreKeptApart(t *testing.T) {
	b := newBench(t, Flow{Files: []string{"app*.log"}, Stream: "logs"})
	head := strings.Repeat("# the same header\n", 100)
	b.start()
	b.text("app-one.log", head+"one\n")
	b.sink.wait(t, "logs", "one", count(101))
	b.text("app-two.log", head+"two\n")
	got := b.sink.wait(t, "logs", "two", count(202))
	if got[201] != "two" {
		t.Errorf("the last is %q", got[201])
	}
}

func TestCompressedFilesArePassedOver(t *testing.T) {
	b := newBench(t, Flow{Files: []string{"app.log*"}, Stream: "logs"})
	b.text("app.log.2.gz", "no lines\n")
	b.write("app.log", 0, 1)
	b.start()
	b.whole(b.sink.wait(t, "logs", "one line", count(1)), 1)
}

func TestFromTheEndTheFirstTimeOnly(t *testing.T) {
	b := newBench(t, Flow{Files: []string{"*.log"}, Stream: "logs", FromEnd: true})
	b.text("a.log", "old\n")
	b.start()
	for b.last.Stats()["logs"].Files == 0 {
		time.Sleep(time.Millisecond)
	}
	b.text("a.log", "new\n")
	b.sink.wait(t, "logs", "what is new", count(1))
	b.stop()
	b.text("b.log", "another\n")
	b.start()
	if got := b.sink.wait(t, "logs", "a new file", count(2)); strings.Join(got, " ") != "new another" {
		t.Errorf("got %q", got)
	}
}

func TestRecordsOfSeveralLines(t *testing.T) {
	b := newBench(t, Flow{Files: []string{"app.log"}, Stream: "logs", Start: regexp.MustCompile(`^\d{4}`), Gather: 50 * time.Millisecond})
	b.start()
	b.text("app.log", "2026 error\n\tat a\n\tat b\n2026 fine\n")
	got := b.sink.wait(t, "logs", "two records", count(2))
	if strings.Join(got, "|") != "2026 error\n\tat a\n\tat b|2026 fine" {
		t.Errorf("got %q", got)
	}
}

func TestKeys(t *testing.T) {
	user := regexp.MustCompile(`user=(\w+)`)
	b := newBench(t, Flow{Files: []string{"a.log"}, Stream: "by-pattern", Key: Key{Pattern: user}}, Flow{Files: []string{"a.log"}, Stream: "by-file", Key: Key{File: true}}, Flow{Files: []string{"a.log"}, Stream: "by-chance"})
	b.text("a.log", "user=ann x\nnobody\n")
	b.start()
	for stream, want := range map[string][2]string{"by-pattern": {"ann", b.path("a.log")}, "by-file": {b.path("a.log"), b.path("a.log")}, "by-chance": {}} {
		b.sink.wait(t, stream, "both lines", count(2))
		_ = want
	}
	b.stop()
	for i, c := range []struct {
		key  Key
		want string
	}{{Key{Pattern: user}, "ann"}, {Key{Pattern: regexp.MustCompile(`ann`)}, "ann"}, {Key{Pattern: regexp.MustCompile(`bob`)}, "/x/a.log"}, {Key{File: true}, "/x/a.log"}} {
		f := &flow{Flow: Flow{Key: c.key}}
		if got := f.keyOf(&tail{path: "/x/a.log"}, []byte("user=ann x")); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
	f := &flow{}
	if a, b := f.keyOf(&tail{}, nil), f.keyOf(&tail{}, nil); a == b || a == "" {
		t.Errorf("random keys %q and %q", a, b)
	}
	if n := len([]rune(shorten(strings.Repeat("ü", 400)))); n != 256 {
		t.Errorf("a key of %d characters", n)
	}
}

func TestWhileTheServerRefusesNothingIsLost(t *testing.T) {
	b := newBench(t)
	b.write("app.log", 0, 100)
	b.sink.set(func() { b.sink.refuse = "AccessDeniedException" })
	b.start()
	for b.last.Stats()["logs"].Producer.Failed == 0 {
		time.Sleep(time.Millisecond)
	}
	b.stop()
	b.start()
	for b.last.Stats()["logs"].Producer.Failed == 0 {
		time.Sleep(time.Millisecond)
	}
	b.sink.set(func() { b.sink.refuse = "" })
	// What was sent while the refusal ended may come first; the whole follows in order.
	got := b.sink.wait(t, "logs", "all lines", all(100))
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != 100 {
		t.Errorf("%d lines of 100", n)
	}
}

func TestOneAgentAFolder(t *testing.T) {
	b := newBench(t)
	b.write("app.log", 0, 1)
	b.start()
	b.sink.wait(t, "logs", "a line", count(1))
	other, err := New(b.c)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second agent: %v", err)
	}
}

func TestADamagedCheckpointIsNamed(t *testing.T) {
	b := newBench(t)
	if err := os.MkdirAll(b.c.State, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stateName(b.c.State, "logs"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(b.c)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "read checkpoint") {
		t.Errorf("got %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := newBench(t).c
	for name, change := range map[string]func(*Config){
		"no flows":         func(c *Config) { c.Flows = nil },
		"no state":         func(c *Config) { c.State = "" },
		"no files":         func(c *Config) { c.Flows = []Flow{{Stream: "s"}} },
		"no stream":        func(c *Config) { c.Flows = []Flow{{Files: []string{"x"}}} },
		"a broken pattern": func(c *Config) { c.Flows = []Flow{{Stream: "s", Files: []string{"["}}} },
		"two of one name":  func(c *Config) { c.Flows = append(c.Flows, c.Flows[0]) },
		"no credentials":   func(c *Config) { c.Credentials = nil },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(errors.Join(err))
	}
}
