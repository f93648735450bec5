package talk

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/ingest/camera"
	"penstock/internal/repotest"
	"penstock/streams"
)

// gstreamer starts GStreamer's ONVIF server, which shares no code with ours, and returns
// its address.
func gstreamer(t *testing.T, law, file string) string {
	t.Helper()
	python := repotest.Need(t, "python3")
	if err := exec.Command(python, "-c", `import ctypes; ctypes.CDLL("libgstrtspserver-1.0.so.0")`).Run(); err != nil {
		repotest.Missing(t, "GStreamer's RTSP server is not installed: `make setup` installs it")
	}
	cmd := exec.Command(python, "testdata/onvif_camera.py", "0", law, file)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, words.String())
	}
	return strings.TrimSpace(line)
}

// TestGStreamersCameraHears compares octet by octet. GStreamer's server takes the calls
// over UDP now and then without ever handing on what it is sent, on a busy machine; then
// it is called anew. What it hears must be what was said.
func TestGStreamersCameraHears(t *testing.T) {
	const tries = 5
	for law, codec := range map[string]string{"mulaw": "PCMU", "alaw": "PCMA"} {
		for _, way := range []camera.Transport{camera.TCP, camera.UDP} {
			t.Run(law+" over "+string(way), func(t *testing.T) {
				t.Parallel()
				said, got := speech(50), []byte(nil)
				for try := 1; len(got) == 0 && try <= tries; try++ {
					got = callGStreamer(t, law, codec, way, said)
					t.Logf("call %d: it heard %d octets", try, len(got))
				}
				if !bytes.Equal(got, said) {
					t.Errorf("it heard %d octets, want the %d that were said", len(got), len(said))
				}
			})
		}
	}
}

// callGStreamer calls a new camera and returns what reached its loudspeaker.
func callGStreamer(t *testing.T, law, codec string, way camera.Transport, said []byte) (got []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "heard.raw")
	st := streams.Stream{ID: "x", Name: "x", Source: &streams.Source{URL: gstreamer(t, law, file), Transport: way}}
	i := New(Config{Step: 20 * time.Second})
	if v, err := i.Ask(t.Context(), st); err != nil || v.Codec != codec {
		t.Fatalf("asked: %+v %v", v, err)
	}
	call, err := i.Call(t.Context(), st, "anna")
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	for at := 0; at < len(said); at += Frame {
		if err := call.Say(said[at : at+Frame]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(step) // as it is spoken
	}
	// A camera that is slow to begin forgets what it has not played when the call ends.
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got, err = os.ReadFile(file); err == nil && len(got) >= len(said) {
			break
		}
	}
	call.Close()
	if err := call.Err(); err != nil {
		t.Error(err)
	}
	return got
}
