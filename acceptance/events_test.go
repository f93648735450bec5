package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// keeping is what an event says of the video that it keeps.
type keeping struct {
	ID        string
	End       *time.Time
	KeptFrom  time.Time `json:"kept_from"`
	KeptTo    time.Time `json:"kept_to"`
	KeptUntil *time.Time
	Open      bool
}

// mark sends a request that an event answers.
func (s *server) mark(method, path string, body object, want int) (e keeping) {
	s.t.Helper()
	status, text, _ := s.do(method, path, body)
	if status != want {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
	}
	if want < 300 && want != http.StatusNoContent {
		if err := json.Unmarshal(text, &e); err != nil {
			s.t.Fatal(err)
		}
	}
	return e
}

// clipOf asks for the clip of what an event keeps; it returns the frames, 0 with another
// status than 200.
func (s *server) clipOf(name string, e keeping) (status, frames int) {
	s.t.Helper()
	path := fmt.Sprintf("/v1/streams/%s/clip.mp4?start=%d&end=%d", name, e.KeptFrom.UnixMicro(), e.KeptTo.UnixMicro())
	status, body, _ := s.do(http.MethodGet, path, nil)
	if status == http.StatusOK {
		frames = decodes(s.t, save(s.t, "event.mp4", body))
	}
	return status, frames
}

// TestAnEventKeepsItsVideo has the video of an event outlive all that was recorded beside
// it, a kill and a start, and go with the event. Here a limit of bytes makes old what
// elsewhere takes a retention of an hour at least.
func TestAnEventKeepsItsVideo(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "penstock.yaml")
	if err := os.WriteFile(config, []byte("storage:\n  chunk: 4s\n  fragment: 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--demo", "--config", config)
	const events = "/v1/streams/demo/events"
	recorded(s, "demo", 6)
	first := s.fragments("demo")[0]

	// What a worker does: it begins an event, and ends it; and tries the first again.
	begun := s.mark("POST", events, object{"id": "visit", "kind": "person", "open": true, "before": "2s", "after": "1s", "keep": "30d"}, http.StatusCreated)
	s.mark("POST", events, object{"id": "plain", "kind": "motion"}, http.StatusCreated)
	recorded(s, "demo", 10)
	s.kill() // an event that goes on does so over a crash
	s.up()
	if e := s.mark("POST", events, object{"id": "visit", "kind": "person", "open": true}, http.StatusOK); !e.Open || !e.KeptFrom.Equal(begun.KeptFrom) {
		t.Fatalf("after a kill the open event is %+v, it was %+v", e, begun)
	}
	recorded(s, "demo", 12)
	visit := s.mark("PATCH", events+"/visit", object{"end": "now"}, http.StatusOK)
	s.until("the second after the event", 20*time.Second, func() error {
		if v := s.stream("demo"); v.Last.Before(visit.KeptTo) {
			return fmt.Errorf("recorded to %v of %v", v.Last, visit.KeptTo)
		}
		return nil
	})
	status, frames := s.clipOf("demo", visit)
	if status != http.StatusOK || frames == 0 {
		t.Fatalf("its clip: %d, %d frames", status, frames)
	}

	var would struct {
		Delete struct{ Fragments, Bytes int64 }
		Kept   int64 `json:"kept_bytes"`
	}
	recorded(s, "demo", 30)
	status, body, _ := s.do("PATCH", "/v1/streams/demo?preview=true", object{"retention_bytes": "1MiB"})
	if err := json.Unmarshal(body, &would); status != http.StatusOK || err != nil {
		t.Fatalf("preview: %d %s", status, body)
	}
	t.Logf("a limit of 1 MiB would delete %+v", would)
	if status, body, _ = s.do("PATCH", "/v1/streams/demo", object{"retention_bytes": "1MiB"}); status != http.StatusOK {
		t.Fatalf("limit: %d %s", status, body)
	}
	gone := func() error {
		heads := s.fragments("demo")
		kept, past := 0, 0
		for _, h := range heads {
			switch {
			case h.Start.Before(visit.KeptTo) && h.End.After(visit.KeptFrom):
				kept++
			case h.Start.Before(visit.KeptTo.Add(2 * time.Second)):
				past++
			}
		}
		if kept == 0 {
			t.Fatalf("the video of the event is gone: %+v", heads)
		}
		if past > 0 || heads[0].Number == first.Number {
			return fmt.Errorf("%d fragments beside the event are there yet", past)
		}
		if status, _, _ := s.do("GET", events+"/plain", nil); status != http.StatusNotFound {
			return fmt.Errorf("the event that keeps nothing answers %d", status)
		}
		return nil
	}
	s.until("all but the event to expire", 3*time.Minute, gone)
	again := func(when string) {
		t.Helper()
		if status, n := s.clipOf("demo", visit); status != http.StatusOK || n < frames-1 {
			t.Errorf("%s its clip: %d, %d frames; there were %d", when, status, n, frames)
		}
		var v struct {
			Kept int64 `json:"kept_bytes"`
		}
		s.get("/v1/streams/demo", &v)
		if v.Kept <= 0 {
			t.Errorf("%s %d bytes are kept", when, v.Kept)
		}
	}
	again("when the rest expired")
	s.kill()
	s.up()
	again("after kill -9")
	if err := gone(); err != nil {
		t.Errorf("after kill -9: %v", err)
	}

	s.mark("DELETE", events+"/visit", nil, http.StatusNoContent)
	s.until("the video to go with its event", 2*time.Minute, func() error {
		if status, _ := s.clipOf("demo", visit); status != http.StatusNotFound {
			return fmt.Errorf("the clip answers %d", status)
		}
		var v struct {
			Kept int64 `json:"kept_bytes"`
		}
		if s.get("/v1/streams/demo", &v); v.Kept != 0 {
			return fmt.Errorf("%d bytes are kept", v.Kept)
		}
		return nil
	})
}
