package loadgen

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Counters are what the kernel knows of one process.
type Counters struct {
	At                    time.Time
	CPU                   time.Duration
	RSS, Peak             int64 // bytes
	Reads, Writes         int64 // system calls
	ReadBytes, WroteBytes int64
}

// ticksPerSecond is USER_HZ, which Linux fixes at 100 for user space.
const ticksPerSecond = 100

// MachineCPU is the time that all processors were not idle, in s; 0 where the kernel does
// not tell it as Linux does. What a host took away counts: it was not there for who is
// measured.
func MachineCPU() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	sum := 0.0
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, waiting for disks, guests (counted as user)
			continue
		}
		v, _ := strconv.ParseFloat(f, 64)
		sum += v
	}
	return sum / ticksPerSecond
}

// ReadProcess reads the counters of a process from /proc.
func ReadProcess(pid int) (Counters, error) {
	c := Counters{At: time.Now()}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return c, err
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	if len(f) < 13 {
		return c, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	for _, v := range f[11:13] {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return c, err
		}
		c.CPU += time.Duration(n) * time.Second / ticksPerSecond
	}
	fields := map[string]*int64{"VmRSS": &c.RSS, "VmHWM": &c.Peak, "syscr": &c.Reads, "syscw": &c.Writes, "rchar": &c.ReadBytes, "wchar": &c.WroteBytes}
	for _, name := range []string{"status", "io"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			return c, err
		}
		for line := range strings.Lines(string(text)) {
			k, v, _ := strings.Cut(line, ":")
			to, ok := fields[k]
			if !ok {
				continue
			}
			number, kb := strings.CutSuffix(strings.TrimSpace(v), " kB")
			if *to, err = strconv.ParseInt(number, 10, 64); err != nil {
				return c, err
			}
			if kb {
				*to <<= 10
			}
		}
	}
	return c, nil
}
