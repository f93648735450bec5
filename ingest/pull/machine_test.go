package pull

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/ingest/camera"
)

var update = flag.Bool("update", false, "rewrite the transcripts")

// The transcripts hold one event per line, "SECONDS event [cause]", and what the
// machine answers, indented. "+media 12" is media that began and lasted 12 s.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/machine/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := transcribe(t, string(b))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(b) {
				t.Errorf("got:\n%s\nwant:\n%s", got, b)
			}
		})
	}
}

func transcribe(t *testing.T, script string) string {
	zero := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	var m Machine
	var out strings.Builder
	sc := bufio.NewScanner(strings.NewReader(script))
	for sc.Scan() {
		line := sc.Text()
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			fmt.Fprintln(&out, line)
			continue
		}
		if strings.HasPrefix(line, " ") {
			continue
		}
		fmt.Fprintln(&out, line)
		var at float64
		var what, cause string
		if n, err := fmt.Sscan(line, &at, &what, &cause); n < 2 {
			t.Fatalf("%q: %v", line, err)
		}
		e := Event{At: zero.Add(time.Duration(at * float64(time.Second)))}
		switch what {
		case "start":
			e.Kind = EventStart
		case "due":
			e.Kind = EventDue
		case "answered":
			e.Kind = EventAnswered
		case "silent":
			e.Kind = EventSilent
		case "media":
			e.Kind = EventMedia
			m.Worked(camera.Transport(cause))
		case "stop":
			e.Kind = EventStop
		case "trouble":
			e.Kind, e.Trouble = EventTrouble, &camera.Trouble{Cause: causeNamed(t, cause)}
		default:
			t.Fatalf("%q: unknown event", line)
		}
		a := m.Next(e)
		switch a.Kind {
		case ActionNone:
		case ActionWait:
			fmt.Fprintf(&out, "    wait %.4g s\n", a.Until.Sub(e.At).Seconds())
		default:
			fmt.Fprintf(&out, "    %s %s\n", a.Kind, a.Prefer)
		}
	}
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func causeNamed(t *testing.T, name string) camera.Cause {
	for c := camera.Cause(0); c < 100; c++ {
		if c.String() == name {
			return c
		}
	}
	t.Fatalf("no cause %q", name)
	return 0
}

func TestJitterStaysWithinItsShare(t *testing.T) {
	for _, chance := range []float64{0, 0.25, 0.5, 0.999999} {
		m := Machine{Chance: func() float64 { return chance }}
		for _, d := range []time.Duration{firstWait, longestWait, deniedWait, knockEvery} {
			got := m.spread(d)
			if got < d*8/10 || got > d*12/10 {
				t.Errorf("%v with chance %v: %v", d, chance, got)
			}
		}
	}
}
