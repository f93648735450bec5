// Package versity runs a real S3 server for tests: versitygw, over a directory that goes
// with the test.
//
// It is built once, with the go command, into the user's cache directory. A machine that
// cannot have it skips the test by name (CI fails). It syncs nothing: it shows that the
// protocol is right, not that bytes last.
package versity

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"penstock/internal/repotest"
	"penstock/internal/secret"
	"penstock/storage/s3"
)

// The server's module and release.
const (
	module  = "github.com/versity/versitygw/cmd/versitygw"
	release = "v1.8.0"
)

// The name of the bucket and the keys; they open nothing but the test's own server.
const (
	bucketName = "penstock"
	accessKey  = "test-access"
	secretKey  = "test-secret"
)

// startTimeout bounds the wait for the server to answer.
const startTimeout = 30 * time.Second

// Start runs a server until the test ends and returns how to reach an empty bucket.
func Start(t testing.TB) s3.Config {
	t.Helper()
	return Run(t).Config
}

// Server is a running versitygw. Its methods belong to the test's goroutine.
type Server struct {
	Config s3.Config // how to reach an empty bucket
	Dir    string    // where it keeps the objects, by key

	t       testing.TB
	binary  string
	address string
	root    string

	cmd    *exec.Cmd
	exited chan struct{}
	log    safeBuffer
}

// Run starts a server that the test can stop, start again and freeze. The test's end
// stops it.
func Run(t testing.TB) *Server {
	t.Helper()
	root := t.TempDir()
	s := &Server{t: t, binary: build(t), root: root, Dir: filepath.Join(root, bucketName)}
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for try := 0; ; try++ {
		s.address = freeAddress(t)
		if s.start() {
			break
		}
		if try == 3 {
			t.Fatalf("versitygw does not start: %s", s.log.String())
		}
	}
	s.Config = s3.Config{
		Endpoint: "http://" + s.address, Bucket: bucketName, PathStyle: true,
		AccessKey: accessKey, SecretKey: secret.New(secretKey),
	}
	return s
}

// Stop kills the server as a power cut would end it; twice is fine.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// Start starts a stopped server again, at the same address with the same objects.
func (s *Server) Start() {
	s.t.Helper()
	if s.cmd == nil && !s.start() {
		s.t.Fatalf("versitygw does not start again: %s", s.log.String())
	}
}

// start reports whether the server came to answer.
func (s *Server) start() bool {
	cmd := exec.Command(s.binary, "--port", s.address, "--access", accessKey, "--secret", secretKey, "--quiet", "posix", s.root)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	s.cmd, s.exited = cmd, exited
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case <-exited:
			s.cmd = nil
			return false
		case <-time.After(10 * time.Millisecond): // its own start has no event to wait for
		}
		if c, err := net.DialTimeout("tcp", s.address, time.Second); err == nil {
			_ = c.Close()
			return true
		}
	}
	s.Stop()
	return false
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// build returns the server's binary, made by the first test that needs it.
func build(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		repotest.Missing(t, "versitygw: no cache directory to build it in: "+err.Error())
	}
	name := "versitygw"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	dir := filepath.Join(cache, "penstock-test", "versitygw-"+release)
	binary := filepath.Join(dir, name)
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(dir, "build")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	t.Logf("building versitygw %s, once, for about a minute", release)
	cmd := repotest.Command(t, repotest.Need(t, "go"), "install", module+"@"+release)
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "GOFLAGS=", "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		repotest.Missing(t, fmt.Sprintf("versitygw %s cannot be built: %v: %.500s", release, err, out))
	}
	// Another test may have been quicker; the two are the same.
	if err := os.Rename(filepath.Join(tmp, name), binary); err != nil {
		t.Fatal(err)
	}
	return binary
}

// safeBuffer collects the server's words.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps the first 64 KiB.
func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.b.Len() < 64<<10 {
		b.b.Write(p)
	}
	return len(p), nil
}

// String returns what was kept.
func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
