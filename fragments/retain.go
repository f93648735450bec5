package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"penstock/internal/fault"
	"penstock/storage/meta"
)

// horizonAt returns the instant in µs before which nothing is shown, and moves it on.
func (l *Log) horizonAt() int64 {
	now := l.s.expiry.Now()
	l.mu.Lock()
	policy := l.policy
	l.mu.Unlock()
	var p Policy
	if policy != nil {
		p = policy()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.age > 0 && (p.Age <= 0 || p.Age > l.age) && !l.askedAt.IsZero() {
		// Longer from now on: what had expired when it was last asked stays so.
		l.horizon = max(l.horizon, l.askedAt.Add(-l.age).UnixMicro())
	}
	l.age, l.askedAt = p.Age, now
	if p.Age > 0 {
		l.horizon = max(l.horizon, now.Add(-p.Age).UnixMicro())
	}
	return l.horizon
}

// Horizon returns the instant before which nothing is shown; it never moves back. Call it
// just before a longer retention takes effect, so that what has expired by then stays so.
func (l *Log) Horizon() time.Time { return micro(l.horizonAt()) }

// Trim deletes what ends before t for good and returns how many fragments that were. What
// no row lists yet is hidden at once and deleted later.
func (l *Log) Trim(ctx context.Context, t time.Time) (int, error) {
	if err := l.load(ctx); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.horizon = max(l.horizon, t.UnixMicro())
	horizon := l.horizon
	l.mu.Unlock()
	n, err := l.s.trimLog(ctx, l, horizon)
	if err != nil {
		return n, err
	}
	return n, l.s.emptyTrash(ctx)
}

// Delete deletes all of the log for good; a later Append begins it anew.
func (l *Log) Delete(ctx context.Context) error {
	if err := l.load(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	end := l.last.End
	l.mu.Unlock()
	if now := l.s.cfg.Clock.Now(); end.Before(now) {
		end = now
	}
	l.mu.Lock()
	for _, c := range l.chunks {
		if !c.full {
			l.s.retire(c)
		}
	}
	l.mu.Unlock()
	_, err := l.Trim(ctx, end)
	return err
}

// trimLog takes out of the index what ends at or before horizon and puts its objects in
// the trash: one transaction, so that nothing is shown that is deleted, and nothing is
// forgotten that is not.
func (s *Store) trimLog(ctx context.Context, l *Log, horizon int64) (int, error) {
	if horizon <= 0 {
		return 0, nil
	}
	l.trim.Lock()
	defer l.trim.Unlock()
	where := "WHERE stream = ? AND first < ? AND (last <= ? OR trimmed < ?) ORDER BY first"
	index, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), where, l.id, horizon, horizon, horizon)
	if err != nil {
		return 0, readFault("trim", l.id, err)
	}
	chunks, err := queryChunks(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND last <= ? AND state = 1", l.id, horizon)
	if err != nil {
		return 0, readFault("trim", l.id, err)
	}
	var cuts []indexCut
	count := 0
	for _, ix := range index {
		cut, err := s.cutIndex(ctx, ix, horizon)
		if err != nil {
			return 0, err
		}
		if cut.drop || len(cut.keys) > 0 {
			cuts = append(cuts, cut)
			count += cut.fragments
		}
	}
	err = s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		if err := setHorizon(tx, l.id, horizon); err != nil {
			return err
		}
		for _, cut := range cuts {
			if err := cut.apply(tx); err != nil {
				return err
			}
		}
		for _, c := range chunks {
			if err := addTrash(tx, c.key(l.id)); err != nil {
				return err
			}
			if _, err := tx.Exec("DELETE FROM fragments_chunks WHERE stream = ? AND first = ?", l.id, int64(c.first)); err != nil {
				return err
			}
		}
		_, err := tx.Exec("DELETE FROM fragments_damage WHERE stream = ? AND last <= ?", l.id, horizon)
		return err
	})
	if meta.IsFull(err) {
		err = errors.Join(err, s.deleteFirst(ctx, l, cuts, chunks))
	}
	if err != nil {
		return 0, fmt.Errorf("trim %s: %w", l.id, err)
	}
	for _, c := range chunks {
		count += c.fragments
	}
	return count, nil
}

// deleteFirst deletes objects before the index lets go of them: the disk has no room left
// to write that down, and this makes some. Nobody is shown what ends before the log's
// horizon; after a crash before the next trim it shows as a gap.
func (s *Store) deleteFirst(ctx context.Context, l *Log, cuts []indexCut, chunks []listed) error {
	if s.files == nil {
		return nil // it would make no room here
	}
	var keys []string
	for _, c := range chunks {
		keys = append(keys, c.key(l.id))
	}
	for _, cut := range cuts {
		for _, k := range cut.keys {
			if k != cut.row.key { // the index object is needed for the next try
				keys = append(keys, k)
			}
		}
	}
	if err := s.cfg.Bucket.Delete(ctx, keys...); err != nil {
		return fmt.Errorf("delete the oldest objects: %w", err)
	}
	s.met.deleted.Add(float64(len(keys)))
	s.cfg.Logger.Warn("the disk has no room for the metadata: objects were deleted before it says so", "stream", l.id, "objects", len(keys))
	return nil
}

// indexCut is what a trim does to one index row.
type indexCut struct {
	row       indexRow
	horizon   int64
	drop      bool     // all of it goes
	keys      []string // objects to delete
	fragments int
	size      int64
}

// cutIndex finds what of an index row ends at or before horizon and is not yet deleted.
func (s *Store) cutIndex(ctx context.Context, ix indexRow, horizon int64) (indexCut, error) {
	cut := indexCut{row: ix, horizon: horizon, drop: ix.last <= horizon}
	if cut.drop && ix.key != "" {
		cut.keys = append(cut.keys, ix.key)
	}
	for _, p := range ix.parts {
		if int64(p.first) >= horizon || p.last <= ix.trimmed {
			continue
		}
		rows, err := s.section(ctx, ix, p)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable) {
			s.cfg.Logger.Error("an hour's index cannot be read, its chunks are not deleted; penstock reindex finds them",
				"stream", ix.stream, "object", ix.key, "err", err)
			continue
		}
		if err != nil {
			return cut, err
		}
		for _, r := range rows {
			if r.last <= horizon && r.last > ix.trimmed {
				cut.keys = append(cut.keys, r.key(ix.stream))
				cut.fragments += r.fragments
				cut.size += r.size
			}
		}
	}
	return cut, nil
}

func (c indexCut) apply(tx *sql.Tx) error {
	if err := addTrash(tx, c.keys...); err != nil {
		return err
	}
	if c.drop {
		_, err := tx.Exec("DELETE FROM fragments_index WHERE stream = ? AND first = ?", c.row.stream, int64(c.row.first))
		return err
	}
	_, err := tx.Exec(`UPDATE fragments_index SET trimmed = max(trimmed, ?), fragments = fragments - ?, size = size - ?
		WHERE stream = ? AND first = ?`, c.horizon, c.fragments, c.size, c.row.stream, int64(c.row.first))
	return err
}

// trashBatch is how many objects one step of emptyTrash deletes.
const trashBatch = 500

// emptyTrash deletes what the index has let go, then forgets it: a crash between the two
// only means that it is deleted again.
func (s *Store) emptyTrash(ctx context.Context) error {
	for {
		keys, err := s.trash(ctx)
		if err != nil || len(keys) == 0 {
			return readFault("empty trash", "", err)
		}
		if err := s.cfg.Bucket.Delete(ctx, keys...); err != nil {
			return fmt.Errorf("delete expired objects: %w", err)
		}
		s.met.deleted.Add(float64(len(keys)))
		err = s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
			for _, k := range keys {
				if _, err := tx.Exec("DELETE FROM fragments_trash WHERE key = ?", k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("forget deleted objects: %w", err)
		}
	}
}

func (s *Store) trash(ctx context.Context) ([]string, error) {
	rows, err := s.cfg.Meta.Read().QueryContext(ctx, "SELECT key FROM fragments_trash LIMIT ?", trashBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}
