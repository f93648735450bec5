package main

import (
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
