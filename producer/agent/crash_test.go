package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"penstock/producer"
)

// childEnv tells the test binary to be an agent: the folder it works in.
const (
	childEnv  = "PENSTOCK_TEST_AGENT"
	serverEnv = "PENSTOCK_TEST_AGENT_SERVER"
)

// child is an agent in a process of its own, to be killed.
func child() {
	dir := os.Getenv(childEnv)
	a, err := New(Config{
		Flows: []Flow{{Files: []string{filepath.Join(dir, "app.log*")}, Stream: "logs", Key: Key{File: true}}},
		State: filepath.Join(dir, "state"), Endpoint: os.Getenv(serverEnv), Credentials: producer.Static("a", "b", ""),
		Poll: 2 * time.Millisecond, Save: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Producer: producer.Config{BufferedTime: 2 * time.Millisecond},
	})
	if err == nil {
		err = a.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestKilledInTheMiddleNothingIsLost writes and rotates a log while the agent that reads
// it is killed again and again, at any moment.
func TestKilledInTheMiddleNothingIsLost(t *testing.T) {
	// The pattern names what the log is rotated to, so that a file that came and went while
	// no agent lived is found, too.
	b := newBench(t, Flow{Files: []string{"app.log*"}, Stream: "logs", Key: Key{File: true}})
	server := httptest.NewServer(b.sink)
	defer server.Close()
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	cycles, n := 25, 0
	if testing.Short() {
		cycles = 5
	}
	for cycle := range cycles {
		cmd := exec.Command(os.Args[0], "-test.run=none")
		cmd.Env = append(os.Environ(), childEnv+"="+b.dir, serverEnv+"="+server.URL)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(time.Duration(20+rnd.IntN(150)) * time.Millisecond)
		for time.Now().Before(end) {
			b.write("app.log", n, n+20)
			n += 20
			time.Sleep(time.Millisecond)
			if rnd.IntN(40) == 0 && cycle%2 == 0 {
				b.rename("app.log", fmt.Sprintf("app.log.%d", time.Now().UnixNano()))
			} else if rnd.IntN(40) == 0 && cycle%2 == 1 {
				b.copyTruncate("app.log", fmt.Sprintf("app.log.%d", time.Now().UnixNano()))
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	b.c.Endpoint, b.c.Producer.HTTP = server.URL, server.Client()
	b.start()
	got := b.sink.wait(t, "logs", "all lines", all(n))
	b.stop()
	have := map[string]bool{}
	for _, l := range got {
		have[l] = true
	}
	for i := range n {
		if !have[fmt.Sprintf("line %d of a log that is long enough to be told from others", i)] {
			t.Fatalf("line %d of %d is lost", i, n)
		}
	}
	t.Logf("%d lines in %d lives, %d doubles", n, cycles, len(got)-n)
}
