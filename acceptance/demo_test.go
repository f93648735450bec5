package acceptance

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// recorded waits until a stream has n fragments.
func recorded(s *server, name string, n int64) streamInfo {
	s.t.Helper()
	var v streamInfo
	s.until(fmt.Sprintf("%d fragments of %s", n, name), 60*time.Second, func() error {
		status, body, _ := s.do(http.MethodGet, "/v1/streams/"+name, nil)
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return err
		}
		if v.Fragments < n {
			return fmt.Errorf("%d fragments, state %s %s", v.Fragments, v.State, v.Reason)
		}
		return nil
	})
	return v
}

func TestDemoRecordsAndPlaysBack(t *testing.T) {
	s := start(t, "--demo")
	v := recorded(s, "demo", 3)
	if !v.Live {
		t.Errorf("the demo is %s, %s", v.State, v.Reason)
	}
	heads := s.fragments("demo")
	for i, h := range heads {
		if i > 0 && !h.Start.Equal(heads[i-1].End) {
			t.Errorf("fragment %s starts at %v, the one before ends at %v", h.Number, h.Start, heads[i-1].End)
		}
	}
	for _, ext := range []string{"mp4", "mkv", "ts"} {
		status, body, _ := s.do(http.MethodGet, "/v1/streams/demo/fragments/"+heads[0].Number.String()+"."+ext, nil)
		if status != http.StatusOK {
			t.Errorf("fragment as %s: %d %s", ext, status, body)
			continue
		}
		if n := decodes(t, save(t, "f."+ext, body)); n != 50 {
			t.Errorf("fragment as %s has %d frames, want 50", ext, n)
		}
	}
	path := fmt.Sprintf("/v1/streams/demo/clip.mp4?start=%d&end=%d", heads[0].Start.UnixMicro(), heads[1].End.UnixMicro())
	status, body, header := s.do(http.MethodGet, path, nil)
	if status != http.StatusOK || header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("clip: %d %v", status, header)
	}
	if n := decodes(t, save(t, "clip.mp4", body)); n != 100 {
		t.Errorf("the clip has %d frames, want 100", n)
	}
	status, part, _ := s.do(http.MethodGet, path, nil, "Range", "bytes=1000-1999")
	if status != http.StatusPartialContent || string(part) != string(body[1000:2000]) {
		t.Errorf("a byte range of the clip: %d, %d bytes", status, len(part))
	}
	status, still, _ := s.do(http.MethodGet, "/v1/streams/demo/still.jpg", nil)
	if status != http.StatusOK || len(still) < 1000 || string(still[:2]) != "\xff\xd8" {
		t.Errorf("still: %d, %d bytes", status, len(still))
	}
}

func TestTheRecordingOutlivesStopAndStart(t *testing.T) {
	s := start(t, "--demo")
	recorded(s, "demo", 2)
	if took := s.stop(); took > patience*5*time.Second {
		t.Errorf("SIGTERM took %v, want at most 5 s", took)
	}
	s.up()
	before := s.fragments("demo")
	if len(before) < 2 {
		t.Fatalf("%d fragments after a restart", len(before))
	}
	recorded(s, "demo", int64(len(before)+2))
	var line struct {
		Gaps []struct {
			Reason     string
			Start, End time.Time
		}
	}
	s.get("/v1/streams/demo/timeline?start=-10m&resolution=1ms", &line)
	found := false
	for _, g := range line.Gaps {
		found = found || (g.Start.After(before[0].Start) && g.Reason != "")
	}
	if !found {
		t.Errorf("the pause is no gap with a reason: %+v", line.Gaps)
	}
}

func TestAnonymousGetsNothing(t *testing.T) {
	s := start(t, "--demo")
	recorded(s, "demo", 1)
	for _, path := range []string{"/v1/streams", "/v1/streams/demo", "/v1/streams/demo/live.m3u8", "/v1/streams/demo/clip.mp4", "/v1/streams/demo/still.jpg",
		"/v1/streams/demo/fragments", "/v1/streams/demo/timeline", "/v1/streams/demo/ws", "/v1/system", "/v1/keys", "/v1/events", "/metrics", "/v1/streams/other"} {
		res, err := http.Get("http://" + s.http + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("GET %s without a token: %s", path, res.Status)
		}
	}
	if _, err := http.Get("http://" + s.rtsp + "/"); err == nil {
		t.Error(errors.New("the RTSP port answers HTTP"))
	}
}
