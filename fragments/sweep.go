package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"penstock/storage/meta"
)

// How often the sweeper looks: at the disk, and at everything.
const (
	lookEvery  = 5 * time.Second
	sweepEvery = time.Minute
	// fullHold is how long after the last emergency the disk still counts as full.
	fullHold = 5 * time.Minute
	// damageBatch bounds the damage that waits to be noted.
	damageBatch = 1024
)

// sweeper closes idle chunks, watches the disk, packs the index and deletes what expired.
func (s *Store) sweeper(ctx context.Context) {
	var swept time.Time
	for first := true; ; first = false {
		if !first && !s.pauseSweep(ctx) {
			return
		}
		s.closeIdle()
		s.watchDisk(ctx)
		if err := errors.Join(s.writeDamage(ctx), s.noteAbsences(ctx), s.noteHeld(ctx)); err != nil {
			s.sweepFailed(ctx, err)
		}
		now := s.cfg.Clock.Now()
		if age := now.Sub(swept); age >= 0 && age < sweepEvery {
			continue
		}
		swept = now
		if err := errors.Join(s.Sweep(ctx), s.saveExpiry(ctx)); err != nil {
			s.sweepFailed(ctx, err)
		}
	}
}

// pauseSweep waits for the next look; false: ctx is over.
func (s *Store) pauseSweep(ctx context.Context) bool {
	timer := s.cfg.Clock.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.sweepWake:
	case <-ctx.Done():
		return false
	}
	return ctx.Err() == nil
}

func (s *Store) sweepFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.met.failures.WithLabelValues("sweep").Inc()
	s.cfg.Logger.Error("housekeeping of stored video failed and will be tried again", "err", err)
}

// Sweep does one round of housekeeping now: it deletes what expired and packs hours, days
// and months. Run does so every minute.
func (s *Store) Sweep(ctx context.Context) error {
	var errs []error
	for _, l := range s.allLogs() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		if err := l.load(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := s.expire(ctx, l); err != nil {
			errs = append(errs, err)
		}
		if err := s.pack(ctx, l); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.emptyTrash(ctx))
	t, err := s.cat.sums(ctx, "")
	if err == nil {
		s.mu.Lock()
		s.totals = t
		s.mu.Unlock()
	}
	return errors.Join(append(errs, err)...)
}

// expire moves the horizon of a log to where its policy has it and deletes what is behind.
func (s *Store) expire(ctx context.Context, l *Log) error {
	v := l.look(0)
	l.mu.Lock()
	limit := l.limit
	l.mu.Unlock()
	if limit > 0 {
		to, err := s.sizeHorizon(ctx, l, limit)
		if err != nil {
			return err
		}
		if to > v.horizon {
			l.look(to)
		}
	}
	_, err := s.trimLog(ctx, l)
	return err
}

func (s *Store) allLogs() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	return logs
}

// closeIdle closes the chunks whose time is over though nothing comes any more.
func (s *Store) closeIdle() {
	now := s.cfg.Clock.Now()
	for _, l := range s.allLogs() {
		l.mu.Lock()
		if n := len(l.chunks); n > 0 && len(l.writing) == 0 {
			if c := l.chunks[n-1]; !c.full && c.dead == nil && s.expired(c, now) {
				s.retire(c)
			}
		}
		l.mu.Unlock()
	}
}

// watchDisk makes room before the disk is full, and says how it stands.
func (s *Store) watchDisk(ctx context.Context) {
	free, low, _, err := s.space()
	if err != nil {
		s.sweepFailed(ctx, err)
		return
	}
	now := s.cfg.Clock.Now()
	s.mu.Lock()
	if free < low {
		s.isFull(now)
	} else {
		s.fullKept = 0
	}
	full := !s.fullSince.IsZero()
	if full && free >= low && now.Sub(s.fullLast) > fullHold {
		s.fullSince, s.fullKept, full = time.Time{}, 0, false
		s.cfg.Logger.Info("the disk has room again", "free", free)
	}
	s.mu.Unlock()
	if full {
		if err := s.makeRoom(ctx); err != nil {
			s.sweepFailed(ctx, err)
		}
	}
}

// isFull notes that the disk is full; mu is held.
func (s *Store) isFull(now time.Time) {
	if s.fullSince.IsZero() {
		s.fullSince = now
		words := "the disk is full: the oldest video is deleted to make room"
		if s.files == nil {
			words = "the disk is full: media waits in memory until the uploads have made room"
		}
		s.cfg.Logger.Error(words, "object", s.cfg.Dir)
	}
	s.fullLast = now
}

// writeFailed notes a failed write or sync for Status and the log, once a minute per
// state.
func (s *Store) writeFailed(l *Log, err error) {
	now := s.cfg.Clock.Now()
	s.mu.Lock()
	if meta.IsFull(err) {
		s.isFull(now)
		s.mu.Unlock()
		s.press()
		return
	}
	if s.failSince.IsZero() {
		s.failSince = now
	}
	s.failReason = err.Error() + "; check the disk that holds " + s.cfg.Dir
	s.failCount++
	tell := now.Sub(s.failTold) >= time.Minute || s.failTold.IsZero()
	count := s.failCount
	if tell {
		s.failTold, s.failCount = now, 0
	}
	s.mu.Unlock()
	if tell {
		s.cfg.Logger.Error("media could not be written and will be written again", "stream", l.id, "failures", count, "err", err)
	}
}

// wroteWell ends a time of failed writes.
func (s *Store) wroteWell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failSince.IsZero() {
		s.failSince, s.failReason = time.Time{}, ""
	}
}

// damaged is damage of a stream that is to be noted.
type damaged struct {
	stream string
	damage
}

// noteDamage has the timeline show what cannot be read as a gap.
func (s *Store) noteDamage(d damaged) {
	s.mu.Lock()
	if len(s.damaged) < damageBatch {
		s.damaged = append(s.damaged, d)
	}
	s.mu.Unlock()
	s.met.failures.WithLabelValues("read").Inc()
	s.sweepWake.up()
}

// writeDamage notes the damage that waits; when it returns, what waited before is noted.
func (s *Store) writeDamage(ctx context.Context) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	s.mu.Lock()
	batch := s.damaged
	s.damaged = nil
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, d := range batch {
			if err := insertDamage(tx, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.mu.Lock()
		s.damaged = append(batch, s.damaged...)
		s.mu.Unlock()
		return fmt.Errorf("note damage: %w", err)
	}
	for _, d := range batch {
		s.cfg.Logger.Error("stored video is damaged and shown as a gap", "stream", d.stream, "fragment", d.first, "err", d.detail)
	}
	return nil
}

func insertDamage(tx *sql.Tx, d damaged) error {
	detail := d.detail[:min(len(d.detail), MaxDetail)]
	_, err := tx.Exec("INSERT OR REPLACE INTO fragments_damage (stream, first, last, detail) VALUES (?, ?, ?, ?)",
		d.stream, int64(d.first), d.last, detail)
	return err
}
