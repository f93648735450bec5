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
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// The sizes of files.
const (
	// DefaultFileSize is how large files become: large enough that a new one is rare
	// at full speed (about one a second), small enough that trimming frees space soon.
	DefaultFileSize = 256 << 20
	// firstFileSize is what a lane begins with, so that many quiet ones cost little.
	firstFileSize = 4 << 20
	// minFileSize is the smallest that may be configured, for tests.
	minFileSize = 2 * pageSize
)

// Config of Files. Two with one Name on one Registerer panic, as Prometheus says.
type Config struct {
	Dir        string                // holds this lane's files and nothing else; made when missing; required
	FS         host.FS               // nil: host.OS
	FileSize   int64                 // bytes a file grows to; 0: DefaultFileSize. The first files of a lane are smaller
	Clock      host.Clock            // measures; nil: host.System
	Rand       io.Reader             // the lane's secret comes from it; nil: crypto/rand.Reader
	Name       string                // the label "lane"; "": "0"
	Logger     *slog.Logger          // nil: slog.Default
	Registerer prometheus.Registerer // nil: measured for nobody
}

// Validate names the field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.Dir == "":
		return fault.New(fault.Invalid, "open lane", "", "Dir is required")
	case c.FileSize != 0 && (c.FileSize < minFileSize || c.FileSize%pageSize != 0):
		return fault.New(fault.Invalid, "open lane", c.Dir,
			fmt.Sprintf("FileSize %d is not a multiple of %d, at least %d", c.FileSize, pageSize, minFileSize))
	}
	return nil
}

func (c *Config) defaults() {
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	c.FileSize = cmp.Or(c.FileSize, DefaultFileSize)
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Name = cmp.Or(c.Name, "0")
	c.Logger = cmp.Or(c.Logger, slog.Default())
}

// Files is a storage.Lane in a directory. Open makes it, Close ends it. Nothing else may
// use the directory meanwhile; whoever opens several lanes locks above them.
type Files struct {
	cfg     Config
	metrics *metrics

	// appending is held by an Append; taken before any other.
	appending sync.Mutex
	scratch   writeScratch // guarded by appending
	spares    spares       // has its own mutex
	secret    [16]byte     // of the lane; never changes once open

	// identity is held while the file lane is changed; taken before mu.
	identity sync.Mutex
	id       idFile // guarded by identity

	mu     sync.RWMutex
	files  []*file // oldest first; the last one is written to
	sealed bool    // the last one is not to be written to: it ends in damage
	next   storage.LSN
	epoch  uint64
	broken error // what every Append answers from now on
	closed bool

	recovery Recovery
	gaps     []*storage.Damage // files that Open missed
}

var _ storage.Lane = (*Files)(nil)

// Recovery is what Open found. It looks at the newest file only; Replay looks at all.
type Recovery struct {
	Torn     int64             // bytes of the batch that a crash left unfinished, cut off; 0: none
	Damage   []*storage.Damage // ranges that were stored and are not there; Replay yields them too
	Repaired bool              // one of the two records of the file lane was bad or old
}

// Recovery returns what Open found.
func (f *Files) Recovery() Recovery { return f.recovery }

// Bounds returns the first batch that is kept and the number that the next one will get.
func (f *Files) Bounds() (first, next storage.LSN) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if len(f.files) == 0 {
		return f.next, f.next
	}
	return f.files[0].first, f.next
}

// Close ends the lane: everything that was appended is durable already. It waits for an
// Append that is under way. Twice is fine.
func (f *Files) Close() error {
	f.appending.Lock()
	defer f.appending.Unlock()
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	f.spares.close()
	err := f.writeIdentity(nil)
	f.identity.Lock()
	err = errors.Join(err, f.id.h.Close())
	f.id.h = nil
	f.identity.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range f.files {
		f.drop(file)
	}
	return fault.Wrap(fault.Internal, "close lane", f.cfg.Dir, err)
}

// breaks makes err the answer to every Append from now on, unless one is already.
func (f *Files) breaks(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = &fault.Error{
			Kind: fault.Internal, Op: "lane", Resource: f.cfg.Dir, Err: err,
			Hint: "a write or sync failed, so nothing more is accepted: check the disk, then start the server again",
		}
		f.metrics.broken.Set(1)
	}
	return f.broken
}

// usable returns why the lane cannot be written to, if so.
func (f *Files) usable() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case f.broken != nil:
		return f.broken
	case f.closed:
		return fault.New(fault.Unavailable, "lane", f.cfg.Dir, "closed")
	}
	return nil
}

// Fence makes epoch the only one that may append.
func (f *Files) Fence(ctx context.Context, epoch uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.usable(); err != nil {
		return err
	}
	f.appending.Lock() // an Append under an older epoch ends first
	defer f.appending.Unlock()
	f.mu.Lock()
	have := f.epoch
	f.mu.Unlock()
	if epoch < have {
		return fault.New(fault.Denied, "fence lane", f.cfg.Dir, fmt.Sprintf("epoch %d is older than %d", epoch, have))
	}
	if epoch == have {
		return nil
	}
	if err := f.writeIdentity(func(id *identity) { id.epoch = epoch }); err != nil {
		return f.breaks(fmt.Errorf("fence epoch %d: %w", epoch, err))
	}
	f.mu.Lock()
	f.epoch = epoch
	f.mu.Unlock()
	return nil
}
