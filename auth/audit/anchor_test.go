package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/internal/crashfs"
	"penstock/internal/host"
	"penstock/storage/meta"
)

// noted is an Anchor in memory.
type noted struct {
	mu    sync.Mutex
	mark  audit.Mark
	saved int
}

// Load returns the mark.
func (n *noted) Load(context.Context) (audit.Mark, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mark, nil
}

// Save keeps the mark.
func (n *noted) Save(_ context.Context, m audit.Mark) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mark = m
	n.saved++
	return nil
}

// state is the mark and how many were set.
func (n *noted) state() (audit.Mark, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mark, n.saved
}

func TestWhatIsCutOffShows(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  func(t *testing.T, files []string)
		want string
	}{
		{"the last line", func(t *testing.T, files []string) { cutLines(t, files[len(files)-1], 1) }, "lines 60 to 60 are missing"},
		{"five lines", func(t *testing.T, files []string) { cutLines(t, files[len(files)-1], 5) }, "lines 56 to 60 are missing"},
		{"the newest file", func(t *testing.T, files []string) { remove(t, files[len(files)-1:]) }, " to 60 are missing"},
		{"the newest file emptied", func(t *testing.T, files []string) {
			if err := os.Truncate(files[len(files)-1], 0); err != nil {
				t.Fatal(err)
			}
		}, " to 60 are missing"},
		{"all files", remove, "lines 1 to 60 are missing"},
		{"the directory", func(t *testing.T, files []string) {
			if err := os.RemoveAll(filepath.Dir(files[0])); err != nil {
				t.Fatal(err)
			}
		}, "lines 1 to 60 are missing"},
		{"all written anew", func(t *testing.T, files []string) {
			remove(t, files)
			record(t, audit.Config{Dir: filepath.Dir(files[0])}, 500, 70)
		}, "line 60 is not the one that was noted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, anchor := filepath.Join(t.TempDir(), "log"), &noted{}
			conf := audit.Config{Dir: dir, Anchor: anchor, Max: 8000}
			record(t, conf, 0, 30)
			record(t, conf, 30, 30)
			whole := func() audit.Report {
				mark, _ := anchor.Load(t.Context())
				r, err := audit.Verify(t.Context(), host.OS{}, dir, mark)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			if r := whole(); r.Problem != "" || r.Lines != 60 || anchor.mark.Seq != 60 {
				t.Fatalf("%+v, mark %+v", r, anchor.mark)
			}
			files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
			if err != nil || len(files) < 2 {
				t.Fatal(files, err)
			}
			c.cut(t, files)
			if r := whole(); !strings.Contains(r.Problem, c.want) {
				t.Errorf("before a start: %+v, want %q", r, c.want)
			}
			// The server goes on, says so in the log, and what it adds does not hide it.
			for range 3 {
				record(t, conf, 100, 20)
				if r := whole(); r.Problem == "" {
					t.Error("hidden by going on")
				}
			}
			if text := contents(t, dir); !strings.Contains(text, `"penstock:AuditLog"`) || strings.Count(text, `"penstock:AuditLog"`) != 1 {
				t.Error("the log does not say once that it was shortened")
			}
		})
	}
}

func cutLines(t *testing.T, file string, n int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	if err := os.WriteFile(file, bytes.Join(lines[:len(lines)-1-n], nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, files []string) {
	t.Helper()
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

func contents(t *testing.T, dir string) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// TestCrashesAreNoTampering cuts the power at every moment, with marks set after every line
// and none: what is on the disk is never behind its mark.
func TestCrashesAreNoTampering(t *testing.T) {
	for seed := range uint64(40) {
		fsys, anchor := crashfs.New(crashfs.Config{}), &noted{}
		rng := rand.New(rand.NewPCG(seed, 2))
		c := audit.Config{Dir: "audit", FS: fsys, Max: 2000, Anchor: anchor}
		fsys.CrashAt(int64(3 + rng.IntN(60)))
		recordUntilTheCut(t, c, 8, 4)
		c.FS = fsys.Crash(rng)
		if r, err := audit.Verify(t.Context(), c.FS, "audit", anchor.mark); err != nil || strings.Contains(r.Problem, "missing") || strings.Contains(r.Problem, "noted") {
			t.Errorf("seed %d, mark %d: %+v %v", seed, anchor.mark.Seq, r, err)
		}
		record(t, c, 1000, 4)
		r, err := audit.Verify(t.Context(), c.FS, "audit", anchor.mark)
		if err != nil || r.Problem != "" || r.Lines != anchor.mark.Seq {
			t.Errorf("seed %d: %+v %v, mark %d", seed, r, err, anchor.mark.Seq)
		}
	}
}

func TestMarksAreFewAndNeverFarBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		anchor := &noted{}
		l, err := audit.Open(t.Context(), audit.Config{Dir: "log", FS: crashfs.New(crashfs.Config{}), Anchor: anchor})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		for i := range 1000 { // ten a second
			l.Record(ctx, auth.AuditEvent{Action: "a", Decision: "allow"})
			time.Sleep(100 * time.Millisecond)
			if m, _ := anchor.Load(ctx); m.Seq+101 < uint64(i) {
				t.Fatalf("line %d is written, and %d marked", i+1, m.Seq)
			}
		}
		if _, saved := anchor.state(); saved > 11 {
			t.Errorf("%d marks in 100 seconds", saved)
		}
		time.Sleep(time.Minute)
		if mark, saved := anchor.state(); saved > 12 || mark.Seq != 1000 {
			t.Errorf("%d marks, of line %d at last, when nothing was written any more", saved, mark.Seq)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		l.Close()
	})
}

func TestMarksLieInTheMetadataStore(t *testing.T) {
	db, err := meta.Open(t.Context(), meta.Config{Path: filepath.Join(t.TempDir(), "meta.db"), Schemas: []meta.Schema{audit.Schema()}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a, b := audit.InMeta(db, "server"), audit.InMeta(db, "cli")
	if m, err := a.Load(t.Context()); m != (audit.Mark{}) || err != nil {
		t.Error(m, err)
	}
	for seq := range uint64(3) {
		if err := a.Save(t.Context(), audit.Mark{Seq: seq + 1, Hash: fmt.Sprint(seq)}); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := a.Load(t.Context()); m != (audit.Mark{Seq: 3, Hash: "2"}) || err != nil {
		t.Error(m, err)
	}
	if m, err := b.Load(t.Context()); m != (audit.Mark{}) || err != nil {
		t.Error(m, err)
	}
}
