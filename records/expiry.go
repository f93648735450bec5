package records

import (
	"context"
	"database/sql"
	"time"

	"penstock/storage/expiry"
)

// beginExpiry goes on from the time that records went by before.
func (s *Store) beginExpiry(ctx context.Context) error {
	var last int64
	if err := s.cfg.Meta.Read().QueryRowContext(ctx, "SELECT expired FROM records_owner").Scan(&last); err != nil {
		return err
	}
	var at time.Time
	if last > 0 {
		at = msTime(last)
	}
	s.expiry = expiry.New(expiry.Config{What: "records", Clock: s.cfg.Clock, Logger: s.cfg.Logger, Passed: s.cfg.passed}, at)
	return nil
}

// saveExpiry writes down what time records go by.
func (s *Store) saveExpiry(ctx context.Context) error {
	return s.expiry.Save(func(at time.Time) error {
		return s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec("UPDATE records_owner SET expired = ?", at.UnixMilli())
			return err
		})
	})
}
