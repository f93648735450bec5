package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
)

// How many rows of what is kept are read at once, at first and then.
const (
	keptFirst = 16
	keptBatch = 256
)

// keptRows reads what is kept of a stream between two instants, oldest first, some rows at
// a time. What becomes a row while it is read is met twice or later, not never.
type keptRows struct {
	c      catalog
	stream string
	lo, hi int64 // µs
	rows   []chunkRow
	over   bool // rows are the last
}

// begin reads the first rows.
func (k *keptRows) begin(ctx context.Context, q querier) (err error) {
	k.rows, k.over, err = queryKept(ctx, q, k.stream, k.lo, k.hi, keptFirst)
	return err
}

// before returns the next row when it begins before a number.
func (k *keptRows) before(ctx context.Context, n Number) (r chunkRow, ok bool, err error) {
	if len(k.rows) == 0 {
		if k.over {
			return r, false, nil
		}
		if k.rows, k.over, err = queryKept(ctx, k.c.db.Read(), k.stream, k.lo, k.hi, keptBatch); err != nil {
			return r, false, readFault("read what is kept", k.stream, err)
		}
	}
	if len(k.rows) == 0 || k.rows[0].first >= n {
		return r, false, nil
	}
	r, k.rows = k.rows[0], k.rows[1:]
	k.lo = r.last
	return r, true, nil
}

// each calls fn for the rows that begin before a number.
func (k *keptRows) each(ctx context.Context, n Number, fn func(chunkRow) error) error {
	for {
		r, ok, err := k.before(ctx, n)
		if err != nil || !ok {
			return err
		}
		if err := fn(r); err != nil {
			return err
		}
	}
}

// lastNumber is above all numbers.
const lastNumber = Number(math.MaxInt64)

// queryKept reads rows of what is kept that end after lo and begin before hi, at most
// limit; over: they are the last.
func queryKept(ctx context.Context, q querier, stream string, lo, hi int64, limit int) (out []chunkRow, over bool, err error) {
	// What begins too late ends the reading here: in SQL it would be looked for to the end.
	rows, err := q.QueryContext(ctx, `SELECT first, last, ms, session, fragments, size, entries FROM fragments_kept
		WHERE stream = ? AND last > ? ORDER BY last LIMIT ?`, stream, lo, limit)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var r chunkRow
		var first int64
		if err := rows.Scan(&first, &r.last, &r.ms, &r.session, &r.fragments, &r.size, &r.entries); err != nil {
			return nil, false, err
		}
		if r.first = Number(first); first >= hi {
			return out, true, nil
		}
		out = append(out, r)
	}
	return out, len(out) < limit, rows.Err()
}

// newestKept returns the newest fragment that is kept, and false when there is none.
func (c catalog) newestKept(ctx context.Context, stream string) (entry, bool, error) {
	var b []byte
	err := c.db.Read().QueryRowContext(ctx, "SELECT entries FROM fragments_kept WHERE stream = ? ORDER BY last DESC LIMIT 1", stream).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return entry{}, false, nil
	}
	var entries []entry
	if err == nil {
		entries, err = unpackEntries(b)
	}
	if err != nil || len(entries) == 0 {
		return entry{}, false, readFault("read what is kept", stream, err)
	}
	return entries[len(entries)-1], true, nil
}

// isKept reports whether a chunk is kept.
func (c catalog) isKept(ctx context.Context, stream string, id chunkID) (bool, error) {
	var n int
	err := c.db.Read().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM fragments_kept WHERE stream = ? AND ms = ? AND session = ?)",
		stream, id.ms, int64(id.session)).Scan(&n)
	return n > 0, readFault("read what is kept", stream, err)
}

func insertKept(tx *sql.Tx, stream string, r chunkRow) error {
	_, err := tx.Exec(`INSERT OR REPLACE INTO fragments_kept (stream, first, last, ms, session, fragments, size, entries)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, stream, int64(r.first), r.last, r.ms, int64(r.session), r.fragments, r.size, r.entries)
	return err
}

func deleteKept(tx *sql.Tx, stream string, r chunkRow) error {
	_, err := tx.Exec("DELETE FROM fragments_kept WHERE stream = ? AND last = ?", stream, r.last)
	return err
}

// rest returns what v shows of a chunk that ends before its horizon, as a row of its own;
// false: nothing.
func (v sight) rest(r chunkRow) (chunkRow, bool, error) {
	if !v.shows(int64(r.first), r.last) {
		return r, false, nil
	}
	entries, err := r.unpack(nil)
	if err != nil {
		return r, false, err
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !v.head(&e.Head) })
	if len(entries) == 0 {
		return r, false, nil
	}
	return row(r.chunkID, r.size, entries), true, nil
}

// noteHeld notes what outlives the horizons of all logs where that is news: a start on a
// full disk makes room before anybody says what is kept.
func (s *Store) noteHeld(ctx context.Context) error {
	held := map[*Log]intervals{}
	for _, l := range s.allLogs() {
		v := l.look(0)
		l.mu.Lock()
		if l.loaded && !slices.Equal(v.held, l.saved) {
			held[l] = v.held
		}
		l.mu.Unlock()
	}
	if len(held) == 0 {
		return nil
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for l, v := range held {
			if err := setHeld(tx, l.id, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what is kept: %w", err)
	}
	for l, v := range held {
		l.mu.Lock()
		l.saved = v
		l.mu.Unlock()
	}
	return nil
}

// release lets go of what was kept and is not any more. It reads only rows around what v
// does not hold and the last release did; the first time all of them.
func (s *Store) release(ctx context.Context, l *Log, v sight) (int, error) {
	l.mu.Lock()
	dropped := intervals{{math.MinInt64, v.horizon}}
	switch {
	case l.lookedAt && slices.Equal(l.released, v.held):
		dropped = nil
	case l.lookedAt:
		dropped = l.released.minus(v.held).within(math.MinInt64, v.horizon)
	}
	l.mu.Unlock()
	count := 0
	for _, d := range dropped {
		for at := d.start; ; {
			rows, over, err := queryKept(ctx, s.cfg.Meta.Read(), l.id, at, d.end, keptBatch)
			if err != nil {
				return count, readFault("trim", l.id, err)
			}
			n, err := s.releaseRows(ctx, l, v, rows)
			count += n
			if err != nil {
				return count, err
			}
			if over {
				break
			}
			at = rows[len(rows)-1].last
		}
	}
	l.mu.Lock()
	l.released, l.lookedAt = v.held, true
	l.mu.Unlock()
	return count, nil
}

// releaseRows takes out of rows what v does not show, and puts the objects of those that
// have nothing left in the trash.
func (s *Store) releaseRows(ctx context.Context, l *Log, v sight, rows []chunkRow) (int, error) {
	count := 0
	var less, gone []chunkRow
	was := map[chunkID]int64{}
	for _, r := range rows {
		rest, ok, err := v.rest(r)
		if err != nil {
			s.cfg.Logger.Error("what is kept of a chunk cannot be read", "stream", l.id, "object", r.key(l.id), "err", err)
			continue
		}
		switch {
		case !ok:
			gone = append(gone, r)
			count += r.fragments
		case rest.fragments < r.fragments:
			less, was[r.chunkID] = append(less, rest), r.last
			count += r.fragments - rest.fragments
		}
	}
	if count == 0 {
		return 0, nil
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, r := range gone {
			if err := errors.Join(addTrash(tx, r.key(l.id)), deleteKept(tx, l.id, r)); err != nil {
				return err
			}
		}
		for _, r := range less {
			before := r
			before.last = was[r.chunkID]
			if err := errors.Join(deleteKept(tx, l.id, before), insertKept(tx, l.id, r)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("trim %s: %w", l.id, err)
	}
	return count, nil
}
