package acceptance

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
)

// setting is a number of the environment: in CI inCI where it is not set, elsewhere short.
func setting(t *testing.T, name string, inCI, short int) int {
	text := os.Getenv(name)
	switch {
	case text != "":
	case os.Getenv("PENSTOCK_CI") == "1":
		return inCI
	default:
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// crashes is how many times TestCrash kills the server: PENSTOCK_CRASHES, else 50 in CI
// and a short form elsewhere.
func crashes(t *testing.T) int { return setting(t, "PENSTOCK_CRASHES", 50, 6) }

// persistedHead is a head as it was when the server said that it is durable.
type persistedHead struct {
	head
	Persisted bool
}

func TestCrash(t *testing.T) {
	t.Parallel()
	s := start(t)
	pulse := s.machine()
	names := recording(t, s, 8)
	rng := rand.New(rand.NewPCG(11, 20))
	var ready []time.Duration
	for n := range crashes(t) {
		time.Sleep(time.Duration(rng.IntN(2500)) * time.Millisecond) // the instant of the crash is the experiment
		kept := map[string][]persistedHead{}
		for _, name := range names {
			kept[name] = s.persisted(name)
		}
		s.kill()
		begin := time.Now()
		s.up()
		ready = append(ready, pulse.Took(begin))
		for _, name := range names {
			s.sameAsBefore(n, name, kept[name])
		}
		for _, name := range names {
			s.until(name+" is back", 15*time.Second, func() error {
				if v := s.stream(name); !v.Live {
					return fmt.Errorf("%s %s", v.State, v.Reason)
				}
				return nil
			})
		}
	}
	s.stop()
	if out, err := exec.Command(binary, "verify", s.dir).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	slices.Sort(ready)
	half, most := ready[len(ready)/2], ready[len(ready)-1]
	t.Logf("ready again after %v in half of the crashes, after %v at most", half, most)
	// One may fall into a moment in which the machine does other things; half may not.
	if half > 5*time.Second {
		t.Errorf("ready again after %v in half of the crashes", half)
	}
}

// persisted lists the fragments of the last 30 s that the server says are durable.
func (s *server) persisted(name string) []persistedHead { return s.persistedSince(name, "-30s") }

// persistedSince lists those from an instant on.
func (s *server) persistedSince(name, start string) []persistedHead {
	s.t.Helper()
	var page struct{ Fragments []persistedHead }
	s.get("/v1/streams/"+name+"/fragments?start="+start+"&limit=1000", &page)
	var out []persistedHead
	for _, h := range page.Fragments {
		if h.Persisted {
			out = append(out, h)
		}
	}
	return out
}

// sameAsBefore checks that every fragment that was durable is there, with its times,
// that the newest plays, and that nothing overlaps.
func (s *server) sameAsBefore(crash int, name string, kept []persistedHead) {
	s.t.Helper()
	now := map[string]head{}
	all := s.fragments(name)
	for i, h := range all {
		now[h.Number.String()] = h
		if i > 0 && h.Start.Before(all[i-1].End) {
			s.t.Errorf("crash %d: %s: fragment %s overlaps the one before", crash, name, h.Number)
		}
	}
	for _, h := range kept {
		got, ok := now[h.Number.String()]
		if !ok || !got.Start.Equal(h.Start) || !got.End.Equal(h.End) {
			s.t.Errorf("crash %d: %s: fragment %s was persisted (%v to %v) and is now %+v", crash, name, h.Number, h.Start, h.End, got)
		}
	}
	if len(kept) == 0 {
		return
	}
	status, body, _ := s.do(http.MethodGet, "/v1/streams/"+name+"/fragments/"+kept[len(kept)-1].Number.String()+".mp4", nil)
	if status != http.StatusOK {
		s.t.Errorf("crash %d: %s: the last persisted fragment answers %d %s", crash, name, status, body)
		return
	}
	if n := decodes(s.t, save(s.t, "last.mp4", body)); n == 0 {
		s.t.Errorf("crash %d: %s: the last persisted fragment is empty", crash, name)
	}
}
