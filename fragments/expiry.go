package fragments

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"penstock/storage/expiry"
)

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
	s.expiry = expiry.New(expiry.Config{What: "recordings", Clock: s.cfg.Clock, Logger: s.cfg.Logger, Passed: s.cfg.passed}, at)
	return nil
}

// saveExpiry writes down what time media goes by.
func (s *Store) saveExpiry(ctx context.Context) error {
	return s.expiry.Save(func(at time.Time) error {
		return s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT OR REPLACE INTO fragments_state (name, value) VALUES ('expired', ?)", at.UnixMicro())
			return err
		})
	})
}

// ExpiryNow is the time that video expires by: the clock's, unless that has leaped ahead.
func (s *Store) ExpiryNow() time.Time { return s.expiry.Now() }
