package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// auditLines are the server's audit lines, as "decision action object-tail detail".
func (s *server) auditLines(t *testing.T) (lines []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "audit", "server", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("audit files: %v %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var l struct{ Action, Principal, Remote, Object, Decision, Detail string }
			if json.Unmarshal([]byte(line), &l) != nil {
				continue // being written now
			}
			if l.Remote == "" && l.Principal != "" {
				t.Errorf("no address: %s", line)
			}
			lines = append(lines, strings.Join([]string{l.Decision, l.Action, l.Principal, l.Object, l.Detail}, " "))
		}
	}
	return lines
}

func TestTheAuditLogTellsWhoWatchedAndWhoWasRefused(t *testing.T) {
	s := start(t, "--demo")
	recorded(s, "demo", 2)
	var k struct {
		ID    string `json:"access_key_id"`
		Token string
	}
	status, body, _ := s.do("POST", "/v1/keys", map[string]any{"role": "operator", "name": "wall"})
	if err := json.Unmarshal(body, &k); status != http.StatusCreated || err != nil {
		t.Fatalf("key: %d %s", status, body)
	}
	running := []<-chan struct{}{s.keepSocket(t, k.Token), s.keepPlaying(t, k.Token), s.keepPushing(t, k.Token)}
	began := time.Now()
	for range 20 {
		s.do("GET", "/v1/streams/demo/live.m3u8", nil, "Authorization", "Bearer "+k.Token)
		s.do("GET", "/v1/streams/demo/still.jpg", nil, "Authorization", "Bearer "+k.Token)
		s.do("DELETE", "/v1/streams/demo", nil, "Authorization", "Bearer pst_nonsense")
		s.do("DELETE", "/v1/streams/nosuch", nil)
	}
	minutes := int(time.Since(began) / time.Minute) // a refusal is written down again each minute
	if c, err := s.dialRTSP(); err == nil {
		_, _, err := c.ask("DESCRIBE", "rtsp://"+s.rtsp+"/demo", []string{basic("spy", "guess")}, "")
		if err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
	if status, _, _ := s.do("DELETE", "/v1/keys/"+k.ID, nil); status != http.StatusNoContent {
		t.Fatalf("remove key: %d", status)
	}
	for _, ended := range running {
		within(t, s.machine(), "what the key had running", ended, time.Now())
	}
	wall := " arn:aws:iam::000000000000:user/wall arn:aws:kinesisvideo:us-east-1:000000000000:stream/"
	want := map[string]int{ // lines that begin so; how many of them
		"allow kinesisvideo:CreateStream" + wall + "pushed/":                1,
		"allow kinesisvideo:GetHLSStreamingSessionURL" + wall + "demo/":     1,
		"allow kinesisvideo:GetImages" + wall + "demo/":                     1,
		"allow kinesisvideo:GetMedia" + wall + "demo/":                      4, // socket and player, start and stop
		"allow kinesisvideo:PutMedia" + wall + "pushed/":                    2,
		"deny kinesisvideo:DeleteStream anonymous demo":                     1,
		"deny kinesisvideo:DeleteStream arn:aws:iam::000000000000:user/":    1,
		"deny kinesisvideo:GetMedia anonymous demo":                         1,
		"allow penstock:ManageKeys arn:aws:iam::000000000000:user/admin PS": 2,
	}
	s.until("the lines are there", 20*time.Second, func() error {
		lines := s.auditLines(t)
		for begin, n := range want {
			got := 0
			for _, l := range lines {
				if strings.HasPrefix(l, begin) {
					got++
				}
			}
			most := n
			if strings.Contains(begin, "DeleteStream") {
				most += minutes
			}
			if got < n || got > most {
				return fmt.Errorf("%d lines begin with %q, want %d:\n%s", got, begin, n, strings.Join(lines, "\n"))
			}
		}
		return nil
	})
	verify := func() (string, error) {
		out, err := exec.Command(binary, "audit", "verify", "--data", s.dir).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(); err != nil { // beside the running server
		t.Errorf("audit verify: %v\n%s", err, out)
	}
	s.stop()
	files, err := filepath.Glob(filepath.Join(s.dir, "audit", "server", "*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.Replace(text, []byte("user/wall"), []byte("user/hall"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err == nil || !strings.Contains(out, "BROKEN") {
		t.Errorf("one name changed: %v\n%s", err, out)
	}
}
