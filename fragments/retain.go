package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"penstock/internal/fault"
	"penstock/storage/meta"
)

// Trim deletes what ends before t for good, but what is kept, and returns how many
// fragments that were. What no row lists yet is hidden at once and deleted later.
func (l *Log) Trim(ctx context.Context, t time.Time) (int, error) {
	if err := l.load(ctx); err != nil {
		return 0, err
	}
	l.look(t.UnixMicro())
	n, err := l.s.trimLog(ctx, l)
	if err != nil {
		return n, err
	}
	return n, l.s.emptyTrash(ctx)
}

// Delete deletes all of the log for good, what is kept too; a later Append begins it anew.
func (l *Log) Delete(ctx context.Context) error {
	if err := l.load(ctx); err != nil {
		return err
	}
	end := l.s.cfg.Clock.Now()
	l.mu.Lock()
	if l.last.End.After(end) {
		end = l.last.End
	}
	for _, c := range l.chunks {
		if !c.full {
			l.s.retire(c)
		}
	}
	l.horizon = max(l.horizon, end.UnixMicro())
	l.held = l.held.within(l.horizon, math.MaxInt64)
	l.mu.Unlock()
	_, err := l.Trim(ctx, end)
	return err
}

// trimLog takes out of the index what is not shown any more and puts its objects in the
// trash; what is kept of chunks that end before the horizon gets rows of its own. It is
// one transaction, so that nothing is shown that is deleted, nothing is forgotten that is
// not, and what is kept is found all the time. It returns how many fragments went.
func (s *Store) trimLog(ctx context.Context, l *Log) (int, error) {
	l.trim.Lock()
	defer l.trim.Unlock()
	l.mu.Lock()
	v, saved := sight{l.horizon, l.held}, l.saved
	l.mu.Unlock()
	if v.horizon <= 0 && slices.Equal(v.held, saved) {
		return 0, nil
	}
	t, err := s.planTrim(ctx, l.id, v)
	if err != nil {
		return 0, err
	}
	t.news = !slices.Equal(v.held, saved)
	l.mu.Lock()
	l.trimmed = max(l.trimmed, v.horizon) // before a reader can find the rows moved
	l.mu.Unlock()
	err = s.cfg.Meta.Write(ctx, t.apply)
	if meta.IsFull(err) {
		err = errors.Join(err, s.deleteFirst(ctx, l, t))
	}
	if err != nil {
		return 0, fmt.Errorf("trim %s: %w", l.id, err)
	}
	l.mu.Lock()
	l.saved = v.held
	l.mu.Unlock()
	n, err := s.release(ctx, l, v)
	return t.fragments + n, err
}

// trimming is what one trim of a log does.
type trimming struct {
	stream    string
	sight     sight
	news      bool // the metadata does not know what is held
	cuts      []indexCut
	chunks    []listed   // rows that go
	keys      []string   // objects that go, but those of index cuts
	kept      []chunkRow // what is kept of chunks
	damage    []Number   // what need not be known any more
	fragments int        // that go
}

// planTrim finds what ends at or before the horizon.
func (s *Store) planTrim(ctx context.Context, stream string, v sight) (*trimming, error) {
	t := &trimming{stream: stream, sight: v}
	where := "WHERE stream = ? AND first < ? AND (last <= ? OR trimmed < ?) ORDER BY first"
	index, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), where, stream, v.horizon, v.horizon, v.horizon)
	if err != nil {
		return nil, readFault("trim", stream, err)
	}
	t.chunks, err = queryChunks(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND last <= ? AND state = 1", stream, v.horizon)
	if err != nil {
		return nil, readFault("trim", stream, err)
	}
	for _, ix := range index {
		cut, err := s.cutIndex(ctx, ix, t)
		if err != nil {
			return nil, err
		}
		if cut.drop || cut.chunks > 0 {
			t.cuts = append(t.cuts, cut)
		}
	}
	for _, c := range t.chunks {
		if s.part(t, c.chunkRow) {
			t.keys = append(t.keys, c.key(stream))
		}
	}
	damage, err := queryDamage(ctx, s.cfg.Meta.Read(), stream)
	if err != nil {
		return nil, readFault("trim", stream, err)
	}
	for _, d := range damage {
		if !v.shows(int64(d.first), d.last) {
			t.damage = append(t.damage, d.first)
		}
	}
	return t, nil
}

// part decides about a chunk that ends before the horizon: it goes, or what is kept of it
// gets a row of its own.
func (s *Store) part(t *trimming, r chunkRow) (goes bool) {
	rest, kept, err := t.sight.rest(r)
	if err != nil {
		s.cfg.Logger.Error("what is kept of a chunk cannot be read, it is not deleted; penstock reindex finds it",
			"stream", t.stream, "object", r.key(t.stream), "err", err)
		return false
	}
	t.fragments += r.fragments
	if kept {
		t.fragments -= rest.fragments
		t.kept = append(t.kept, rest)
	}
	return !kept
}

func (t *trimming) apply(tx *sql.Tx) error {
	if err := setHorizon(tx, t.stream, t.sight.horizon); err != nil {
		return err
	}
	if t.news {
		if err := setHeld(tx, t.stream, t.sight.held); err != nil {
			return err
		}
	}
	for _, cut := range t.cuts {
		if err := cut.apply(tx); err != nil {
			return err
		}
	}
	if err := addTrash(tx, t.keys...); err != nil {
		return err
	}
	for _, c := range t.chunks {
		if _, err := tx.Exec("DELETE FROM fragments_chunks WHERE stream = ? AND first = ?", t.stream, int64(c.first)); err != nil {
			return err
		}
	}
	for _, r := range t.kept {
		if err := insertKept(tx, t.stream, r); err != nil {
			return err
		}
	}
	for _, first := range t.damage {
		if _, err := tx.Exec("DELETE FROM fragments_damage WHERE stream = ? AND first = ?", t.stream, int64(first)); err != nil {
			return err
		}
	}
	return nil
}

// deleteFirst deletes objects before the index lets go of them: the disk has no room left
// to write that down, and this makes some. Nobody is shown what ends before the log's
// horizon and is not kept; after a crash before the next trim it shows as a gap.
func (s *Store) deleteFirst(ctx context.Context, l *Log, t *trimming) error {
	if s.files == nil {
		return nil // it would make no room here
	}
	keys := slices.Clone(t.keys)
	for _, cut := range t.cuts {
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
	chunks    int      // that the row loses, and what they hold
	fragments int
	size      int64
}

// cutIndex finds what of an index row ends at or before the horizon and is still in it.
func (s *Store) cutIndex(ctx context.Context, ix indexRow, t *trimming) (indexCut, error) {
	horizon := t.sight.horizon
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
				if s.part(t, r) {
					cut.keys = append(cut.keys, r.key(ix.stream))
				}
				cut.chunks++
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
