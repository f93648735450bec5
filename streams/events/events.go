// Package events is what happened on the streams, and when: a person at a door, a mark
// that somebody set, a recording that was started and ended. An event may keep the video
// around it for longer than its stream's retention would.
//
// The package holds the table of events and knows which stretches of video they keep. It
// leaves the video to package fragments, which asks for those stretches, and who may say
// what to package auth.
package events

import (
	"encoding/json"
	"time"
)

// Limits on what is kept of events, against growth from outside.
const (
	KindMax  = 32      // bytes of a kind
	LabelMax = 256     // bytes of a label
	DataMax  = 4 << 10 // bytes of an event's data, as compact JSON
	IDMax    = 64      // bytes of an ID that the caller chose
	// RollMax bounds the video that is kept before an event and after it.
	RollMax = 10 * time.Minute
	// RollUsual is what is kept of both where nobody said.
	RollUsual = 10 * time.Second
	// OpenMax is how long an event goes on that nobody ends: whoever began it may have crashed.
	OpenMax = 24 * time.Hour
	// LengthMax is how long an event may last that comes with both ends.
	LengthMax = 31 * 24 * time.Hour
	// FutureMax is how far ahead of the server's clock an event may begin: clocks differ.
	FutureMax = 5 * time.Minute
	// KeepMin and KeepMax bound how long video is kept, unless for ever.
	KeepMin = time.Minute
	KeepMax = 87600 * time.Hour // ten years, as a stream's retention
	// KeepingMax is how many events of a stream may keep video: the store asks for them
	// with all that it does.
	KeepingMax = 10_000
	// StreamMax is how many events a stream may have.
	StreamMax = 200_000
	// ListMax is the longest page of a list.
	ListMax = 1000
)

// Forever is the Term of an event whose video is kept until somebody says otherwise.
const Forever Term = -1

// Term is how long the video of an event is kept, from its end or from when that was
// said, whichever is later. Zero keeps nothing beyond the stream's retention.
type Term time.Duration

// Event is something that happened on a stream. It is a value; Data is shared and
// read-only.
type Event struct {
	Stream string // the stream's ID
	ID     string // unique in the stream
	Kind   string // [a-z][a-z0-9._-]{0,31}: "mark", "motion", "person"
	Label  string // words for people
	Start  time.Time
	End    time.Time // zero: it goes on
	Before time.Duration
	After  time.Duration
	Keep   Term
	// KeptFrom is where the video that is kept begins: Before the start, or later where
	// that had expired when the event began to keep it. Zero: it keeps none.
	KeptFrom time.Time
	// KeptUntil is when the video is kept no longer; zero: never, or the event goes on.
	KeptUntil time.Time
	By        string          // name of who said so
	Owner     string          // and who that is, for good
	Data      json.RawMessage // a JSON object
}

// Open reports whether the event goes on.
func (e Event) Open() bool { return e.End.IsZero() }

// KeptTo is where the video that is kept ends; zero: it goes on, or none is kept.
func (e Event) KeptTo() time.Time {
	if e.Open() || e.KeptFrom.IsZero() {
		return time.Time{}
	}
	// Not before its begin: what a clip shows of an instant is the picture of that instant.
	to := e.End.Add(e.After)
	if least := e.KeptFrom.Add(time.Microsecond); to.Before(least) {
		return least
	}
	return to
}

// New is an event that is to be added.
type New struct {
	Stream        string
	ID            string // chosen by the caller, so that a second try adds nothing; "": a random one
	Kind, Label   string
	Start, End    time.Time // zero: now, and Start
	Open          bool      // it goes on; then End is zero
	Before, After time.Duration
	Keep          Term
	By, Owner     string
	Data          json.RawMessage // nil: {}
}

// Patch is a change of an event: what is nil stays.
type Patch struct {
	Label *string
	End   *time.Time // of one that goes on
	Keep  *Term
	Data  *json.RawMessage
}

// Query asks for the events of a stream that overlap [Start, End).
type Query struct {
	Stream     string
	Start, End time.Time // zero: no bound
	Kind       string    // "": all
	Newest     bool      // the newest first
	After      string    // the Next of the page before, of the same order
	Limit      int       // at most ListMax; 0: ListMax
}

// Page is a part of a list.
type Page struct {
	Events []Event
	Next   string // the After of the following page; "" on the last
}
