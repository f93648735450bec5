package acceptance

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"penstock/internal/repotest"
)

func TestHealthCommandFollowsTheServer(t *testing.T) {
	s := start(t)
	ask := func() (string, error) {
		cmd := exec.Command(binary, "health")
		cmd.Env = append(os.Environ(), "PENSTOCK_HTTP="+s.http)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := ask(); err != nil {
		t.Errorf("with a server: %v\n%s", err, out)
	}
	s.stop()
	out, err := ask()
	if err == nil || !strings.Contains(out, "try: ") {
		t.Errorf("without a server: %v\n%s", err, out)
	}
}

func TestAPersonsPasswordOpensRTSP(t *testing.T) {
	ffprobe := repotest.Need(t, "ffprobe")
	s := start(t, "--demo")
	const password = "correct: horse @ 7"
	if status, body, _ := s.do(http.MethodPost, "/v1/password", map[string]string{"password": password}); status != http.StatusNoContent {
		t.Fatalf("set password: %d %s", status, body)
	}
	recorded(s, "demo", 1)
	for _, p := range []struct {
		password string
		ok       bool
	}{{password, true}, {"wrong horse", false}} {
		address := (&url.URL{Scheme: "rtsp", User: url.UserPassword("admin", p.password), Host: s.rtsp, Path: "/demo"}).String()
		out, err := repotest.Command(t, ffprobe, "-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=codec_name", "-of", "csv=p=0", address).CombinedOutput()
		if got := err == nil && strings.Contains(string(out), "h264"); got != p.ok {
			t.Errorf("password %q: %v\n%s", p.password, err, out)
		}
	}
}
