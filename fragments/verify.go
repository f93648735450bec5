package fragments

import (
	"context"
)

// Finding is one thing that Verify or Reindex found.
type Finding struct {
	Stream string
	Object string // the key or file
	Offset int64  // in the object; -1: all of it
	Text   string // what is wrong, and what to do or what was done
	Fixed  bool
}

// Report sums up what Verify or Reindex looked at.
type Report struct {
	Streams   int
	Chunks    int
	Fragments int64
	Bytes     int64
	Damaged   int // chunks with at least one finding that was not repaired
}

// Verify reads every chunk of a Store that is not running and compares it with the
// index; report hears each finding. With repair it takes unindexed chunks into the index
// and hides what is damaged or gone.
func Verify(ctx context.Context, cfg Config, repair bool, report func(Finding)) (Report, error) {
	return Report{}, nil
}

// Reindex throws the index away and rebuilds it from the chunks alone: from their
// footers, and where one has none from its records. The Store must not be running.
func Reindex(ctx context.Context, cfg Config, report func(Finding)) (Report, error) {
	return Report{}, nil
}
