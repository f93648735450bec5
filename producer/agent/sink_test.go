package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/producer"
	"penstock/wire/kpl"
)

// sink is a server of data streams that remembers lines.
type sink struct {
	mu     sync.Mutex
	lines  map[string][]string // by stream
	keys   map[string]string   // of lines
	down   bool
	refuse string // an error code for every PutRecords
	grew   chan struct{}
}

func newSink() *sink {
	return &sink{lines: map[string][]string{}, keys: map[string]string{}, grew: make(chan struct{}, 1)}
}

func (s *sink) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "ListShards") {
		io.WriteString(w, `{"Shards":[{"ShardId":"shardId-000000000000","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"}}]}`)
		return
	}
	if s.refuse != "" {
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, s.refuse)
		return
	}
	var in struct {
		StreamName string
		Records    []struct {
			Data         []byte
			PartitionKey string
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		panic(err)
	}
	var out []map[string]string
	for _, r := range in.Records {
		var read kpl.Reader
		if !read.Reset(r.Data) {
			s.add(in.StreamName, r.PartitionKey, r.Data)
		}
		for _, rec := range read.All() {
			s.add(in.StreamName, rec.Key, rec.Data)
		}
		out = append(out, map[string]string{"ShardId": "shardId-000000000000", "SequenceNumber": "1"})
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"FailedRecordCount": 0, "Records": out}); err != nil {
		panic(err)
	}
}

func (s *sink) add(stream, key string, line []byte) {
	s.lines[stream] = append(s.lines[stream], string(line))
	s.keys[string(line)] = key
	select {
	case s.grew <- struct{}{}:
	default:
	}
}

func (s *sink) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *sink) got(stream string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines[stream])
}

// wait waits until ok is true of what the stream holds.
func (s *sink) wait(t *testing.T, stream string, what string, ok func([]string) bool) []string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		got := s.got(stream)
		if ok(got) {
			return got
		}
		select {
		case <-s.grew:
		case <-late:
			t.Fatalf("waited for %s; have %d lines, the last %q", what, len(got), got[max(0, len(got)-5):])
		}
	}
}

func count(n int) func([]string) bool { return func(l []string) bool { return len(l) >= n } }

// distinct drops doubles and keeps the order of what came first.
func distinct(lines []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool {
		old := seen[s]
		seen[s] = true
		return old
	})
}

// bench is a folder with log files, and an agent that can be started and stopped.
type bench struct {
	t    *testing.T
	dir  string
	sink *sink
	c    Config
	stop func()
	last *Agent
}

func newBench(t *testing.T, flows ...Flow) *bench {
	b := &bench{t: t, dir: t.TempDir(), sink: newSink(), stop: func() {}}
	if len(flows) == 0 {
		flows = []Flow{{Files: []string{"app.log"}, Stream: "logs", Key: Key{File: true}}}
	}
	for i := range flows {
		for j, p := range flows[i].Files {
			flows[i].Files[j] = filepath.Join(b.dir, p)
		}
	}
	b.c = Config{Flows: flows, State: filepath.Join(b.dir, "state"), Endpoint: "http://sink", Credentials: producer.Static("a", "b", ""),
		Poll: 5 * time.Millisecond, Save: 20 * time.Millisecond, Linger: 300 * time.Millisecond, Drain: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Producer: producer.Config{HTTP: &http.Client{Transport: b.sink}, BufferedTime: 2 * time.Millisecond, BackoffMax: 50 * time.Millisecond}}
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) start() {
	b.t.Helper()
	a, err := New(b.c)
	if err != nil {
		b.t.Fatal(err)
	}
	b.last = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			b.t.Error(err)
		}
		b.stop = func() {}
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// write appends lines from..to-1 to a file.
func (b *bench) write(name string, from, to int) {
	b.t.Helper()
	f, err := os.OpenFile(b.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := from; i < to; i++ {
		fmt.Fprintf(f, "line %d of a log that is long enough to be told from others\n", i)
	}
	if err := f.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) text(name, text string) {
	b.t.Helper()
	f, err := os.OpenFile(b.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.WriteString(f, text); err != nil {
		b.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) rename(from, to string) {
	b.t.Helper()
	if err := os.Rename(b.path(from), b.path(to)); err != nil {
		b.t.Fatal(err)
	}
}

// copyTruncate is what logrotate does with that option.
func (b *bench) copyTruncate(from, to string) {
	b.t.Helper()
	text, err := os.ReadFile(b.path(from))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path(to), text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Truncate(b.path(from), 0); err != nil {
		b.t.Fatal(err)
	}
}

// whole checks that lines 0..n-1 are there, in order but for doubles.
func (b *bench) whole(lines []string, n int) {
	b.t.Helper()
	lines = distinct(lines)
	for i := range n {
		if i >= len(lines) || !strings.HasPrefix(lines[i], fmt.Sprintf("line %d of", i)) {
			b.t.Fatalf("of %d lines there are %d; at %d: %q", n, len(lines), i, lines[min(i, len(lines)):min(i+3, len(lines))])
		}
	}
	if len(lines) != n {
		b.t.Fatalf("%d lines, more than were written: %q", len(lines), lines[n:min(n+3, len(lines))])
	}
}

// all waits for n distinct lines.
func all(n int) func([]string) bool { return func(l []string) bool { return len(distinct(l)) >= n } }
