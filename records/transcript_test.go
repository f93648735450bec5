package records

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// stopped is a clock that only a test moves; its timers are real.
type stopped struct{ ms atomic.Int64 }

func (c *stopped) Now() time.Time                       { return time.UnixMilli(c.ms.Load()) }
func (c *stopped) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// TestShardsAsATranscript runs the commands of testdata/shards.txt and compares what they
// show. -update writes it anew.
func TestShardsAsATranscript(t *testing.T) {
	name := filepath.Join("testdata", "shards.txt")
	script, err := os.ReadFile(name)
	must(t, err)
	clock := &stopped{}
	clock.ms.Store(born * 1000)
	r := newRig(t, func(c *Config) { c.Clock = clock })
	var out bytes.Buffer
	for line := range strings.Lines(string(script)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"), line == "":
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&out, line)
			transcribe(t, r, clock, strings.Fields(line[2:]), &out)
		}
	}
	if *update {
		must(t, os.WriteFile(name, out.Bytes(), 0o644))
		return
	}
	if out.String() != string(script) {
		t.Errorf("the transcript is now:\n%s", out.String())
	}
}

// transcribe runs one command.
func transcribe(t *testing.T, r *rig, clock *stopped, words []string, out *bytes.Buffer) {
	ctx := context.Background()
	number := func(i int) int {
		n, err := strconv.Atoi(words[i])
		must(t, err)
		return n
	}
	var err error
	switch words[0] {
	case "create":
		_, err = r.store.Create(ctx, "s", clock.Now(), number(1))
	case "advance":
		d, derr := time.ParseDuration(words[1])
		must(t, derr)
		clock.ms.Add(d.Milliseconds())
	case "restart":
		r.restart()
	case "split":
		hi, perr := strconv.ParseUint(words[2], 16, 64)
		must(t, perr)
		err = r.log("s").Split(ctx, ShardID(number(1)), HashKey{hi << (64 - 4*len(words[2])), 0})
	case "merge":
		err = r.log("s").Merge(ctx, ShardID(number(1)), ShardID(number(2)))
	case "reshard":
		err = r.log("s").Reshard(ctx, number(1))
	case "put":
		for _, p := range put(t, r.log("s"), words[1:]...) {
			fmt.Fprintf(out, "%d of shard %d at %d: %v\n", p.Seq.Index(), p.Shard, p.Seq.Time().Unix()-born, p.Seq)
		}
	case "shards":
		parent := func(id ShardID) string {
			if id == NoShard {
				return "-"
			}
			return strconv.Itoa(int(id))
		}
		for _, s := range r.log("s").Shards() {
			end := "open"
			if !s.Open() {
				end = fmt.Sprintf("closed at %d.%03d, %v", s.Closed.Unix()-born, s.Closed.UnixMilli()%1000, s.End)
			}
			fmt.Fprintf(out, "%d  %s %s  %016x..%016x  from %d, %v, %s\n", s.ID, parent(s.Parent), parent(s.Adjacent), s.From.Hi, s.To.Hi, s.Opened.Unix()-born, s.Start, end)
		}
	default:
		t.Fatal(words)
	}
	if err != nil {
		fmt.Fprintln(out, "refused:", err)
	}
}
