package fragments

import (
	"context"
	"time"
)

// Store keeps the fragments of all streams. All methods may be called at once.
type Store struct {
	cfg Config
}

// Status is what an operator should see of a Store.
type Status struct {
	Backlog    int64     // bytes appended and not yet durable
	Budget     int64     // the bound on Backlog
	Bytes      int64     // bytes of chunks stored and not yet deleted
	Fragments  int64     // of the same
	Spool      int64     // bytes of sealed chunks that wait for the upload
	FullSince  time.Time // when the disk was found full; zero: it is not
	FailSince  time.Time // when writing began to fail for another reason; zero: it does not
	FailReason string    // the error in words, with what to do
	UploadErr  string    // why the newest upload failed; empty: it did not
}

// Open recovers what the last process left and returns a Store that can be read. Its
// cost does not depend on how much is stored. Nothing is written before Run.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Store{cfg: cfg.withDefaults()}, nil
}

// Run writes, syncs, seals, uploads, indexes and deletes until ctx ends; then it makes
// all that was appended durable, seals the open chunks and returns.
func (s *Store) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Log returns the log of the stream with the given id, which is made of letters, digits,
// "-" and "_", at most MaxStream bytes. retention is asked at every use and may change
// at any time; nil or a value <= 0 keeps all. Calls with the same id return the same Log;
// the newest retention that is not nil counts.
func (s *Store) Log(stream string, retention func() time.Duration) *Log {
	return &Log{s: s, id: stream}
}

// MaxStream bounds a stream's id in bytes.
const MaxStream = 64

// Status reports the state of the Store; it does not wait for a disk.
func (s *Store) Status() Status { return Status{} }
