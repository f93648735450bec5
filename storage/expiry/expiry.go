// Package expiry is the time that retention goes by.
//
// A clock that is set years ahead by mistake would have all that is stored deleted, and
// readers would be led past it, before anybody sets it back. So expiry follows a leap only
// when the clock has stood by it for some hours; meanwhile it goes on by the time that
// passes. A clock that is set back is followed at once: nothing expires by that.
package expiry

import (
	"cmp"
	"log/slog"
	"sync"
	"time"

	"penstock/internal/host"
)

const (
	// LeapMost is how far ahead of the time that has passed the clock may be found without
	// a question: a correction, not a mistake.
	LeapMost = time.Hour
	// LeapHold is how long a clock that leaped further has to stay there until anything
	// expires by it.
	LeapHold = 6 * time.Hour
	// SavedMost is how old what Save made durable may get.
	SavedMost = 10 * time.Minute
)

// Config says whose time it is.
type Config struct {
	What   string       // what expires by it, for the log: "records"
	Clock  host.Clock   // nil: the machine's
	Logger *slog.Logger // nil: discarded

	// Passed is the time since the start, which no operator sets; nil: by Clock, whose
	// times carry it when it is the machine's. Tests have their own.
	Passed func(now time.Time) time.Duration
}

// Time tells what time retention goes by. Its methods may be called at once.
type Time struct {
	cfg Config

	mu    sync.Mutex
	said  time.Time     // at the last look
	at    time.Duration // the time since the start then
	since time.Duration // the time since the start when the leap was seen
	held  bool          // there is one
	saved time.Time     // what Save made durable last, or New got; zero: nothing
}

// New returns a Time that goes on from last, the time that things are known to have gone
// by before: a clock that went wrong while the server was away is a leap like another.
// Zero: nobody knows, and the clock is believed.
func New(c Config, last time.Time) *Time {
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	now := c.Clock.Now()
	if c.Passed == nil {
		c.Passed = func(t time.Time) time.Duration { return t.Sub(now) }
	}
	t := &Time{cfg: c, said: now.Round(0), at: c.Passed(now)}
	if !last.IsZero() {
		t.said, t.saved = last.Round(0), last.Round(0)
		t.held, t.since = now.Round(0).Sub(t.said) > LeapMost, t.at
	}
	return t
}

// Now returns the time to expire by.
func (t *Time) Now() time.Time {
	now := t.cfg.Clock.Now()
	return t.next(now, t.cfg.Passed(now))
}

// next is Now when the clock says wall and so much time has passed since the start.
func (t *Time) next(wall time.Time, passed time.Duration) time.Time {
	wall = wall.Round(0) // from here on what the clock says counts, not how time passes
	t.mu.Lock()
	defer t.mu.Unlock()
	due := t.said.Add(passed - t.at)
	switch ahead := wall.Sub(due); {
	case ahead <= LeapMost:
		t.held = false
	case !t.held:
		t.held, t.since = true, passed
		t.cfg.Logger.Warn("the clock is ahead of the time that has passed; "+t.cfg.What+" expire by it when it has stood so for some hours", "ahead", ahead, "for", LeapHold,
			"hint", "if the clock is wrong set it right, and nothing is lost; after a pause of the machine this is as it should be")
		wall = due
	case passed-t.since < LeapHold:
		wall = due
	default:
		t.held = false
	}
	t.said, t.at = wall, passed
	return wall
}

// Save has write make durable by what time things expire, for New to go on from; not when
// what is known of it is younger than SavedMost.
func (t *Time) Save(write func(at time.Time) error) error {
	at := t.Now()
	t.mu.Lock()
	age := at.Sub(t.saved)
	t.mu.Unlock()
	if age >= 0 && age < SavedMost {
		return nil
	}
	err := write(at)
	if err == nil {
		t.mu.Lock()
		t.saved = at
		t.mu.Unlock()
	}
	return err
}
