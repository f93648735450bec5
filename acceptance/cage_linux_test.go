package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cage puts the running server into a memory control group of its own, where the
// kernel ends it when it holds more than most bytes. Where the machine lends no control
// groups, peak is what tells.
func (s *server) cage(t *testing.T, most int64) {
	t.Helper()
	for _, kind := range []struct{ root, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		if _, err := os.Stat(filepath.Join(kind.root, "cgroup.procs")); err != nil {
			continue
		}
		dir, err := os.MkdirTemp(kind.root, "penstock-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { // runs before the server's own end: move it out, then remove
			_ = os.WriteFile(filepath.Join(kind.root, "cgroup.procs"), s.pid(), 0o600)
			for range 50 {
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Logf("the control group %s stays behind", dir)
		})
		if err := os.WriteFile(filepath.Join(dir, kind.limit), []byte(strconv.FormatInt(most, 10)), 0o600); err != nil {
			t.Logf("no bound in %s: %v", dir, err)
			return
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), s.pid(), 0o600); err != nil {
			t.Logf("the server does not go into %s: %v", dir, err)
		}
		return
	}
	t.Log("no memory control group to be had here: the peak of the resident memory is what is checked")
}

func (s *server) pid() []byte { return fmt.Append(nil, s.cmd.Process.Pid) }

// peak is the most that the server's resident memory ever was, in bytes.
func (s *server) peak(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%s/status", s.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("/proc tells no peak of the server's memory")
	return 0
}
