package doctor

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// System is the machine itself.
type System struct{}

// Kernel asks uname.
func (System) Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// FileSystem finds the mount that dir is on.
func (System) FileSystem(dir string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	best, kind := "", ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		at, of, ok := mount(lines.Text())
		if ok && len(at) >= len(best) && within(dir, at) {
			best, kind = at, of
		}
	}
	if kind == "" {
		return "", errors.New("no mount holds it")
	}
	return kind, nil
}

// mount reads a line of mountinfo (proc_pid_mountinfo(5)).
func mount(line string) (at, kind string, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, types := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(types) < 1 {
		return "", "", false
	}
	kind, _, _ = strings.Cut(types[0], ".") // fuse.sshfs is fuse
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4]), kind, true
}

func within(dir, at string) bool {
	return at == "/" || dir == at || strings.HasPrefix(dir, at+"/")
}

// OpenFiles asks getrlimit; Go has raised the soft limit to the hard one, as it does in
// the server.
func (System) OpenFiles() (uint64, error) {
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Cur, err
}

// Memory asks sysinfo and the control group.
func (System) Memory() (total, limit int64, err error) {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0, 0, err
	}
	return int64(uint64(s.Totalram) * uint64(s.Unit)), groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"), nil
}

// groupLimit is the smallest limit of the control groups above this process; 0: none is known.
func groupLimit(self, root string) int64 {
	text, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	var least int64
	note := func(file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			return
		}
		// "max", and the largest number of pages, are no limit.
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && n > 0 && n < 1<<60 && (least == 0 || n < least) {
			least = n
		}
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path
		if len(parts) != 3 {
			continue
		}
		for at := parts[2]; ; at = filepath.Dir(at) {
			switch {
			case parts[1] == "":
				note(filepath.Join(root, at, "memory.max"))
			case strings.Contains(parts[1], "memory"):
				note(filepath.Join(root, "memory", at, "memory.limit_in_bytes"))
			}
			if at == "/" || at == "." || at == "" {
				break
			}
		}
	}
	return least
}

// Synced asks adjtimex, which changes nothing when no mode is set.
func (System) Synced() (bool, time.Duration, error) {
	var x unix.Timex
	state, err := unix.Adjtimex(&x)
	if err != nil {
		return false, 0, err
	}
	const unsynced, clockError = 0x40, 5 // STA_UNSYNC, TIME_ERROR: adjtimex(2)
	return x.Status&unsynced == 0 && state != clockError, time.Duration(x.Maxerror) * time.Microsecond, nil
}
