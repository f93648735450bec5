package records

import (
	"context"
	"crypto/cipher"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/host"
	"penstock/storage"
	"penstock/storage/meta"
)

// Limits of what is put. What a stream allows below them is its owner's to check.
const (
	MaxData   = 10 << 20 // bytes of one record
	MaxKey    = 1 << 10  // bytes of a partition key: 256 characters of at most 4
	MaxInputs = 10_000   // records of one Put
	MaxShards = 1 << 20  // shards of one stream, closed ones included, so that its map fits a row
)

// Config of a Store.
type Config struct {
	FS     host.FS        // nil: host.OS
	Clock  host.Clock     // nil: host.System
	Rand   io.Reader      // nil: crypto/rand.Reader
	Dir    string         // the data directory; lanes are in Dir/wal/<lane>. Required
	Bucket storage.Bucket // sealed segments. Required
	Meta   *meta.DB       // streams, shards, segments. Required

	// Lanes is over how many lanes new streams are spread; 0: 1. A stream keeps its lane.
	Lanes int
	// LaneFileSize is how much a lane file holds; a full one is sealed. What is not sealed
	// is read at the next start, so it bounds the time to be ready. 0: 64 MiB.
	LaneFileSize int64
	// TailBytes bounds the newest commits that are kept in memory, over all lanes; 0: 64 MiB.
	TailBytes int64
	// CacheBytes bounds the decoded blocks of segments in memory; 0: 64 MiB.
	CacheBytes int64
	// SealAfter is how old the oldest record that is not sealed may get; 0: 10 minutes.
	SealAfter time.Duration
	// CompactSegments is how many segments of one day, whose day is over or which are at
	// least this many, are merged into one; 0: 16. Negative: none are merged.
	CompactSegments int
	// Plain leaves segments uncompressed.
	Plain bool
	// Keys has the keys of encrypted streams; nil: Encrypt is fault.Unavailable.
	Keys KeySource
	// Retention says how long a stream keeps its records. It is asked at each read and
	// must be quick; 0 or less: nobody knows, and nothing more expires. nil: 24 hours for all.
	Retention func(id string) time.Duration
	// Epoch fences earlier owners of the lanes off. 0: one more than the last that Meta knows.
	Epoch uint64

	// OpenLane opens lane number n; nil: lane files in Dir/wal. Tests and other machines
	// put theirs here.
	OpenLane func(ctx context.Context, n int) (storage.Lane, error)

	// passed is the time since the start, which no operator sets; nil: by Clock, whose times
	// carry it when it is the machine's. Tests have their own.
	passed func(now time.Time) time.Duration

	Logger     *slog.Logger          // nil: discarded
	Registerer prometheus.Registerer // nil: measured for nobody
}

// KeySource has the keys that records are encrypted with. Its methods may be called at
// once and are asked seldom: the Store keeps what it gets.
type KeySource interface {
	// Current returns the name and the cipher for new records of stream id.
	Current(ctx context.Context, id string) (keyID string, aead cipher.AEAD, err error)
	// Key returns the cipher that Current once named keyID.
	Key(ctx context.Context, keyID string) (cipher.AEAD, error)
}
