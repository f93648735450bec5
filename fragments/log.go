package fragments

import (
	"context"
	"io"
	"iter"
	"time"
)

// Log is one stream's fragments, oldest first. All methods may be called at once, but
// Append by one goroutine at a time. What retention took is not seen, even where it is
// not yet deleted.
type Log struct {
	s  *Store
	id string
}

// Append takes f into the log and never waits for a disk. It sets f.Number, f.Run's
// offset and, where f overlaps the fragment before, f.Start; afterwards nobody may change
// f, its samples or their data, and all may read them. f can be read from the log at
// once. done, if not nil, is called once from another goroutine when f is durable, with
// its final Head, or when it was lost, with the reason; it must not block.
//
// fault.Throttled: the Budget is used up; f is lost and counted, and the next fragment
// that fits carries CauseStorageBehind. fault.Unavailable: the Store is stopped.
func (l *Log) Append(f *Fragment, done func(Head, error)) error { return nil }

// Absent says why no media comes at present; Coverage shows it as the cause of the gap at
// the end of the timeline. The next Append ends it.
func (l *Log) Absent(cause Cause, detail string) {}

// Select yields the heads in r in order of their numbers. It ends after an error.
func (l *Log) Select(ctx context.Context, r Range) iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) {}
}

// Read returns a fragment with its media. fault.NotFound: no such fragment; fault.Expired:
// retention took it; fault.Unavailable: it is damaged, the error names object and offset.
func (l *Log) Read(ctx context.Context, n Number) (*Fragment, error) { return nil, nil }

// ReadIndex returns a fragment whose samples have no Data; Sizes holds their sizes. Its
// errors are Read's.
func (l *Log) ReadIndex(ctx context.Context, n Number) (*Fragment, error) { return nil, nil }

// OpenData returns the sample bytes of a fragment, one sample after another in the order
// of Samples, checked against their CRC. Its errors are Read's.
func (l *Log) OpenData(ctx context.Context, n Number) (io.ReaderAt, int64, error) { return nil, 0, nil }

// Coverage answers what there is between start and end. A gap shorter than resolution is
// left out and its neighbours joined; 0 joins nothing. It reads index rows only.
func (l *Log) Coverage(ctx context.Context, start, end time.Time, resolution time.Duration) (Timeline, error) {
	return Timeline{}, nil
}

// Find returns the head of the fragment that covers the instant t, or the first one after
// t when none does. fault.NotFound: there is none from t on.
func (l *Log) Find(ctx context.Context, t time.Time) (Head, error) { return Head{}, nil }

// First returns the oldest fragment's head; false: the log is empty or cannot be read.
func (l *Log) First() (Head, bool) { return Head{}, false }

// Last returns the newest fragment's head; false: the log is empty or cannot be read.
func (l *Log) Last() (Head, bool) { return Head{}, false }

// Totals are the size of a log.
type Totals struct {
	Fragments int64
	Bytes     int64 // of the chunks that hold them
}

// Totals returns how much the log holds, give or take the chunk that retention cuts.
func (l *Log) Totals(ctx context.Context) (Totals, error) { return Totals{}, nil }

// Wait returns nil once a fragment with a number above after exists, durable or not; or
// the context's error.
func (l *Log) Wait(ctx context.Context, after Number) error { return nil }

// Horizon returns the instant before which nothing is shown; it never moves back. Call it
// just before a longer retention takes effect, so that what has expired by then stays so.
func (l *Log) Horizon() time.Time { return time.Time{} }

// Trim deletes what ends before t for good and returns how many fragments that were.
func (l *Log) Trim(ctx context.Context, t time.Time) (int, error) { return 0, nil }

// Delete deletes all of the log for good; a later Append begins it anew.
func (l *Log) Delete(ctx context.Context) error { return nil }
