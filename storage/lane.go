package storage

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// LSN numbers the batches of a lane: 1 for the first, then one after another without a
// hole. The zero LSN is no batch.
type LSN uint64

// Batch is what one Append stored.
type Batch struct {
	Epoch   uint64
	LSN     LSN
	Wall    time.Time // as given to Append, to the millisecond, UTC
	Entries int       // as given to Append
	Body    []byte
}

// Lane is a single-writer, fenced, append-only log that carries batches of many shards.
// What is in a batch is not the lane's business. Every Lane passes the suite in
// storage/lane/lanetest.
//
// One batch is under way at a time, so that a crash leaves at most one in doubt: Append
// is called by one goroutine at a time, the other methods at once with it and each other.
type Lane interface {
	// Fence durably makes epoch the only one that may append. The same epoch again is
	// no error. fault.Denied: a newer one is known.
	Fence(ctx context.Context, epoch uint64) error
	// Append stores one batch, whole and durable, or nothing, and returns its number.
	// body is one run of bytes in pieces; it is not kept and not changed.
	//
	// fault.Denied: epoch is not the one that Fence named last. fault.Invalid: the body
	// is empty or larger than the lane takes. fault.Unavailable: there is no room on the
	// disk, or the lane is closed; a later call may succeed. A context's error: it ended
	// before. None of these changes anything. Any other error leaves open whether the
	// batch is stored and breaks the lane: it answers with that error for ever, and the
	// process must exit and recover, because a write or sync that failed is never tried
	// again.
	Append(ctx context.Context, epoch uint64, wall time.Time, entries int, body [][]byte) (LSN, error)
	// Replay yields the batches from number from on, in order, up to the newest at the
	// time it gets there; from below the first begins with the first. A Body is valid
	// until the next step. A range that is damaged yields a *Damage, once, with a Batch
	// that has only the LSN of the first batch lost, and Replay goes on behind it. Any
	// other error ends it.
	Replay(ctx context.Context, from LSN) iter.Seq2[Batch, error]
	// ReadAt fills p from the body of a batch, from off on. The bytes are not checked
	// against the batch's checksum: who reads parts has one in each. fault.Expired: the
	// batch is trimmed; fault.NotFound: it is not there yet; fault.Invalid: off and
	// len(p) leave the body; *Damage: it is known to be damaged.
	ReadAt(ctx context.Context, lsn LSN, off int64, p []byte) error
	// Trim lets the lane forget batches below before: it may forget fewer, and later.
	// It never forgets one at or above it.
	Trim(ctx context.Context, before LSN) error
	// Bounds returns the first batch that can be read and the number that the next one
	// will get; they are equal when there is none.
	Bounds() (first, next LSN)
}

// Damage says that a range of a lane cannot be trusted: it was stored and what is there
// now is something else. It is found with errors.As.
type Damage struct {
	File           string // the file or object
	Offset, Length int64  // bytes in it; Length 0: the file is missing
	First, Last    LSN    // the batches lost
	Reason         string
}

// Error names file, offset and batches, and ends with what to do.
func (d *Damage) Error() string {
	lost := fmt.Sprintf("batch %d is lost", d.First)
	if d.Last > d.First {
		lost = fmt.Sprintf("batches %d to %d are lost", d.First, d.Last)
	}
	return fmt.Sprintf("lane file %s is damaged at offset %d, %d bytes: %s; %s: keep a copy of the file and check the disk",
		d.File, d.Offset, d.Length, d.Reason, lost)
}
