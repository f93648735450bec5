package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// sealer ends full chunks with a footer, lists them in a row and passes them on to the
// bucket. What a crash leaves at each step is in docs/design/fragments.md.
func (s *Store) sealer(ctx context.Context) {
	for {
		s.mu.Lock()
		batch := s.seals
		s.seals = nil
		s.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-s.sealWake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if err := s.seal(ctx, batch); err != nil {
			if ctx.Err() != nil {
				return
			}
			s.met.failures.WithLabelValues("seal").Inc()
			s.writeFailed(batch[0].log, err)
			s.mu.Lock()
			s.seals = append(batch, s.seals...)
			s.mu.Unlock()
			if !s.sleep(ctx, time.Second) {
				return
			}
		}
	}
}

// sleep waits; false: ctx is over.
func (s *Store) sleep(ctx context.Context, d time.Duration) bool {
	timer := s.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// seal seals chunks and lists them with one commit.
func (s *Store) seal(ctx context.Context, batch []*chunk) error {
	rows := make([]listed, len(batch))
	var wg sync.WaitGroup
	next := make(chan int, len(batch))
	for i := range batch {
		next <- i
	}
	close(next)
	for range min(s.cfg.Parallel, len(batch)) {
		wg.Go(func() {
			for i := range next {
				rows[i] = s.finish(batch[i])
			}
		})
	}
	wg.Wait()
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for i, r := range rows {
			if r.fragments == 0 {
				continue
			}
			if err := insertChunk(tx, r.stream, r.chunkRow, stateLocal); err != nil {
				return err
			}
			if c := batch[i]; c.recovered {
				if err := setEnded(tx, r.stream, c.ended, r.last); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list chunks: %w", err)
	}
	for i, c := range batch {
		s.listed(c, rows[i])
	}
	return nil
}

// finish writes the footer of c and makes it durable; it may be called again. A file
// that failed before gets no footer: its row is all there is to know.
func (s *Store) finish(c *chunk) listed {
	l := c.log
	l.mu.Lock()
	entries, size, dead := c.entries, c.size, c.dead
	l.mu.Unlock()
	if len(entries) == 0 {
		return listed{stream: l.id}
	}
	if dead == nil && c.footer == 0 {
		foot := marshalFooter(c.id.session, entries)
		err := error(nil)
		if c.recovered {
			err = c.file.Truncate(size)
		}
		if err == nil {
			_, err = c.file.WriteAt(foot, size)
		}
		if err == nil {
			err = s.syncDir(c.dirGen)
		}
		if err == nil {
			err = c.file.Sync()
		}
		if err == nil {
			c.footer = int64(len(foot))
		} else {
			s.met.failures.WithLabelValues("seal").Inc()
			s.writeFailed(l, err)
			l.mu.Lock()
			c.dead = err
			l.mu.Unlock()
		}
	}
	last := entries[len(entries)-1]
	size = last.off + last.recordSize() + c.footer
	return listed{chunkRow: row(c.id, size, entries), stream: l.id}
}

// listed takes c, which a row lists now, out of its log.
func (s *Store) listed(c *chunk, r listed) {
	l := c.log
	l.mu.Lock()
	l.chunks = slices.DeleteFunc(l.chunks, func(have *chunk) bool { return have == c })
	l.mu.Unlock()
	if r.fragments == 0 {
		if err := s.cfg.FS.Remove(c.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.cfg.Logger.Warn("an empty chunk file was not removed", "stream", l.id, "err", err)
		}
	} else {
		s.enqueueMove(r)
	}
	c.release()
}

func (s *Store) enqueueMove(r listed) {
	r.entries = nil
	s.mu.Lock()
	s.moves = append(s.moves, r)
	s.spool += r.size
	s.mu.Unlock()
	s.moveWake.up()
}

// mover hands listed chunks to the bucket, one after another, for ever: a bucket that
// does not answer is asked again.
func (s *Store) mover(ctx context.Context) {
	backoff := time.Second
	for {
		s.mu.Lock()
		var r listed
		have := len(s.moves) > 0
		if have {
			r, s.moves = s.moves[0], s.moves[1:]
		}
		more := len(s.moves) > 0
		s.mu.Unlock()
		if more {
			s.moveWake.up()
		}
		if !have {
			select {
			case <-s.moveWake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := s.move(ctx, r)
		s.noteUpload(err)
		if err == nil {
			backoff = time.Second
			s.mu.Lock()
			s.spool -= r.size
			s.mu.Unlock()
			continue
		}
		s.mu.Lock()
		s.moves = append([]listed{r}, s.moves...)
		s.mu.Unlock()
		s.moveWake.up()
		if ctx.Err() != nil || !s.sleep(ctx, backoff) {
			return
		}
		backoff = min(2*backoff, 30*time.Second)
	}
}

func (s *Store) noteUpload(err error) {
	words := ""
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return
		}
		s.met.failures.WithLabelValues("upload").Inc()
		words = strings.TrimRight(err.Error(), ".")
		if hint := fault.HintOf(err); hint != "" {
			words += "; " + hint
		}
	}
	s.mu.Lock()
	changed := (s.uploadErr == "") != (words == "")
	s.uploadErr = words
	s.mu.Unlock()
	switch {
	case changed && err != nil:
		s.cfg.Logger.Error("a chunk was not handed to the bucket; it stays here and is tried again", "err", err)
	case changed:
		s.cfg.Logger.Info("the bucket takes chunks again")
	}
}

// move makes a local chunk an object and notes it.
func (s *Store) move(ctx context.Context, r listed) error {
	began := s.cfg.Clock.Now()
	name, key := s.fileName(r.stream, r.chunkID), r.key(r.stream)
	err := s.put(ctx, r, name, key)
	if fault.Is(err, fault.NotFound) || errors.Is(err, fs.ErrNotExist) {
		// The file is gone: an earlier move got as far as that, or it is lost.
		gone := err
		if err = s.exists(ctx, key); fault.Is(err, fault.NotFound) {
			s.noteDamage(damaged{r.stream, damage{r.first, r.last, "the chunk's file is missing"}})
			s.cfg.Logger.Error("a chunk is missing", "stream", r.stream, "object", key, "err", gone)
			err = nil
		}
	}
	if err != nil {
		return err
	}
	s.met.observe(s.met.upload, s.cfg.Clock.Now().Sub(began))
	err = s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE fragments_chunks SET state = 1 WHERE stream = ? AND first = ?", r.stream, int64(r.first))
		return err
	})
	if err != nil {
		return fmt.Errorf("note chunk %s: %w", key, err)
	}
	if s.files == nil {
		if err := s.cfg.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.cfg.Logger.Warn("an uploaded chunk was not removed from the spool", "stream", r.stream, "err", err)
		}
	}
	return nil
}

// put renames the file into a bucket of files, or uploads it.
func (s *Store) put(ctx context.Context, r listed, name, key string) error {
	if s.files != nil {
		err := s.files.Adopt(ctx, key, name)
		if !fault.Is(err, fault.InUse) {
			return err
		}
	}
	file, err := s.cfg.FS.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	err = s.cfg.Bucket.Put(ctx, key, file, r.size)
	if fault.Is(err, fault.InUse) {
		return s.same(ctx, key, file, r.size)
	}
	return err
}

// same returns nil when the object is the file that could not be stored under its key: an
// earlier attempt got through.
func (s *Store) same(ctx context.Context, key string, file host.File, size int64) error {
	ok, err := storage.Same(ctx, s.cfg.Bucket, key, file, size)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.InUse, "store chunk", key, "another object has this name").
			WithHint("two servers may be using this bucket: give each its own prefix")
	}
	return nil
}

// exists returns nil when the object is there.
func (s *Store) exists(ctx context.Context, key string) error {
	r, err := s.cfg.Bucket.Get(ctx, key, 0, 1)
	if err != nil {
		return err
	}
	return r.Close()
}
