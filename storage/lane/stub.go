package lane

import (
	"context"
	"iter"
	"penstock/storage"
	"time"
)

func (f *Files) Fence(ctx context.Context, epoch uint64) error { panic("unfinished") }
func (f *Files) Append(ctx context.Context, epoch uint64, wall time.Time, entries int, body [][]byte) (storage.LSN, error) {
	panic("unfinished")
}
func (f *Files) Replay(ctx context.Context, from storage.LSN) iter.Seq2[storage.Batch, error] {
	panic("unfinished")
}
func (f *Files) ReadAt(ctx context.Context, lsn storage.LSN, off int64, p []byte) error {
	panic("unfinished")
}
func (f *Files) Trim(ctx context.Context, before storage.LSN) error { panic("unfinished") }
func (f *Files) Bounds() (first, next storage.LSN)                  { panic("unfinished") }

// MaxEntry is how large one entry may be: a little more than the largest request of the Kinesis wire.
const MaxEntry = 16 << 20
