package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/internal/fault"
)

// TestTheLockOfAProcessThatIsGoingIsWaitedFor: a server that was killed under a thousand
// cameras takes a moment to be gone.
func TestTheLockOfAProcessThatIsGoingIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	old, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := lockDir(dir); !fault.Is(err, fault.InUse) {
		t.Fatalf("two processes hold %s: %v, %v", dir, f, err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = old.Close() })
	f, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestAFolderOfSomebodyElseIsExplained: what the system refuses is no matter of keys, and
// what is damaged has a command of its own.
func TestAFolderOfSomebodyElseIsExplained(t *testing.T) {
	refused := func(err error) error { return &os.PathError{Op: "open", Path: "/data/LOCK", Err: err} }
	for _, c := range []struct {
		err  error
		code int
		try  string
	}{
		{explainDir("lock data directory", "/data", refused(syscall.EACCES)), exitDenied, fmt.Sprintf("try: give it to the user that runs this: chown -R %d /data; or", os.Getuid())},
		{explainDir("lock data directory", "/data", refused(syscall.EROFS)), exitFailed, "try: mount it for writing, or name another folder with --data DIR"},
		{explainDir("lock data directory", "/data", refused(syscall.EIO)), exitFailed, "try: penstock doctor"},
		{fmt.Errorf("read master key: %w", refused(syscall.EACCES)), exitDenied, fmt.Sprintf("try: let the user that runs this (uid %d) use /data/LOCK", os.Getuid())},
		{partly{damaged("/data", "%d chunks are damaged", 1)}, exitPartly, "try: penstock verify --repair /data"},
		{fault.New(fault.Denied, "list streams", "", "no"), exitDenied, "try: use a key that may"},
	} {
		var errs bytes.Buffer
		if code := (&terminal{err: &errs}).report(c.err); code != c.code || !strings.Contains(errs.String(), c.try) {
			t.Errorf("%v: exit %d, %q, want %d, %q", c.err, code, errs.String(), c.code, c.try)
		}
	}
}
