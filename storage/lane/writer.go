package lane

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/host"
	"penstock/storage"
)

// WriterConfig of a Writer. The zero value is fit for use.
type WriterConfig struct {
	MaxBatch   int                   // bytes of entries after which a batch is full; 0: 4 MiB
	MaxPending int                   // bytes that wait for or are in a commit before Put waits; 0: 16 MiB
	Committed  func(*Commit)         // called for each commit, see Commit; may be nil
	Clock      host.Clock            // stamps the batches; nil: host.System
	Name       string                // the label "lane"; "": "0"
	Registerer prometheus.Registerer // nil: measured for nobody
}

// Commit is a batch that is durable, as the hook WriterConfig.Committed gets it: on the
// goroutine of Run, in order of LSN, before those who wait for it wake. The hook should
// be quick, for nothing is committed meanwhile.
type Commit struct {
	LSN  storage.LSN
	Wall time.Time // to the millisecond, UTC
	// Body holds the entries one behind the other. It never changes and may be kept.
	// Bodies that follow each other share an allocation of at most 1 MiB (or of one
	// body, when that is larger), which is free when the last of them is.
	Body []byte
	// Entries are in the order in which they were put. Valid during the call only.
	Entries []Placed
}

// Placed is where an entry came to lie.
type Placed struct {
	Tag      uint64 // as given to Put
	Off, Len int    // in the Body
}

// Writer is group commit on a Lane. NewWriter makes it and Run does the work. Put may be
// called at once.
type Writer struct{}

// NewWriter returns a Writer that appends to l under epoch, which Fence was told before.
func NewWriter(l storage.Lane, epoch uint64, c WriterConfig) *Writer { panic("unfinished") }

// Run commits what is put until ctx ends; then it refuses what comes with
// fault.Unavailable, commits what is pending and returns nil. It returns the first
// failure of the lane, which everyone who waits gets too. It is called once.
func (w *Writer) Run(ctx context.Context) error { panic("unfinished") }

// Put copies parts, as one entry, behind what was put before: the order of the calls is
// the order in the lane. It waits while MaxPending bytes are pending, until ctx ends. The
// parts may be used again when it returns. A caller that holds a lock of its own around
// it makes its numbering and the lane's order agree.
//
// fault.Invalid: nothing in it, or more than MaxEntry. fault.Unavailable: Run has ended.
// After a failure of the lane: that failure.
func (w *Writer) Put(ctx context.Context, tag uint64, parts ...[]byte) (Ticket, error) {
	panic("unfinished")
}

// Ticket stands for an entry that was put. The zero Ticket is none. It may be waited for
// by many and any number of times.
type Ticket struct{}

// Wait returns the number of the batch that holds the entry, once that is durable. When
// ctx ends first the entry may yet become durable. Any other error: the lane's failure,
// and nobody knows before the recovery whether the entry is stored.
func (t Ticket) Wait(ctx context.Context) (storage.LSN, error) { panic("unfinished") }
