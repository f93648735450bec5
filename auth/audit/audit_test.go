package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/internal/crashfs"
	"penstock/internal/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record writes n lines and closes the log.
func record(t *testing.T, c audit.Config, from, n int) {
	t.Helper()
	l, err := audit.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	for i := range n {
		l.Record(ctx, auth.AuditEvent{Action: "penstock:SignIn", Principal: fmt.Sprint("line ", from+i), Remote: "192.0.2.1", Decision: "allow"})
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, dir string) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), host.OS{}, dir, audit.Mark{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheChainGoesOnAcrossRestartsAndFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		record(t, audit.Config{Dir: dir, Max: 4000}, i*20, 20)
	}
	names, err := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	if err != nil || len(names) < 3 {
		t.Errorf("%d files, want several", len(names))
	}
	if r := verify(t, dir); r.Problem != "" || r.Lines != 100 || len(r.Newest) != 64 {
		t.Errorf("%+v", r)
	}
}

func TestWhatIsChangedShows(t *testing.T) {
	base := t.TempDir()
	record(t, audit.Config{Dir: base}, 0, 30)
	names, err := filepath.Glob(filepath.Join(base, "audit-*.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	good, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	for name, changed := range map[string][]byte{
		"a word changed":    bytes.Replace(good, []byte("line 7\""), []byte("line 8\""), 1),
		"a line taken out":  join(append(append([][]byte{}, lines[:9]...), lines[10:]...)...),
		"two lines swapped": join(append(append([][]byte{}, lines[:3]...), append([][]byte{lines[4], lines[3]}, lines[5:]...)...)...),
		"the first removed": join(lines[1:]...),
		"a line twice":      join(append(append([][]byte{}, lines[:3]...), append([][]byte{lines[2]}, lines[3:]...)...)...),
		"a space put in":    bytes.Replace(good, []byte(`"action":`), []byte(`"action": `), 1),
		"a long line":       append(bytes.Repeat([]byte("x"), 40000), good...),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(names[0])), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, dir); r.Problem == "" {
			t.Errorf("%s: not seen", name)
		}
		// The server goes on, and what it adds does not hide the damage.
		record(t, audit.Config{Dir: dir}, 0, 3)
		if r := verify(t, dir); r.Problem == "" {
			t.Errorf("%s: hidden by going on", name)
		}
	}
}

func TestATornLineIsCutOff(t *testing.T) {
	dir := t.TempDir()
	record(t, audit.Config{Dir: dir}, 0, 3)
	names, _ := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	f, err := os.OpenFile(names[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"seq":4,"time":"20`)
	f.Close()
	record(t, audit.Config{Dir: dir}, 3, 2)
	if r := verify(t, dir); r.Problem != "" || r.Lines != 5 {
		t.Errorf("%+v", r)
	}
}

func TestHostileFieldsStayInTheirLine(t *testing.T) {
	dir := t.TempDir()
	l, err := audit.Open(t.Context(), audit.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	l.Record(ctx, auth.AuditEvent{Action: "a", Object: "x\n{\"seq\":2}\n\x00\xff<script>", Principal: strings.Repeat("é", 100_000)})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.Close()
	if r := verify(t, dir); r.Problem != "" || r.Lines != 1 {
		t.Errorf("%+v", r)
	}
}

// recordUntilTheCut opens the log again and again and writes lines of it, until the power
// is cut.
func recordUntilTheCut(t *testing.T, c audit.Config, opens, lines int) {
	t.Helper()
	for i := range opens {
		l, err := audit.Open(t.Context(), c)
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		for j := range lines {
			l.Record(ctx, auth.AuditEvent{Action: "a", Principal: fmt.Sprint(i, j)})
		}
		cancel()
		err = <-done
		l.Close()
		if err != nil {
			return
		}
	}
}

func TestPowerCutsLeaveAChainThatHolds(t *testing.T) {
	for seed := range uint64(30) {
		fsys := crashfs.New(crashfs.Config{})
		rng := rand.New(rand.NewPCG(seed, 1))
		c := audit.Config{Dir: "audit", FS: fsys, Max: 2000}
		fsys.CrashAt(int64(3 + rng.IntN(40)))
		recordUntilTheCut(t, c, 6, 5)
		after := fsys.Crash(rng)
		record(t, audit.Config{Dir: "audit", FS: after, Max: 2000}, 1000, 4)
		r, err := audit.Verify(t.Context(), after, "audit", audit.Mark{})
		if err != nil || r.Problem != "" {
			t.Errorf("seed %d: %+v %v", seed, r, err)
		}
	}
}

func TestLinesWaitForRoomOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := crashfs.New(crashfs.Config{})
		if err := fsys.MkdirAll("log", 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := audit.Open(t.Context(), audit.Config{Dir: "log", FS: fsys, Max: 2000})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		for i := range 30 {
			if i == 5 || i == 20 { // amid a file, and where the next begins
				fsys.Fail(crashfs.Write|crashfs.Create, 1, -1, syscall.ENOSPC)
			}
			l.Record(t.Context(), auth.AuditEvent{Action: fmt.Sprint("act", i), Decision: "allow"})
			if i == 10 || i == 25 {
				time.Sleep(10 * time.Second)
				fsys.Heal()
			}
			time.Sleep(time.Second)
		}
		select {
		case err := <-ended:
			t.Fatalf("Run ended on a full disk: %v", err)
		default:
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		report, err := audit.Verify(t.Context(), fsys, "log", audit.Mark{})
		if err != nil || report.Problem != "" || report.Lines != 30 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}
