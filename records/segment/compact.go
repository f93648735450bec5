package segment

import (
	"context"
	"errors"

	"penstock/storage"
)

// Compact writes the records of several segments of one stream to w, unchanged, and
// finishes it. No two may hold the same record (fault.Invalid). Of a shard's About the
// newest segment's is kept. Memory: one block a source, and w's.
func Compact(ctx context.Context, w *Writer, from []*Reader) (Info, error) {
	return Info{}, errors.ErrUnsupported
}

// Report is what Verify found.
type Report struct {
	Info    Info
	Damage  []*Damage // in order of their offsets; empty: the object is as it was written
	Blocks  int       // blocks that are whole
	Records int64     // records in them
	Sealed  int       // blocks whose checksum is right and which no key was there to open
}

// Verify reads all of an object and checks each byte of it. The error is that of the
// bucket; damage is in the Report.
func (s *Source) Verify(ctx context.Context, o storage.Object) (Report, error) {
	return Report{}, errors.ErrUnsupported
}
