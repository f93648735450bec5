// Package lane keeps a storage.Lane in files of its own, and makes group commits on any
// storage.Lane.
//
// Files is the lane on one machine: batches one behind the other in large files that are
// written before they are needed, so that a commit is one write and one fdatasync that has
// no metadata to store. docs/format/lane.md has the bytes and what recovery does.
//
// Writer gathers what many goroutines put while a commit is under way and makes it the
// next one. Nothing waits for company: the commit before is the only linger.
//
// What a batch holds, and when it is no longer needed, is its owner's business.
package lane

import (
	"context"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/host"
	"penstock/storage"
)

// Config of Files.
type Config struct {
	Dir        string                // holds this lane's files and nothing else; made when missing; required
	FS         host.FS               // nil: host.OS
	FileSize   int64                 // bytes a file grows to; 0: 256 MiB. The first files of a lane are smaller
	Clock      host.Clock            // nil: host.System
	Rand       io.Reader             // the lane's secret comes from it; nil: crypto/rand.Reader
	Name       string                // the label "lane"; "": "0"
	Logger     *slog.Logger          // nil: slog.Default
	Registerer prometheus.Registerer // nil: measured for nobody
}

// Files is a storage.Lane in a directory. Open makes it, Close ends it.
type Files struct{}

var _ storage.Lane = (*Files)(nil)

// Recovery is what Open found.
type Recovery struct {
	Torn   int64             // bytes of the batch that a crash left unfinished, cut off; 0: none
	Damage []*storage.Damage // ranges whose batches cannot even be located; Replay yields them too
}

// Open opens the lane in cfg.Dir, or makes it, and recovers it: a batch that a crash left
// unfinished is cut off, and the newest whole one is made durable anew.
func Open(ctx context.Context, cfg Config) (*Files, error) { panic("unfinished") }

// Recovery returns what Open found.
func (f *Files) Recovery() Recovery { panic("unfinished") }

// Close ends the lane: everything that was appended is durable already. Twice is fine.
func (f *Files) Close() error { panic("unfinished") }
