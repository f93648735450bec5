package main

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"penstock/internal/camsim"
	"penstock/media"
)

// ear is what a camera heard.
type ear struct {
	mu     sync.Mutex
	octets []byte
}

func (e *ear) hear(p *rtp.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.octets = append(e.octets, p.Payload...)
}

// heard takes what was heard since.
func (e *ear) heard() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.octets
	e.octets = nil
	return b
}

func TestTalkSaysAFile(t *testing.T) {
	var e ear
	cam, err := camsim.Serve(camsim.ServerConfig{Back: camsim.PCMA, Speaker: e.hear, Auth: camsim.Digest, Username: "u", Password: "p@/:", Material: camsim.Record(camsim.NewDemo(), 2*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	deaf, err := camsim.Serve(camsim.ServerConfig{Material: camsim.Record(camsim.NewDemo(), 2*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	c := defaults()
	c.Data, c.HTTP, c.RTSP, c.Allow = t.TempDir(), "127.0.0.1:0", "off", []string{"127.0.0.0/8"}
	d, err := openDaemon(t.Context(), c, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	runs(t, d)
	run := asKey(t, d, "--role=operator")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("p@/:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"camera", "add", "front", cam.URL(0), "--user", "u", "--password-file", file}, {"camera", "add", "deaf", deaf.URL(0)}, {"stream", "create", "pushed"},
	} {
		if code, out, errs := run("", args...); code != 0 {
			t.Fatalf("%v: exit %d %s%s", args, code, out, errs)
		}
	}
	wav := []byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\xff\xff\xff\xff")
	var want []byte
	for i := range 1000 { // 125 ms
		v := int16(i * 30)
		wav = binary.LittleEndian.AppendUint16(wav, uint16(v))
		want = append(want, media.ToALaw(v))
	}
	speech := filepath.Join(t.TempDir(), "hello.wav")
	if err := os.WriteFile(speech, wav, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		in   string
		args []string
		code int
		out  string
		errs string
	}{
		{"", []string{"talk", "front"}, 0, "PCMA, 8000 Hz\n", ""},
		{"", []string{"talk", "front", "-o", "name"}, 0, "PCMA\n", ""},
		{"", []string{"talk", "deaf"}, 0, "talk to deaf: the camera offers no two-way audio (it describes none)\n", "try: "},
		{"", []string{"talk", "front", speech}, 0, "", "said 130ms to front"},
		{string(wav), []string{"talk", "front", "-"}, 0, "", "said 130ms to front"},
		{"", []string{"talk", "front", "/no/such/file"}, exitNotFound, "", "no such file"},
		{"RIFF....WAVEdata....", []string{"talk", "front", "-"}, exitFailed, "", "ffmpeg"},
		{"hello", []string{"talk", "deaf", "-"}, exitFailed, "", "no two-way audio"},
		{"hello", []string{"talk", "pushed", "-"}, exitFailed, "", "pushed here"},
		{"hello", []string{"talk", "nowhere", "-"}, exitNotFound, "", "no such stream"},
	} {
		code, out, errs := run(s.in, s.args...)
		if code != s.code || out != s.out || s.errs == "" && errs != "" || !strings.Contains(errs, s.errs) {
			t.Errorf("%v: exit %d, printed %q and %q, want %d, %q and %q", s.args, code, out, errs, s.code, s.out, s.errs)
		}
		if strings.Contains(s.errs, "said") {
			for _, out, _ := run("", "talk", "front", "-o", "json"); !strings.Contains(out, `"busy": null`); _, out, _ = run("", "talk", "front", "-o", "json") {
				if t.Context().Err() != nil {
					t.Fatalf("the call does not end: %s", out)
				}
			}
			if got := e.heard(); !bytes.HasPrefix(got, want) || len(got) != 1120 {
				t.Errorf("%v: the camera heard %d octets", s.args, len(got))
			}
		}
	}
	if code, out, errs := asKey(t, d, "--role=viewer")("hello", "talk", "front", "-"); code != exitDenied || out != "" || !strings.Contains(errs, "penstock:Talk") {
		t.Errorf("a viewer: exit %d %q %q", code, out, errs)
	}
	// The camera's picture went on all the while, on its first connection.
	if n := cam.Plays(); n > 1 {
		t.Errorf("%d sessions for pictures, want the one that records", n)
	}
}
