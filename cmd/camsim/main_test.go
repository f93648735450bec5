package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/ingest/camera"
	"penstock/ingest/talk"
	"penstock/internal/camsim"
	"penstock/internal/secret"
	"penstock/streams"
)

// run starts a command and returns its output and how it ended.
func run(t *testing.T, args ...string) (out *bufio.Reader, end func() error) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		c := command(w)
		c.SetArgs(args)
		err := c.ExecuteContext(ctx)
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	return bufio.NewReader(r), func() error {
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		return <-ended
	}
}

func TestServePrintsAddressesThatAnswer(t *testing.T) {
	out, end := run(t, "serve", "--listen", "127.0.0.1:0", "-n", "2", "--auth", "digest", "--pass", "p@ss", "--loop-demo")
	for range 2 {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		target, err := camera.ParseTarget(strings.TrimSpace(line), "admin", secret.New("p@ss"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := camera.Open(t.Context(), camera.Config{}, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestWhatTheLoudspeakerIsSentIsWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "heard.ul")
	out, end := run(t, "serve", "--listen", "127.0.0.1:0", "--loop-demo", "--back", "pcmu", "--back-file", name)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	st := streams.Stream{ID: "x", Name: "x", Source: &streams.Source{URL: strings.TrimSpace(line)}}
	call, err := talk.New(talk.Config{}).Call(t.Context(), st, "anna")
	if err != nil {
		t.Fatal(err)
	}
	said := bytes.Repeat([]byte("hello "), talk.Frame)
	if err := call.Say(said); err != nil {
		t.Fatal(err)
	}
	call.Close()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, said) {
		t.Errorf("%d octets were written, want %d: %v", len(got), len(said), err)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"serve", "--auth", "magic"}, {"serve", "--back", "opus"}, {"serve", "--back", "pcmu", "--back-file", "/missing/dir/x"}, {"serve", "--file", "missing.mp4"}, {"serve", "--change-after", "1s"}, {"push"}, {"push", "rtsp://127.0.0.1:1/x"},
	} {
		c := command(io.Discard)
		c.SetArgs(args)
		if err := c.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

func TestDemoIsAMaterial(t *testing.T) {
	var w what
	first, second, err := w.materials()
	if _, ok := first.(*camsim.Demo); err != nil || !ok || second != nil {
		t.Errorf("got %T, %T, %v", first, second, err)
	}
}
