//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSIGHUPReachesARunningServer: a server that does not wait for the signal ends by it,
// and this test with it.
func TestSIGHUPReachesARunningServer(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "penstock.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log_level: error\n")
	greeting, log := &lines{come: make(chan struct{}, 1)}, &lines{come: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- (&terminal{out: greeting, err: log, in: strings.NewReader(""), env: noEnv}).run(ctx,
			[]string{"serve", "--config", file, "--data", filepath.Join(dir, "data"), "--http", "127.0.0.1:0", "--rtsp", "off"})
	}()
	if words := greeting.take(); !strings.Contains(words, "is running") {
		t.Fatal(words)
	}
	write("log_level: info\nregion: eu-west-1\n")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	words := log.take()
	for !strings.Contains(words, "settings were read again") {
		words += log.take() // others may log as well, now that they are heard
	}
	if !strings.Contains(words, `changed="log_level region" restart_for=region`) {
		t.Errorf("it says %s", words)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d: %s", code, log.b.String())
	}
}
