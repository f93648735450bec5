package records

import (
	"context"
	"iter"
	"time"
)

// Store holds the logs of many streams. Open makes it and Run does its work. Its methods
// may be called at once.
type Store struct{ cfg Config }

// Open reads what is there and recovers what a crash left; it costs what is not yet
// sealed, not what is stored. Nothing can be put before Run runs. When Run is never
// called, Close ends the Store.
func Open(ctx context.Context, cfg Config) (*Store, error) { panic("unfinished") }

// Run commits, seals, merges and deletes until ctx ends; then it makes durable what is
// pending and returns nil. It is called once. Any error means that a lane is broken: the
// process must exit and recover.
func (s *Store) Run(ctx context.Context) error { panic("unfinished") }

// Close releases the lanes' files, after Run has returned or instead of it. Twice is fine.
func (s *Store) Close() error { panic("unfinished") }

// Create makes the log of a stream with so many open shards of equal width; created is to
// the second and stands in its sequence numbers. It returns when that is durable.
// fault.InUse: there is one of this id.
func (s *Store) Create(ctx context.Context, id string, created time.Time, shards int) (*Log, error) {
	panic("unfinished")
}

// Log returns the log of a stream.
func (s *Store) Log(id string) (*Log, bool) { panic("unfinished") }

// Logs yields the ids of all streams, in no order.
func (s *Store) Logs() iter.Seq[string] { panic("unfinished") }

// Delete forgets a stream and all of its records; segments are deleted later. Who reads,
// waits or puts gets fault.NotFound. A stream that is not there is no error.
func (s *Store) Delete(ctx context.Context, id string) error { panic("unfinished") }

// Log is the records of one stream. Its methods may be called at once.
type Log struct{}

// ID returns the stream's id.
func (l *Log) ID() string { panic("unfinished") }

// Put stores records and returns when all that were placed are durable and visible. Each
// goes to the open shard that its hash falls into; within a shard the order is that of in.
// out is filled in the order of in and must be as long: a record has a Seq or an Err.
//
// The error is for the whole call: fault.Invalid (a limit of this package; an After that
// its shard never gave), fault.NotFound (the stream was deleted), fault.Unavailable (the
// disk is nearly full, or the Store does not run), or the lane's failure. After an error
// from waiting, ctx's included, records may be stored or not.
func (l *Log) Put(ctx context.Context, in []Input, out []Placed, gate Gate) error {
	panic("unfinished")
}

// Shards returns all shards that still are retained, by ID. It is a snapshot that never
// changes, not to be modified. What it shows is durable.
func (l *Log) Shards() []Shard { panic("unfinished") }

// Shard returns one of Shards.
func (l *Log) Shard(id ShardID) (Shard, bool) { panic("unfinished") }

// Split closes a shard and opens two: up to the place before at, and from at. Nothing that
// is put meanwhile is lost or refused. It returns when that is durable. fault.NotFound: no
// such shard; fault.InUse: it is closed; fault.Invalid: at is not inside it (spec 6.4).
func (l *Log) Split(ctx context.Context, id ShardID, at HashKey) error { panic("unfinished") }

// Merge closes two shards, a ending where b begins, and opens one, as Split does.
// fault.NotFound: no such shard; fault.InUse: one is closed; fault.Invalid: they are not
// neighbours in this order (spec 6.5).
func (l *Log) Merge(ctx context.Context, a, b ShardID) error { panic("unfinished") }

// Reshard splits and merges until there are target open shards of equal width (spec 6.13).
func (l *Log) Reshard(ctx context.Context, target int) error { panic("unfinished") }

// Encrypt says whether records that are put from now on are encrypted. It returns when
// that is durable. fault.Unavailable: there are no keys.
func (l *Log) Encrypt(ctx context.Context, on bool) error { panic("unfinished") }

// Encrypted reports what Encrypt said last.
func (l *Log) Encrypted() bool { panic("unfinished") }

// Expire makes the present horizon durable: what is behind it never comes back. Call it
// before the retention is lengthened.
func (l *Log) Expire(ctx context.Context) error { panic("unfinished") }

// At returns the place in a shard to begin reading. fault.NotFound: there is no such
// shard; fault.Invalid: the number is of another shard or another stream.
func (l *Log) At(ctx context.Context, id ShardID, from From) (Position, error) {
	panic("unfinished")
}

// Read fills page with records from p on: at most limit and maxBytes of data and keys
// together, but one if there is any. An empty page is no error, and with one that is not
// Ended there may still be more behind Next. 0 is no limit. fault.NotFound: there is no
// such shard; fault.Unavailable: the bucket cannot be read now.
func (l *Log) Read(ctx context.Context, id ShardID, p Position, limit, maxBytes int, page *Page) error {
	panic("unfinished")
}

// Wait returns when there is a record behind p, or the shard has ended or is gone. It
// does not poll and costs little: thousands may wait.
func (l *Log) Wait(ctx context.Context, id ShardID, p Position) error { panic("unfinished") }

// Mark returns a number that is greater than that of every record before p and less than
// that of every record at or behind it, for a reader that resumes AtSeq or AfterSeq it.
// Where p is behind the newest record its time moves on with the clock.
func (l *Log) Mark(id ShardID, p Position) (Seq, error) { panic("unfinished") }

// Newest returns the number of the newest record of a shard; its Start when there is none.
func (l *Log) Newest(id ShardID) (Seq, error) { panic("unfinished") }
