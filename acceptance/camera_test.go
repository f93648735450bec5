package acceptance

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"penstock/internal/camsim"
)

// pulled makes a stream of a camera that has faults.
func pulled(t *testing.T, s *server, name string, faults camsim.Faults) *camsim.Server {
	t.Helper()
	cam, err := camsim.Serve(camsim.ServerConfig{Material: camsim.Record(camsim.NewDemo(), 10*time.Second), Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cam.Close() }) // its library calls being closed an error
	x := &interop{t: t, s: s, name: name}
	x.create(map[string]any{"url": cam.URL(0), "transport": "tcp"})
	return cam
}

func TestACameraWhoseClockJumpsLosesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	pulled(t, s, "jumpy", camsim.Faults{JumpEvery: 5 * time.Second, JumpBy: time.Hour})
	recorded(s, "jumpy", 8) // 16 s: three jumps
	heads := s.unbroken("jumpy", time.Time{})
	s.plays("jumpy", heads)
	var page struct{ Fragments []struct{ Run int } }
	s.get("/v1/streams/jumpy/fragments?start=-1h", &page)
	if first, last := page.Fragments[0].Run, page.Fragments[len(page.Fragments)-1].Run; last-first < 2 {
		t.Errorf("three jumps began %d new runs", last-first)
	}
	if gaps := s.gaps("jumpy"); len(gaps) > 0 {
		t.Errorf("gaps %+v", gaps)
	}
}

func TestACameraThatDropsIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	pulse, began := s.machine(), time.Now()
	cam := pulled(t, s, "shaky", camsim.Faults{DropEvery: 10 * time.Second})
	s.until("three connections broke", 60*time.Second, func() error {
		if n := cam.Plays(); n < 4 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	recorded(s, "shaky", 16)
	heads := s.fragments("shaky")
	span := heads[len(heads)-1].End.Sub(heads[0].Start)
	missing := time.Duration(0)
	for i := 1; i < len(heads); i++ {
		missing += heads[i].Start.Sub(heads[i-1].End)
	}
	late := pulse.Between(began, time.Now()) // in which nobody sent anything
	if share := (missing - late).Seconds() / span.Seconds(); share > 0.05 {
		t.Errorf("%v of %v is missing: %.1f %%, want at most 5 %%; the machine was %v late", missing, span, 100*share, late)
	}
	t.Logf("%v of %v is missing; the machine was %v late", missing, span, late)
	gaps := s.gaps("shaky")
	for _, g := range gaps {
		if g.Reason == "" || g.Reason == "unknown" {
			t.Errorf("a gap without a reason: %+v", g)
		}
	}
	if status, body, _ := s.do(http.MethodGet, "/v1/streams/shaky/vod.m3u8?start=-10m", nil); status != http.StatusOK {
		t.Errorf("playlist: %d %s", status, body)
	}
}

func TestSIGTERMUnderCamerasEndsInTime(t *testing.T) {
	t.Parallel()
	s := start(t)
	pulse := s.machine()
	names := recording(t, s, 8)
	asked := time.Now()
	if took := s.stop(); took > patience*5*time.Second {
		t.Errorf("SIGTERM took %v, want at most 5 s", took)
	}
	s.up()
	for _, name := range names {
		heads := s.fragments(name)
		if len(heads) == 0 {
			t.Errorf("%s: nothing was kept", name)
			continue
		}
		end := heads[len(heads)-1].End
		if asked.Sub(end)-pulse.Between(end, asked) > 6*time.Second {
			t.Errorf("%s: the open fragment was not sealed: %+v", name, heads)
		}
	}
}
