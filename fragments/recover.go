package fragments

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"penstock/internal/fault"
)

// setClean notes whether the process ended in good order.
func (s *Store) setClean(ctx context.Context, clean bool) error {
	v := 0
	if clean {
		v = 1
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO fragments_state (name, value) VALUES ('clean', ?)", v)
		if err != nil || !clean {
			return err
		}
		return s.setEnds(tx)
	})
	if err == nil && clean {
		err = s.noteHeld(ctx)
	}
	return err
}

// noteEnds notes why media ended when the process could not end in good order.
func (s *Store) noteEnds(ctx context.Context) {
	if err := s.cfg.Meta.Write(ctx, s.setEnds); err != nil {
		s.cfg.Logger.Warn("why media ended was not noted; the timeline will call it a crash", "err", err)
	}
}

// noteAbsences notes why no media comes to logs that have been told, so that a crash does
// not forget that a producer had left before it.
func (s *Store) noteAbsences(ctx context.Context) error {
	type absence struct {
		log   *Log
		cause Cause
		at    int64
	}
	var list []absence
	for _, l := range s.allLogs() {
		l.mu.Lock()
		if l.absent != CauseNone && !l.told && l.fresh {
			list = append(list, absence{l, l.absent, l.last.End.UnixMicro()})
		}
		l.mu.Unlock()
	}
	if len(list) == 0 {
		return nil
	}
	if err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, a := range list {
			if err := setEnded(tx, a.log.id, a.cause, a.at); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, a := range list {
		a.log.mu.Lock()
		a.log.told = a.log.told || a.log.absent == a.cause
		a.log.mu.Unlock()
	}
	return nil
}

// setEnds notes why nothing follows the newest fragment of each log.
func (s *Store) setEnds(tx *sql.Tx) error {
	for _, l := range s.allLogs() {
		if cause, at, ok := l.stopCause(); ok {
			if err := setEnded(tx, l.id, cause, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopCause returns why nothing follows the newest fragment when the process ends now.
func (l *Log) stopCause() (Cause, int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cause := CauseServerStopped
	switch {
	case l.lostWhy != CauseNone:
		cause = l.lostWhy
	case l.absent != CauseNone:
		cause = l.absent
	}
	return cause, l.last.End.UnixMicro(), l.fresh
}

func (s *Store) wasClean(ctx context.Context) (bool, error) {
	var v int
	err := s.cfg.Meta.Read().QueryRowContext(ctx, "SELECT value FROM fragments_state WHERE name = 'clean'").Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return v == 1, err
}

// recover takes up what the last process left in Dir: chunks with a row go on to the
// bucket; the others are read, cut behind their last good record and will be sealed.
func (s *Store) recover(ctx context.Context) error {
	clean, err := s.wasClean(ctx)
	if err != nil {
		return readFault("recover fragments", s.cfg.Dir, err)
	}
	rows, err := queryChunks(ctx, s.cfg.Meta.Read(), "WHERE state = 0 ORDER BY first")
	if err != nil {
		return readFault("recover fragments", s.cfg.Dir, err)
	}
	known := map[string]bool{}
	for _, r := range rows {
		known[path.Base(s.fileName(r.stream, r.chunkID))] = true
		s.enqueueMove(r)
	}
	files, err := s.cfg.FS.ReadDir(s.cfg.Dir)
	if err != nil {
		return fault.Wrap(fault.Internal, "recover fragments", s.cfg.Dir, err)
	}
	cause := CauseServerCrashed
	if clean {
		cause = CauseServerStopped
	}
	s.dirGen = 1 // a killed process may not have come to sync the directory
	found := map[string][]*chunk{}
	for _, f := range files {
		stream, id, ok := parseFileName(f.Name())
		if !ok || known[f.Name()] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("recover fragments: %w", err)
		}
		c, err := s.reopen(ctx, stream, id)
		if err != nil {
			return err
		}
		if c != nil {
			c.ended = cause
			found[stream] = append(found[stream], c)
		}
	}
	for stream, chunks := range found {
		s.adoptFound(stream, chunks, cause)
	}
	return readFault("recover fragments", s.cfg.Dir, s.knowTrimmed(ctx))
}

// knowTrimmed has the sweeper finish what was begun on streams that nobody asks for any
// more, such as deleted ones, and know what is kept.
func (s *Store) knowTrimmed(ctx context.Context) error {
	rows, err := s.cfg.Meta.Read().QueryContext(ctx, "SELECT stream FROM fragments_streams WHERE horizon > 0 OR held IS NOT NULL")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var stream string
		if err := rows.Scan(&stream); err != nil {
			return err
		}
		s.Log(stream, nil)
	}
	return rows.Err()
}

// reopen reads an open chunk file. A file without a usable record is set aside or, when
// nothing was ever in it, removed; then there is no chunk and no error.
func (s *Store) reopen(ctx context.Context, stream string, id chunkID) (*chunk, error) {
	name := s.fileName(stream, id)
	stale, err := s.uploaded(ctx, stream, id)
	if err != nil {
		return nil, err
	}
	if stale { // it was uploaded, and the crash came before its removal
		return nil, fault.Wrap(fault.Internal, "remove uploaded chunk", name, s.cfg.FS.Remove(name))
	}
	file, err := s.cfg.FS.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "recover chunk", name, err)
	}
	size, err := file.Size()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "recover chunk", name, errors.Join(err, file.Close()))
	}
	sc, err := scan(file, size, scanTail)
	if other := refuse("recover chunk", name, err); other != nil {
		return nil, errors.Join(other, file.Close())
	}
	if err == nil && (sc.header.stream != stream || sc.header.salt != id.session) {
		err = errors.New("its header is another chunk's")
	}
	if err == nil && len(sc.entries) > maxEntries {
		sc.entries = sc.entries[:maxEntries]
	}
	if err != nil || len(sc.entries) == 0 {
		if cerr := file.Close(); cerr != nil {
			s.cfg.Logger.Debug("a chunk file did not close well", "stream", stream, "err", cerr)
		}
		return nil, s.setAside(name, size, err)
	}
	for _, f := range sc.flaws {
		s.cfg.Logger.Warn("part of an open chunk cannot be used", "stream", stream, "object", name,
			"offset", f.off, "bytes", f.len, "err", f.why)
	}
	for i := range sc.entries {
		sc.entries[i].Persisted = sc.entries[i].off+sc.entries[i].recordSize() <= sc.durable
	}
	return &chunk{
		log: s.Log(stream, nil), id: id, name: name, file: file, holds: 1, created: sc.header.created, dirGen: s.dirGen,
		size: sc.end, durable: sc.durable, entries: sc.entries, full: true, sealing: true, recovered: true,
	}, nil
}

// uploaded reports whether a row says that the chunk is in the bucket already.
func (s *Store) uploaded(ctx context.Context, stream string, id chunkID) (bool, error) {
	rows, err := queryChunks(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND first >= ? AND first < ? AND session = ?",
		stream, id.ms*1000, (id.ms+1)*1000, int64(id.session))
	if err != nil {
		return false, readFault("recover chunk", s.fileName(stream, id), err)
	}
	if len(rows) > 0 {
		return true, nil
	}
	return s.cat.isKept(ctx, stream, id)
}

// setAside removes a file that never held a record, and renames one that holds something
// unreadable, so that a person can look at it.
func (s *Store) setAside(name string, size int64, why error) error {
	if size <= headerLen+MaxStream {
		err := s.cfg.FS.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fault.Wrap(fault.Internal, "remove empty chunk", name, err)
	}
	if why == nil {
		why = errors.New("no record of it is whole")
	}
	s.cfg.Logger.Warn("an open chunk file cannot be used and was renamed", "object", name+".damaged", "bytes", size, "err", why)
	return fault.Wrap(fault.Internal, "set chunk aside", name, s.cfg.FS.Rename(name, name+".damaged"))
}

// adoptFound gives the found chunks of a stream to its log. Where a chunk was given up
// after a failed write and its rest written again to another, each fragment counts once.
func (s *Store) adoptFound(stream string, chunks []*chunk, cause Cause) {
	slices.SortFunc(chunks, func(a, b *chunk) int {
		return cmp.Or(cmp.Compare(a.entries[0].Number, b.entries[0].Number),
			cmp.Compare(a.entries[len(a.entries)-1].Number, b.entries[len(b.entries)-1].Number))
	})
	l := s.Log(stream, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range chunks {
		if i+1 < len(chunks) {
			keep, _ := slices.BinarySearchFunc(c.entries, chunks[i+1].entries[0].Number, func(e entry, n Number) int {
				return cmp.Compare(e.Number, n)
			})
			c.entries = c.entries[:keep]
		}
		if n := len(c.entries); n > 0 {
			c.size = c.entries[n-1].off + c.entries[n-1].recordSize()
			l.last = c.entries[n-1].Head
		}
	}
	l.chunks = append(l.chunks, chunks...)
	l.resume = cause
	s.mu.Lock()
	s.seals = append(s.seals, chunks...)
	s.mu.Unlock()
	s.sealWake.up()
}
