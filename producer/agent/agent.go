// Package agent sends what programs append to log files into data streams: it tails
// files that patterns name, follows them through rotation (renamed, or copied and
// emptied), makes a record of each line or of several, and remembers durably how far
// everything is stored.
//
// It is at-least-once: a checkpoint never covers a line that the server did not say it
// stored, so that after a crash of the agent or of the machine some lines may come
// twice, none is left out. What it cannot do: read lines that a rotation while it was
// down compressed or removed. Lines of one key keep their order.
//
// Files are looked at four times a second rather than watched: that works on every file
// system, and costs one stat a file.
package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"

	"penstock/internal/host"
	"penstock/producer"
)

// Defaults of Config and Flow.
const (
	pollDefault    = 250 * time.Millisecond
	saveDefault    = time.Second
	gatherDefault  = 2 * time.Second
	lingerDefault  = time.Minute
	drainDefault   = 10 * time.Second
	troubleDefault = 5 * time.Second
	troubleMax     = time.Minute
	recordMaxAgent = 1<<20 - producer.KeyMax*4 // a line that any stream takes with any key
	pendingPerFlow = 32 << 20
	filesMax       = 10_000 // of one flow
)

// Config says which files go where. Flows, State and Credentials are needed.
type Config struct {
	Flows       []Flow
	State       string // folder of the checkpoints; one agent at a time may use it
	Endpoint    string // of the server; empty: Amazon's
	Region      string
	Credentials producer.Credentials

	Poll   time.Duration // how often files are looked at: 250 ms
	Save   time.Duration // how often checkpoints are written: 1 s
	Linger time.Duration // how long a file that was rotated away is kept open after it last grew: 1 min
	Drain  time.Duration // how long the end of Run waits for what was read to be stored: 10 s

	// Producer is laid under what each flow's producer is made with: HTTP, limits, ...
	Producer producer.Config
	FS       host.FS // of the checkpoints: host.OS
	Logger   *slog.Logger
}

// Flow is files that go into one data stream.
type Flow struct {
	Name   string   // of its checkpoint; the stream's name when empty
	Files  []string // patterns as of path/filepath.Match; compressed files are passed over
	Stream string
	Key    Key
	// Start begins a record of several lines: a line that matches, and those after it
	// that do not. Nil: every line is a record.
	Start  *regexp.Regexp
	Gather time.Duration // with Start: how long to wait for more lines: 2 s
	// FromEnd leaves out what files hold when the flow runs for the first time.
	FromEnd bool
}

// Key says which partition key a line has. The zero value is a random one each.
type Key struct {
	File bool // the file's path, so that its lines stay in order
	// Pattern takes the first group, or the whole match, from the record; a record that
	// does not match has the file's path.
	Pattern *regexp.Regexp
}

// Agent sends files. Make it with New.
type Agent struct {
	c     Config
	flows []*flow
}

// New checks c.
func New(c Config) (*Agent, error) {
	c.Poll = cmp.Or(c.Poll, pollDefault)
	c.Save = cmp.Or(c.Save, saveDefault)
	c.Linger = cmp.Or(c.Linger, lingerDefault)
	c.Drain = cmp.Or(c.Drain, drainDefault)
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.State == "" {
		return nil, errors.New("agent: state: no folder for the checkpoints is named")
	}
	if len(c.Flows) == 0 {
		return nil, errors.New("agent: flows: there are none")
	}
	a := &Agent{c: c}
	names := map[string]bool{}
	for i, f := range c.Flows {
		if f.Name == "" {
			f.Name = f.Stream
		}
		if names[f.Name] {
			return nil, fmt.Errorf("agent: flows[%d]: another is called %q: give each a name", i, f.Name)
		}
		names[f.Name] = true
		f.Gather = cmp.Or(f.Gather, gatherDefault)
		if len(f.Files) == 0 {
			return nil, fmt.Errorf("agent: flows[%d].files: there are none", i)
		}
		for _, p := range f.Files {
			if _, err := filepath.Match(p, ""); err != nil {
				return nil, fmt.Errorf("agent: flows[%d].files: %q: %w", i, p, err)
			}
		}
		fl, err := newFlow(c, f)
		if err != nil {
			return nil, fmt.Errorf("agent: flows[%d]: %w", i, err)
		}
		a.flows = append(a.flows, fl)
	}
	return a, nil
}

// Run sends until ctx ends, or a checkpoint cannot be read. It then sends what it has
// read, for at most Drain, and saves.
func (a *Agent) Run(ctx context.Context) error {
	if err := os.MkdirAll(a.c.State, 0o700); err != nil {
		return fmt.Errorf("make the checkpoints' folder: %w", err)
	}
	if err := a.c.FS.SyncDir(filepath.Dir(filepath.Clean(a.c.State))); err != nil { // or a power cut forgets it with all that is in it
		return fmt.Errorf("make the checkpoints' folder: %w", err)
	}
	lock, err := host.Lock(filepath.Join(a.c.State, "LOCK"))
	if err != nil {
		return fmt.Errorf("%s: %w: is another agent running?", a.c.State, err)
	}
	defer lock.Close()
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range a.flows {
		g.Go(func() error { return f.run(ctx) })
	}
	return g.Wait()
}

// Stats are figures of a flow.
type Stats struct {
	Files    int   // open ones
	Records  int64 // read
	Bytes    int64 // of records
	Cut      int64 // records longer than a record may be, sent in pieces
	Refused  int64 // records that the server would not take
	Lost     int64 // times that a file was emptied and its unread rest was not found
	Producer producer.Stats
}

// Stats returns the figures of each flow, by name.
func (a *Agent) Stats() map[string]Stats {
	out := map[string]Stats{}
	for _, f := range a.flows {
		out[f.Name] = f.figures()
	}
	return out
}

// stateName is the checkpoint file of a flow: names may hold anything.
func stateName(dir, flow string) string {
	sum := sha256.Sum256([]byte(flow))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".json")
}
