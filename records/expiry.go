package records

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"time"
)

const (
	// leapMost is how far ahead of the time that has passed the clock may be found without
	// a question: a correction, not a mistake.
	leapMost = time.Hour
	// leapHold is how long a clock that leaped further has to stay there until records
	// expire by it.
	leapHold = 6 * time.Hour
	// expirySaved is how old what Meta knows of it may get.
	expirySaved = 10 * time.Minute
)

// expiry is the time that retention goes by. A clock that is set years ahead by mistake
// would have all records deleted, and readers would be led past them, before anybody sets
// it back. So expiry follows a leap only when the clock has stood by it for leapHold;
// meanwhile it goes on by the time that passes, also over a start. A clock that is set back is followed at once: nothing expires by that.
type expiry struct {
	log *slog.Logger

	mu    sync.Mutex
	said  time.Time     // at the last look
	at    time.Duration // the time since the start then
	since time.Duration // the time since the start when the leap was seen
	held  bool          // there is one

	saved int64 // ms: what Meta knows; under Store.tidying
}

// now returns the time to expire by, when the clock says wall and so much time has passed
// since the start, as no operator can set it.
func (e *expiry) now(wall time.Time, passed time.Duration) time.Time {
	wall = wall.Round(0) // from here on what the clock says counts, not how time passes
	e.mu.Lock()
	defer e.mu.Unlock()
	due := e.said.Add(passed - e.at)
	switch ahead := wall.Sub(due); {
	case ahead <= leapMost:
		e.held = false
	case !e.held:
		e.held, e.since = true, passed
		e.log.Warn("the clock is ahead of the time that has passed; records expire by it when it has stood so for some hours", "ahead", ahead, "for", leapHold,
			"hint", "if the clock is wrong set it right, and nothing is lost; after a pause of the machine this is as it should be")
		wall = due
	case passed-e.since < leapHold:
		wall = due
	default:
		e.held = false
	}
	e.said, e.at = wall, passed
	return wall
}

// expireAt returns the time to expire by.
func (s *Store) expireAt() time.Time {
	now := s.cfg.Clock.Now()
	return s.expiry.now(now, s.cfg.passed(now))
}

// beginExpiry goes on from the time that records went by before: a clock that went wrong
// while the server was away is a leap like another.
func (s *Store) beginExpiry(ctx context.Context) error {
	var last int64
	if err := s.cfg.Meta.Read().QueryRowContext(ctx, "SELECT expired FROM records_owner").Scan(&last); err != nil {
		return err
	}
	now, e := s.cfg.Clock.Now(), &s.expiry
	e.log, e.said, e.at, e.saved = s.cfg.Logger, now.Round(0), s.cfg.passed(now), last
	if last > 0 {
		e.said = msTime(last)
		e.held, e.since = now.Round(0).Sub(e.said) > leapMost, e.at
	}
	return nil
}

// saveExpiry writes down what time records go by, when it is not what is known of it.
func (s *Store) saveExpiry(ctx context.Context) error {
	said := s.expireAt().UnixMilli()
	if d := said - s.expiry.saved; d >= 0 && d < expirySaved.Milliseconds() {
		return nil
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE records_owner SET expired = ?", said)
		return err
	})
	if err == nil {
		s.expiry.saved = said
	}
	return err
}
