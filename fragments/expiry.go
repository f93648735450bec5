package fragments

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"penstock/storage/expiry"
)

// expirySaved is how old what Meta knows of the time to expire by may get.
const expirySaved = 10 * time.Minute

// beginExpiry goes on from the time that media went by before.
func (s *Store) beginExpiry(ctx context.Context) error {
	var last int64
	err := s.cfg.Meta.Read().QueryRowContext(ctx, "SELECT value FROM fragments_state WHERE name = 'expired'").Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var at time.Time
	if last > 0 {
		at = micro(last)
	}
	s.expiredAt.Store(last)
	s.expiry = expiry.New(expiry.Config{What: "recordings", Clock: s.cfg.Clock, Logger: s.cfg.Logger, Passed: s.cfg.passed}, at)
	return nil
}

// saveExpiry writes down what time media goes by, when it is not what is known of it.
func (s *Store) saveExpiry(ctx context.Context) error {
	said := s.expiry.Now().UnixMicro()
	if d := said - s.expiredAt.Load(); d >= 0 && d < expirySaved.Microseconds() {
		return nil
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO fragments_state (name, value) VALUES ('expired', ?)", said)
		return err
	})
	if err == nil {
		s.expiredAt.Store(said)
	}
	return err
}

// ExpiryNow is the time that video expires by: the clock's, unless that has leaped ahead.
func (s *Store) ExpiryNow() time.Time { return s.expiry.Now() }
