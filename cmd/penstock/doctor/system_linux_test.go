package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLinesOfMountinfo(t *testing.T) {
	for line, want := range map[string]string{
		"36 35 98:0 / / rw,noatime master:1 - ext4 /dev/root rw,errors=continue": "/ ext4",
		"41 36 0:33 / /mnt/my\\040disk rw shared:2 - fuse.sshfs me@there:/ rw":   "/mnt/my disk fuse",
		"25 30 0:23 / /sys rw,nosuid shared:7 optional:9 - sysfs sysfs rw":       "/sys sysfs",
		"nonsense":       " ",
		"1 2 3 4 5 - ":   " ",
		"1 2 - ext4 x y": " ",
	} {
		if at, kind, _ := mount(line); at+" "+kind != want {
			t.Errorf("%s: %q %q, want %q", line, at, kind, want)
		}
	}
}

func TestTheSmallestLimitOfTheControlGroupsCounts(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	put("a/b/memory.max", "max\n")
	put("a/memory.max", "1073741824\n")
	put("memory/docker/x/memory.limit_in_bytes", "536870912\n")
	put("memory/memory.limit_in_bytes", "9223372036854771712\n")
	for text, want := range map[string]int64{
		"0::/a/b\n": 1 << 30,
		"0::/\n":    0,
		"7:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n": 512 << 20,
		"nonsense\n": 0,
	} {
		self := put("self", text)
		if got := groupLimit(self, root); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := groupLimit(filepath.Join(root, "none"), root); got != 0 {
		t.Errorf("without control groups: %d", got)
	}
}

func TestThisMachineTells(t *testing.T) {
	var s System
	if !strings.HasPrefix(s.Kernel(), "Linux ") {
		t.Error(s.Kernel())
	}
	if kind, err := s.FileSystem("/proc/self"); err != nil || kind != "proc" {
		t.Error(kind, err)
	}
	if n, err := s.OpenFiles(); err != nil || n == 0 {
		t.Error(n, err)
	}
	if total, _, err := s.Memory(); err != nil || total < 1<<20 {
		t.Error(total, err)
	}
	// Synced may be forbidden in a container: it must not say that it knows then.
	if synced, off, err := s.Synced(); err != nil && (synced || off != 0) {
		t.Error(synced, off, err)
	}
}
