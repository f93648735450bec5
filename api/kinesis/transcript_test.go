package kinesis

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"penstock/api/kinesis/shape"
	"penstock/auth"
	"penstock/wire/eventstream"
)

var update = flag.Bool("update", false, "rewrite the answers of the transcripts")

// TestTranscripts replays testdata/*.txtar: calls, each followed by its exact answer, at a
// clock that stands still. A file is a call when its name begins with an operation; more
// words may follow for people. Other files are steps: "clock 6m", "restart", "settle STREAM", "key NAME
// ROLE", after which "as NAME" in a call's name signs with that key. Iterators and tokens
// are shown as <iterator N> and may be sent so. A first line "setup: WORDS" sets options.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range shape.Model().Operations {
		if !slices.Contains(files, filepath.Join("testdata", op.Name+".txtar")) {
			t.Errorf("there is no transcript of %s", op.Name)
		}
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { replay(t, file) })
	}
}

// opaque is what iterators and tokens look like.
var opaque = regexp.MustCompile(`AAAAAAAAAA[E-H][A-Za-z0-9+/]{60,}={0,2}`)

type script struct {
	*rig
	keys   map[string]auth.Issued
	opaque []string
}

func replay(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{rig: newRig(t, setup(t, string(archive.Comment))), keys: map[string]auth.Issued{}}
	var out []txtar.File
	for i := 0; i < len(archive.Files); i++ {
		f := archive.Files[i]
		out = append(out, f)
		if s.step(f.Name) {
			continue
		}
		answer := s.call(f)
		want := ""
		if i+1 < len(archive.Files) && archive.Files[i+1].Name == "answer" {
			i++
			want = string(archive.Files[i].Data)
		}
		if out = append(out, txtar.File{Name: "answer", Data: []byte(answer)}); answer != want && !*update {
			t.Errorf("%s\n%s--- is\n%s--- should be\n%s", f.Name, f.Data, answer, want)
		}
	}
	if archive.Files = out; *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// setup reads the options of a transcript.
func setup(t *testing.T, comment string) (o options) {
	_, words, _ := strings.Cut(comment, "setup:")
	words, _, _ = strings.Cut(words, "\n")
	for _, w := range strings.Fields(words) {
		switch name, value, _ := strings.Cut(w, "="); name {
		case "delayed":
			o.streams.StateDelay = stateDelay // until the transcript settles it
		case "limits":
			o.limits = true
		case "rates":
			o.kinesis.CallLimits = true
		case "quota":
			fmt.Sscan(value, &o.streams.ShardLimit)
		case "on-demand":
			fmt.Sscan(value, &o.streams.OnDemandLimit)
		case "life":
			o.kinesis.SubscriptionLife = must[time.Duration](t)(time.ParseDuration(value))
		default:
			t.Fatalf("setup has no %s", w)
		}
	}
	return o
}

// step does what is no call.
func (s *script) step(name string) bool {
	words := strings.Fields(name)
	switch words[0] {
	case "clock":
		s.clock.add(must[time.Duration](s.t)(time.ParseDuration(words[1])))
	case "restart":
		s.restart()
	case "settle":
		s.settle(words[1])
	case "key":
		s.keys[words[1]] = s.key(auth.NewKey{Name: words[1], Role: words[2]})
	default:
		return false
	}
	return true
}

// settle waits until a stream and its consumers are in no state of passage.
func (s *script) settle(stream string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := s.data.Get(ctx, testAccount, testRegion, stream)
	if err != nil {
		return
	}
	s.clock.gate.Open()
	defer s.clock.gate.Close()
	if err := st.Settled(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// call sends one request and writes the answer down.
func (s *script) call(f txtar.File) string {
	words := strings.Fields(f.Name)
	as := s.admin
	for i, w := range words {
		if w == "as" && i+1 < len(words) {
			as = s.keys[words[i+1]]
		}
	}
	body := strings.TrimSuffix(string(f.Data), "\n")
	for i, text := range s.opaque {
		body = strings.ReplaceAll(body, fmt.Sprintf("<iterator %d>", i+1), text)
	}
	body = regexp.MustCompile(`"<(\d+) bytes>"`).ReplaceAllStringFunc(body, func(m string) string {
		n := 0
		fmt.Sscanf(m, `"<%d bytes>"`, &n)
		return `"` + strings.Repeat("A", (n+2)/3*4-(3-n%3)%3) + strings.Repeat("=", (3-n%3)%3) + `"`
	})
	status, answer := s.do(as, words[0], body)
	answer = messages(answer)
	answer = opaque.ReplaceAllStringFunc(answer, func(text string) string {
		for i, known := range s.opaque {
			if known == text {
				return fmt.Sprintf("<iterator %d>", i+1)
			}
		}
		s.opaque = append(s.opaque, text)
		return fmt.Sprintf("<iterator %d>", len(s.opaque))
	})
	return fmt.Sprintf("%d %s\n", status, answer)
}

// messages shows an event stream message by message; other answers as they are.
func messages(answer string) string {
	var b strings.Builder
	for rest := []byte(answer); len(rest) > 0; {
		m, n, err := eventstream.Decode(rest)
		if err != nil {
			return answer
		}
		rest = rest[n:]
		fmt.Fprintf(&b, "\n%s%s %s", m.Get(":event-type"), m.Get(":exception-type"), m.Payload)
	}
	return b.String()
}
