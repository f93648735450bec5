package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// counters are what the kernel knows of one process.
type counters struct {
	at           time.Time
	cpu          time.Duration
	rss, rssPeak int64 // bytes
	reads        int64 // system calls
	writes       int64
	readBytes    int64
	wroteBytes   int64
}

// ticksPerSecond is USER_HZ, which Linux fixes at 100 for user space.
const ticksPerSecond = 100

func read(pid int) (counters, error) {
	c := counters{at: time.Now()}
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
		c.cpu += time.Duration(n) * time.Second / ticksPerSecond
	}
	fields := map[string]*int64{"VmRSS": &c.rss, "VmHWM": &c.rssPeak, "syscr": &c.reads, "syscw": &c.writes, "rchar": &c.readBytes, "wchar": &c.wroteBytes}
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
