package rtsp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/ingest/rtpin"
	"penstock/internal/repotest"
	"penstock/media"
	"penstock/storage/disk"
	"penstock/storage/meta"
	"penstock/streams"
)

// The cost test wants a load generator: PENSTOCK_RIG names its program, and the folder
// "samples" beside it. It pushes the same cameras to a sink that only reads and appends
// to files, and to a server in a process of its own, and compares the CPU both took.
//
// PENSTOCK_COST_STORE names a folder to record into; without it samples are forgotten.
//
//	PENSTOCK_RIG=/path/rig PENSTOCK_COST_CAMERAS=100 go test -run TestCost -v ./ingest/rtsp

// costServer is what the child process does: it serves until its input ends.
func costServer() {
	debug.SetGCPercent(100)
	fatal := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var hub Hub = &costHub{}
	if dir := os.Getenv("PENSTOCK_COST_STORE"); dir != "" {
		fatal(os.MkdirAll(dir, 0o755))
		db, err := meta.Open(ctx, meta.Config{Path: filepath.Join(dir, "meta.db")})
		fatal(err)
		bucket, err := disk.Open(ctx, disk.Config{Dir: filepath.Join(dir, "bucket")})
		fatal(err)
		store, err := fragments.Open(ctx, fragments.Config{Dir: filepath.Join(dir, "open"), Bucket: bucket, Meta: db})
		fatal(err)
		h := streams.NewHub(streams.HubConfig{Store: store})
		go func() { _ = store.Run(ctx) }()
		go func() { _ = h.Run(ctx) }()
		hub = OnHub(h)
	}
	s, err := New(Config{Address: "127.0.0.1:0", UDPAddress: "127.0.0.1:0", Hub: hub, Authenticator: open{}})
	fatal(err)
	fatal(s.Open(ctx))
	fmt.Println(s.Addr())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
	st := s.poller.Stats()
	s.mu.Lock()
	var sum rtpin.Stats
	for p := range s.pushes {
		x := p.receiver.Stats()
		sum.Packets, sum.Samples, sum.Lost = sum.Packets+x.Packets, sum.Samples+x.Samples, sum.Lost+x.Lost
		sum.Damaged, sum.Late, sum.Malformed = sum.Damaged+x.Damaged, sum.Late+x.Late, sum.Malformed+x.Malformed
	}
	s.mu.Unlock()
	fmt.Printf("%+v of what is still there; %q\n", sum, s.Notice())
	fmt.Printf("reads %d empty %d bytes %d frames %d messages %d\n", st.Reads, st.Empty, st.Bytes, st.Frames, st.Messages)
	cancel()
	<-done
	os.Exit(0)
}

// costHub keeps the samples of two seconds and forgets them, as the fragmenter does.
type costHub struct{ memHub }

func (h *costHub) Prepare(context.Context, streams.Stream) {}

func (h *costHub) Publish(context.Context, streams.Stream, streams.Producer, []media.Track) (Session, error) {
	return &costSession{done: make(chan struct{})}, nil
}

type costSession struct {
	mu   sync.Mutex
	kept []media.Sample
	done chan struct{}
}

func (s *costSession) Write(m media.Sample) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Sync && m.Track == 1 {
		clear(s.kept)
		s.kept = s.kept[:0]
	}
	s.kept = append(s.kept, m)
	return nil
}
func (s *costSession) SetTracks([]media.Track) error { return nil }
func (s *costSession) Lost(media.TrackID, int)       {}
func (s *costSession) Close(error) error             { return nil }
func (s *costSession) Done() <-chan struct{}         { return s.done }

func env(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func TestCost(t *testing.T) {
	rig := os.Getenv("PENSTOCK_RIG")
	if rig == "" {
		t.Skip("PENSTOCK_RIG is not set: it names the load generator")
	}
	cameras, seconds := env("PENSTOCK_COST_CAMERAS", 20), env("PENSTOCK_COST_SECONDS", 20)
	transport := os.Getenv("PENSTOCK_COST_TRANSPORT")
	if transport == "" {
		transport = "tcp"
	}
	floor := func() (string, *exec.Cmd, func()) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		_ = ln.Close()
		c := exec.Command(rig, "sink", "-listen", addr, "-mode", "copy", "-dir", filepath.Join(t.TempDir(), "sink"))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return addr, c, func() { _ = c.Process.Signal(os.Interrupt); _ = c.Wait() }
	}
	ours := func() (string, *exec.Cmd, func()) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(self)
		c.Env = append(os.Environ(), "PENSTOCK_COST_SERVER=1")
		c.Stderr = os.Stderr
		in, _ := c.StdinPipe()
		out, _ := c.StdoutPipe()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		addr, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(addr), c, func() {
			_ = in.Close()
			rest, _ := io.ReadAll(r)
			t.Logf("%s", rest)
			_ = c.Wait()
		}
	}
	measure := func(name string, start func() (string, *exec.Cmd, func())) float64 {
		addr, c, stop := start()
		defer stop()
		if name == "floor" {
			transport = "tcp"
		}
		push := exec.Command(rig, "publish", "-n", strconv.Itoa(cameras), "-url", "rtsp://"+addr+"/cam%d",
			"-transport", transport, "-dur", strconv.Itoa(seconds+8)+"s", "-samples", filepath.Join(filepath.Dir(rig), "samples"))
		var said strings.Builder
		push.Stdout, push.Stderr = &said, &said
		if err := push.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		before := cpuOf(t, c.Process.Pid)
		time.Sleep(time.Duration(seconds) * time.Second)
		used := cpuOf(t, c.Process.Pid) - before
		if os.Getenv("PENSTOCK_COST_PROFILE") != "" && name != "floor" {
			out, _ := exec.Command("sh", "-c", os.Getenv("PENSTOCK_COST_PROFILE")+" "+strconv.Itoa(c.Process.Pid)).CombinedOutput()
			t.Logf("%s", out)
		}
		rss := statusOf(c.Process.Pid, "VmRSS:")
		_ = push.Wait()
		per := used.Seconds() * 60 / float64(seconds) / float64(cameras)
		t.Logf("%s: %.4f CPU-s per stream-minute, RSS %s\n%s", name, per, rss, said.String())
		return per
	}
	f := measure("floor", floor)
	o := measure("ours", ours)
	t.Logf("ours is %.2f times the floor", o/f)
}

// cpuOf is the CPU time a process took so far, from /proc (Linux only).
func cpuOf(t *testing.T, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		repotest.Missing(t, fmt.Sprintf("/proc is not there: %v", err))
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * time.Second / 100
}

func statusOf(pid int, key string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(v)
		}
	}
	return "?"
}
