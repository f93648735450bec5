package events

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
)

// sweepBatch bounds the events that one transaction deletes or ends.
const sweepBatch = 500

// Run ends events that nobody ended, and deletes those whose video has gone, until ctx
// ends.
func (j *Journal) Run(ctx context.Context) error {
	for {
		j.Sweep(ctx)
		timer := j.config.Clock.NewTimer(j.config.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Sweep does once what Run does. What fails is logged and tried again with the next.
func (j *Journal) Sweep(ctx context.Context) {
	now := j.config.Time()
	if err := j.endOpen(ctx, now); err != nil && ctx.Err() == nil {
		j.log.Warn("cannot end events that nobody ended", "err", err)
	}
	j.mu.Lock()
	streams := slices.Collect(maps.Keys(j.shelves))
	j.mu.Unlock()
	for _, stream := range streams {
		if ctx.Err() != nil {
			return
		}
		if err := j.sweepStream(ctx, stream, now); err != nil && ctx.Err() == nil {
			j.log.Warn("cannot delete expired events", "stream", stream, "err", err)
		}
	}
}

// endOpen ends what has gone on for OpenMax.
func (j *Journal) endOpen(ctx context.Context, now time.Time) error {
	for {
		list, err := scanAll(j.config.Meta.Read().QueryContext(ctx, "SELECT "+columns+" FROM event WHERE ended = 0 AND began <= ? ORDER BY began LIMIT ?",
			now.Add(-OpenMax).UnixMicro(), sweepBatch))
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			if err := j.endOne(ctx, e); err != nil {
				return err
			}
		}
	}
}

func (j *Journal) endOne(ctx context.Context, found Event) error {
	s := j.shelf(found.Stream)
	if s == nil {
		return streamGone(found.Stream) // its rows are being deleted
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	old, err := j.Get(ctx, found.Stream, found.ID)
	if fault.Is(err, fault.NotFound) || err == nil && !old.Open() {
		return nil // somebody was faster
	}
	if err != nil {
		return err
	}
	e := old
	e.End = e.Start.Add(OpenMax)
	e.KeptUntil = j.until(e)
	j.log.Info("an event that nobody ended was ended", "stream", e.Stream, "event", e.ID, "kind", e.Kind, "by", e.By)
	return j.replace(ctx, s, old, e)
}

func (j *Journal) sweepStream(ctx context.Context, stream string, now time.Time) error {
	s := j.shelf(stream)
	if s == nil {
		return nil
	}
	j.mu.Lock()
	unsure, count := s.unsure, s.count
	expired := slices.Collect(maps.Keys(s.keeps))
	expired = slices.DeleteFunc(expired, func(id string) bool {
		until := s.keeps[id].Until
		return until.IsZero() || until.After(now)
	})
	j.mu.Unlock()
	if unsure {
		if err := j.reload(ctx, s, stream); err != nil {
			return err
		}
	}
	if len(expired) > 0 {
		s.changing.Lock()
		j.mu.Lock()
		for _, id := range expired {
			if k, ok := s.keeps[id]; ok && !k.Until.IsZero() && !k.Until.After(now) {
				s.hold(id, fragments.Keep{}, false)
			}
		}
		j.mu.Unlock()
		s.changing.Unlock()
	}
	if count == 0 && !unsure {
		return nil
	}
	return j.deleteExpired(ctx, s, stream, j.config.Horizon(ctx, stream), now)
}

// stale is what has ended, lies before the horizon and keeps no video.
const stale = "ended > 0 AND ended < ? AND (keep = 0 OR (kept_until > 0 AND kept_until <= ?))"

func (j *Journal) deleteExpired(ctx context.Context, s *shelf, stream string, horizon, now time.Time) error {
	for {
		list, err := scanAll(j.config.Meta.Read().QueryContext(ctx, "SELECT "+columns+" FROM event WHERE stream = ? AND lasting IN (0, 1) AND began < ? AND "+stale+" LIMIT ?",
			stream, horizon.UnixMicro(), horizon.UnixMicro(), now.UnixMicro(), sweepBatch))
		if err != nil || len(list) == 0 {
			return err
		}
		if err := j.deleteBatch(ctx, s, list, horizon, now); err != nil {
			return err
		}
	}
}

// deleteBatch deletes those of the list that are still stale.
func (j *Journal) deleteBatch(ctx context.Context, s *shelf, list []Event, horizon, now time.Time) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	var gone []Event
	done, err := j.write(ctx, func(tx *sql.Tx) error {
		gone = gone[:0] // a full disk runs this twice
		for _, e := range list {
			r, err := tx.Exec("DELETE FROM event WHERE stream = ? AND id = ? AND "+stale, e.Stream, e.ID, horizon.UnixMicro(), now.UnixMicro())
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				gone = append(gone, e)
			}
		}
		return nil
	})
	if err != nil {
		if !done {
			j.doubt(s)
		}
		return err
	}
	for _, e := range gone {
		j.drop(s, e.Stream, e.ID)
	}
	return nil
}

// reload asks the store what a stream's events are, after a write whose end nobody saw.
func (j *Journal) reload(ctx context.Context, s *shelf, stream string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	j.mu.Lock()
	change := s.change
	j.mu.Unlock()
	// A write comes after all that were begun before: it tells that they are over.
	if err := j.config.Meta.Write(ctx, func(*sql.Tx) error { return nil }); err != nil {
		return err
	}
	list, err := scanAll(j.config.Meta.Read().QueryContext(ctx, "SELECT "+columns+" FROM event WHERE stream = ? AND keep <> 0", stream))
	if err != nil {
		return err
	}
	count := 0
	if err := j.config.Meta.Read().QueryRowContext(ctx, "SELECT COUNT(*) FROM event WHERE stream = ?", stream).Scan(&count); err != nil {
		return err
	}
	now := j.config.Time()
	j.mu.Lock()
	defer j.mu.Unlock()
	if s.adding > 0 || s.change != change {
		return nil // events come meanwhile: with the next sweep
	}
	s.keeps, s.sorted = map[string]fragments.Keep{}, nil
	for _, e := range list {
		if e.keeps(now) {
			s.keeps[e.ID] = e.kept()
		}
	}
	s.count, s.unsure = count, false
	return nil
}
