package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// machineCPU is the time that all processors were not idle, in s. What a host took away
// counts: it was not there for who is measured.
func machineCPU() float64 {
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

// heap is what the server's heap holds once it has collected, in bytes.
func (s *server) heap(ctx context.Context) (float64, error) {
	if _, err := s.text(ctx, "/debug/pprof/heap?gc=1"); err != nil {
		return 0, err
	}
	text, err := s.text(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "go_memstats_heap_alloc_bytes "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, errors.New("/metrics does not say go_memstats_heap_alloc_bytes")
}

func (s *server) text(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, res.Status)
	}
	return string(text), err
}
