package pull

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/internal/camsim"
	"penstock/streams"
)

// manyCameras makes the test binary play this many cameras, so that their cost is not
// measured as ours.
const manyCameras = "PULL_TEST_CAMERAS"

// serveMany prints the address of each camera's server and lasts until stdin ends.
func serveMany() {
	n, err := strconv.Atoi(os.Getenv(manyCameras))
	if err != nil {
		panic(err)
	}
	s, err := camsim.Serve(camsim.ServerConfig{Count: n, Material: slowClip(), Auth: camsim.Digest, Username: "u", Password: "p"})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Close()
}

// slowClip has a key frame of 3 kB every second and nothing between.
func slowClip() *camsim.Clip {
	demo := camsim.Record(camsim.NewDemo(), time.Second)
	key := demo.Units[0]
	for i, n := range key.NALs {
		if n[0]&0x1F == 5 {
			key.NALs[i] = n[:min(len(n), 3000)]
		}
	}
	return &camsim.Clip{Streams: demo.Streams, Units: []camsim.Unit{key}, Length: time.Second}
}

// process starts n cameras in a process of their own.
func process(t *testing.T, n int) (addr string, cmd *exec.Cmd) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), manyCameras+"="+strconv.Itoa(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), cmd
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestThousandCamerasConnectAtOnce(t *testing.T) {
	const n = 1000
	if testing.Short() {
		t.Skip("a thousand cameras: not with -short")
	}
	addr, _ := process(t, n)
	before := memory()
	r := start(t, Config{})
	r.hub.discard = true
	began, usedBefore := time.Now(), cpu(t)
	for i := range n {
		r.add("cam"+strconv.Itoa(i), fmt.Sprintf("rtsp://%s/cam%d", addr, i), "u", "p", streams.Auto)
	}
	// One that a late machine loses is called again, in another session.
	r.hub.wait(t, "a session each", func() bool { return len(r.hub.met) == n })
	published := time.Since(began)
	r.hub.wait(t, "media of each", func() bool { return len(r.hub.served) == n })
	media := time.Since(began)
	each := (memory() - before) / n
	t.Logf("%d cameras: set up after %v, media of all after %v, %d KiB each", n, published.Round(time.Millisecond), media.Round(time.Millisecond), each>>10)
	if each > 150<<10 {
		t.Errorf("%d KiB each, want at most 150", each>>10)
	}
	// On a machine of its own this takes 0.7 s; on one that is shared, only the time on
	// the processor says something about us.
	if used := cpu(t) - usedBefore; used > 2*time.Second && !raceEnabled {
		t.Errorf("it took %v of processor time, want at most 2 s", used)
	} else {
		t.Logf("%v of processor time", used.Round(time.Millisecond))
	}
}
