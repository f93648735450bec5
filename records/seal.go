package records

import (
	"context"
	"time"
)

// sealLoop moves records from the lane to segments.
func (o *owner) sealLoop(ctx context.Context) { <-ctx.Done() }

// loadSegments reads which segments there are.
func (s *Store) loadSegments(context.Context) error { return nil }

// sweepLoop deletes what nobody needs any more.
func (s *Store) sweepLoop(ctx context.Context) { <-ctx.Done() }

func (s *Store) sweepSoon() {}

func (s *Store) spaceLoop(ctx context.Context) { <-ctx.Done() }

func msTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Expire makes the present horizon durable: what is behind it never comes back. Call it
// before the retention is lengthened.
func (l *Log) Expire(ctx context.Context) error {
	l.raise(l.horizon(l.store.cfg.Clock.Now()))
	return nil
}
