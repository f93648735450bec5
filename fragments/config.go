package fragments

import (
	"cmp"
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
	"penstock/storage/meta"
)

// Config says where media is kept and how much may wait. A Store is for one process.
type Config struct {
	// Dir is the local folder for open chunks and, when Bucket keeps no files of its own,
	// for those waiting to be uploaded. Required. On the Bucket's file system when that
	// has files, so that a sealed chunk is moved by rename.
	Dir string
	// Bucket keeps sealed chunks and index objects. Required.
	Bucket storage.Bucket
	// Meta keeps a row per recent chunk and per index object. Required.
	Meta *meta.DB
	// FS holds Dir. nil: host.OS.
	FS host.FS
	// Clock stamps and waits. nil: host.System.
	Clock host.Clock
	// Rand names chunk files. nil: crypto/rand.
	Rand io.Reader
	// Budget bounds the bytes of media, over all streams, that were appended and are not
	// yet durable. What comes beyond it is refused. 0: 512 MiB.
	Budget int64
	// SyncEvery bounds how long a written fragment waits for its sync to begin. 0: 500 ms.
	SyncEvery time.Duration
	// Parallel is how many files are written, and how many synced, at once. 0: 4.
	Parallel int
	// ChunkSpan closes a chunk after so long. 0: 60 s.
	ChunkSpan time.Duration
	// ChunkSize closes a chunk at so many bytes. 0: 64 MiB.
	ChunkSize int64
	// SpoolLimit bounds the bytes of sealed chunks that wait in Dir for the upload. Beyond
	// it Append refuses: what was acknowledged is never dropped. 0: 20 GB.
	SpoolLimit int64
	// MinFree is the space below which the oldest video is deleted, so that the metadata
	// can still be written. 0: 256 MiB, or a twentieth of the file system if that is less.
	MinFree int64
	// Guarantee is what a full disk leaves of each stream. 0: 1 h; < 0: nothing.
	Guarantee time.Duration
	// CacheSize bounds the bytes of index sections and of fragments from a remote Bucket
	// that are held in memory. 0: 32 MiB.
	CacheSize int64
	// HourAfter, DayAfter and MonthAfter are how long after its end an hour, a day and a
	// month are packed into one index. 0: 10 min, 3 h, 2 d.
	HourAfter, DayAfter, MonthAfter time.Duration

	// passed is the time since the start, which no operator sets; nil: by Clock, whose times
	// carry it when it is the machine's. Tests have their own.
	passed func(now time.Time) time.Duration

	// Logger gets what an operator should know. nil: discarded.
	Logger *slog.Logger
	// Registerer gets the metrics penstock_fragments_*. nil: none.
	Registerer prometheus.Registerer
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	bad := func(why string) error { return fault.New(fault.Invalid, "open fragments", c.Dir, why) }
	switch {
	case c.Dir == "":
		return bad("Dir is empty")
	case c.Bucket == nil:
		return bad("Bucket is nil")
	case c.Meta == nil:
		return bad("Meta is nil")
	case c.Budget < 0, c.SyncEvery < 0, c.ChunkSpan < 0, c.ChunkSize < 0, c.SpoolLimit < 0, c.MinFree < 0,
		c.CacheSize < 0, c.Parallel < 0, c.HourAfter < 0, c.DayAfter < 0, c.MonthAfter < 0:
		return bad("a limit is negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Budget = cmp.Or(c.Budget, 512<<20)
	c.SyncEvery = cmp.Or(c.SyncEvery, 500*time.Millisecond)
	c.Parallel = cmp.Or(c.Parallel, 4)
	c.ChunkSpan = cmp.Or(c.ChunkSpan, time.Minute)
	c.ChunkSize = cmp.Or(c.ChunkSize, 64<<20)
	c.SpoolLimit = cmp.Or(c.SpoolLimit, 20e9)
	c.Guarantee = cmp.Or(c.Guarantee, time.Hour)
	c.CacheSize = cmp.Or(c.CacheSize, 32<<20)
	c.HourAfter = cmp.Or(c.HourAfter, 10*time.Minute)
	c.DayAfter = cmp.Or(c.DayAfter, 3*time.Hour)
	c.MonthAfter = cmp.Or(c.MonthAfter, 48*time.Hour)
	return c
}
