package fragments

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// pack turns closed hours of chunk rows into hour rows, closed days of hours into a day's
// index object, closed months of days into a month's.
func (s *Store) pack(ctx context.Context, l *Log) error {
	l.trim.Lock()
	defer l.trim.Unlock()
	if err := s.packHours(ctx, l.id); err != nil {
		return err
	}
	if err := s.packUp(ctx, l.id, levelDay, s.cfg.DayAfter); err != nil {
		return err
	}
	return s.packUp(ctx, l.id, levelMonth, s.cfg.MonthAfter)
}

// bucketOf returns the end of the hour, day or month that an instant in µs lies in.
func bucketOf(level int, us int64) (start, end time.Time) {
	t := time.UnixMicro(us).UTC()
	switch level {
	case levelHour:
		start = t.Truncate(time.Hour)
		return start, start.Add(time.Hour)
	case levelDay:
		start = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 0, 1)
	}
	start = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return start, start.AddDate(0, 1, 0)
}

// indexKey is the key of a day's or a month's index object.
func indexKey(stream string, level int, start time.Time) string {
	if level == levelDay {
		return fmt.Sprintf("ix/%s/%s/%s.pix", stream, start.Format("200601"), start.Format("02"))
	}
	return fmt.Sprintf("ix/%s/%s.pix", stream, start.Format("200601"))
}

// packHours packs the chunks of each hour that is over; a chunk belongs to the hour in
// which it begins. An hour with a chunk that is not yet in the bucket waits, and so do
// the later ones.
func (s *Store) packHours(ctx context.Context, stream string) error {
	limit := s.cfg.Clock.Now().Add(-s.cfg.HourAfter)
	for {
		first, err := queryChunks(ctx, s.cfg.Meta.Read(), "WHERE stream = ? ORDER BY first LIMIT 1", stream)
		if err != nil {
			return readFault("pack an hour", stream, err)
		}
		if len(first) == 0 {
			return nil
		}
		start, end := bucketOf(levelHour, int64(first[0].first))
		if end.After(limit) {
			return nil
		}
		rows, err := queryChunks(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND first < ? ORDER BY first", stream, end.UnixMicro())
		if err != nil {
			return readFault("pack an hour", stream, err)
		}
		if s.unlisted(stream, start, end) {
			return nil
		}
		chunks := make([]chunkRow, 0, len(rows))
		for _, r := range rows {
			if r.state != stateStored {
				return nil
			}
			chunks = append(chunks, r.chunkRow)
		}
		chunks = chunks[:min(len(chunks), maxSectionChunks)]
		if err := s.packHour(ctx, stream, chunks); err != nil {
			return err
		}
	}
}

// unlisted reports whether memory holds a chunk that begins in the hour.
func (s *Store) unlisted(stream string, start, end time.Time) bool {
	l := s.Log(stream, nil)
	for _, h := range l.live() {
		if h.Number < Number(end.UnixMicro()) && h.Number >= Number(start.UnixMicro()) {
			return true
		}
	}
	return false
}

func (s *Store) packHour(ctx context.Context, stream string, chunks []chunkRow) error {
	body, err := packSection(chunks)
	if err != nil {
		return readFault("pack an hour", stream, err)
	}
	p, err := partOf(chunks, 0, int64(len(body)))
	if err != nil {
		return readFault("pack an hour", stream, err)
	}
	ix := indexRow{
		stream: stream, first: p.first, last: p.last, level: levelHour, body: body, parts: []part{p},
		fragments: int64(p.fragments), size: p.size,
	}
	err = s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, c := range chunks {
			if _, err := tx.Exec("DELETE FROM fragments_chunks WHERE stream = ? AND first = ?", stream, int64(c.first)); err != nil {
				return err
			}
		}
		return insertIndex(tx, ix)
	})
	if err != nil {
		return fmt.Errorf("pack an hour of %s: %w", stream, err)
	}
	return nil
}

// packUp joins the rows of the level below into one index object per day or month that is
// over.
func (s *Store) packUp(ctx context.Context, stream string, level int, after time.Duration) error {
	limit := s.cfg.Clock.Now().Add(-after)
	for {
		first, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND level = ? ORDER BY first LIMIT 1", stream, level-1)
		if err != nil {
			return readFault("pack the index", stream, err)
		}
		if len(first) == 0 {
			return nil
		}
		start, end := bucketOf(level, int64(first[0].first))
		if end.After(limit) {
			return nil
		}
		rows, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND level = ? AND first < ? ORDER BY first",
			stream, level-1, end.UnixMicro())
		if err != nil {
			return readFault("pack the index", stream, err)
		}
		if waits, err := s.lowerWaits(ctx, stream, level, end); err != nil || waits {
			return err
		}
		if err := s.join(ctx, stream, level, indexKey(stream, level, start), rows); err != nil {
			return err
		}
	}
}

// lowerWaits reports whether something below level-1 still belongs before end.
func (s *Store) lowerWaits(ctx context.Context, stream string, level int, end time.Time) (bool, error) {
	var n int
	err := s.cfg.Meta.Read().QueryRowContext(ctx, `SELECT
		EXISTS (SELECT 1 FROM fragments_chunks WHERE stream = ?1 AND first < ?2) +
		EXISTS (SELECT 1 FROM fragments_index WHERE stream = ?1 AND first < ?2 AND level < ?3)`,
		stream, end.UnixMicro(), level-1).Scan(&n)
	return n > 0, readFault("pack the index", stream, err)
}

// join writes one index object from the sections of rows and lets it stand for them.
func (s *Store) join(ctx context.Context, stream string, level int, key string, rows []indexRow) error {
	ix := indexRow{stream: stream, level: level, key: key, first: rows[0].first}
	var sections [][]byte
	for _, r := range rows {
		for _, p := range r.parts {
			b, err := s.sectionBytes(ctx, r, p)
			if err == nil {
				_, err = unpackSection(b)
			}
			if err != nil {
				return fmt.Errorf("pack the index of %s: %w", stream, err)
			}
			sections = append(sections, b)
			ix.parts = append(ix.parts, p)
		}
		ix.last = max(ix.last, r.last)
		ix.fragments += r.fragments
		ix.size += r.size
		ix.trimmed = max(ix.trimmed, r.trimmed)
	}
	b := packIndex(stream, sections, ix.parts)
	taken, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND key = ?", stream, key)
	if err == nil && len(taken) > 0 {
		err = fmt.Errorf("%s is in use: penstock reindex puts it right", key)
	}
	if err != nil {
		return readFault("pack the index", stream, err)
	}
	if err := s.putIndex(ctx, key, b); err != nil {
		return err
	}
	err = s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, r := range rows {
			if _, err := tx.Exec("DELETE FROM fragments_index WHERE stream = ? AND first = ?", stream, int64(r.first)); err != nil {
				return err
			}
			if r.key != "" {
				if err := addTrash(tx, r.key); err != nil {
					return err
				}
			}
		}
		return insertIndex(tx, ix)
	})
	if err != nil {
		return fmt.Errorf("pack the index of %s: %w", stream, err)
	}
	return nil
}

// putIndex stores an index object. One that is there already was left by a crash before
// its row was written; the rows are right, so it is replaced unless it is the same.
func (s *Store) putIndex(ctx context.Context, key string, b []byte) error {
	r := bytes.NewReader(b)
	err := s.cfg.Bucket.Put(ctx, key, r, int64(len(b)))
	if !fault.Is(err, fault.InUse) {
		return err
	}
	same, err := storage.Same(ctx, s.cfg.Bucket, key, r, int64(len(b)))
	if err != nil || same {
		return err
	}
	if err := s.cfg.Bucket.Delete(ctx, key); err != nil {
		return err
	}
	return errors.Join(s.cfg.Bucket.Put(ctx, key, r, int64(len(b))))
}
