package fragments

import (
	"time"
)

// Range says which fragments to select. The zero value is all of them.
type Range struct {
	Start time.Time // those that end after it; zero: from the oldest
	End   time.Time // those that start before it; zero: to the newest
	After Number    // only numbers above it: the last number of the page before
	Limit int       // at most so many; 0: no limit
}

// Span is a stretch of unbroken media.
type Span struct {
	Start, End time.Time // server clock
	// Fragments and Bytes count what the span holds; where the span was cut at the edge
	// of the question they are in proportion.
	Fragments int
	Bytes     int64
}

// Gap is a stretch without media between two spans, or after the last one.
type Gap struct {
	Start, End time.Time // server clock
	Cause      Cause
	Detail     string // more words, may be empty
}

// Timeline is the answer to what is there, oldest first. Spans and Gaps do not overlap.
// Before the first span of a stream there is no gap: nothing is missing there.
type Timeline struct {
	Spans []Span
	Gaps  []Gap
}
