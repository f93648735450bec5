package records

import (
	"context"
	"database/sql"
	"time"

	"penstock/storage/expiry"
)

// expirySaved is how old what Meta knows of the time to expire by may get.
const expirySaved = 10 * time.Minute

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
	s.expired = last
	s.expiry = expiry.New(expiry.Config{What: "records", Clock: s.cfg.Clock, Logger: s.cfg.Logger, Passed: s.cfg.passed}, at)
	return nil
}

// saveExpiry writes down what time records go by, when it is not what is known of it.
func (s *Store) saveExpiry(ctx context.Context) error {
	said := s.expiry.Now().UnixMilli()
	if d := said - s.expired; d >= 0 && d < expirySaved.Milliseconds() {
		return nil
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE records_owner SET expired = ?", said)
		return err
	})
	if err == nil {
		s.expired = said
	}
	return err
}
