package repotest

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// toolTime is how long a tool may run that a test waits for. They end within seconds; one
// that hangs is to be found by its name, not by the end of the whole run.
const toolTime = 5 * time.Minute

// Command is exec.Command of a tool that a test waits for: one that has not ended after five
// minutes is killed, and the test fails with its command line.
func Command(t testing.TB, tool string, args ...string) *exec.Cmd {
	return commandWithin(t, toolTime, tool, args...)
}

func commandWithin(t testing.TB, most time.Duration, tool string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Cancel = func() error {
		if ctx.Err() == context.DeadlineExceeded {
			t.Errorf("%s hangs: killed after %v: %q", filepath.Base(tool), most, cmd.Args)
		}
		return cmd.Process.Kill()
	}
	cmd.WaitDelay = 10 * time.Second // its children may hold its output open
	return cmd
}
