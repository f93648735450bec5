// Package repotest guards the repository itself: which way imports point, that
// everything exported is documented, and that no test is skipped in silence.
package repotest

import (
	"os"
	"os/exec"
	"testing"
)

// Need skips the test, naming tool, when tool is not on PATH. With PENSTOCK_CI=1
// in the environment it fails the test instead, so that CI never passes by skipping.
// It returns the tool's path.
func Need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		Missing(t, tool+" is not on PATH: `make setup` installs it")
	}
	return path
}

// Missing skips the test with the reason, or fails it with PENSTOCK_CI=1.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("PENSTOCK_CI") == "1" {
		t.Fatalf("this test must run in CI: %s", reason)
	}
	t.Skip(reason)
}
