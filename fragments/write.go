package fragments

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"penstock/internal/fault"
)

// What one turn of a writer takes from one log, so that a long backlog of one stream
// does not keep the others waiting.
const (
	turnBytes     = 8 << 20
	turnFragments = 64
)

// writer writes what logs have queued, one log's turn at a time.
func (s *Store) writer(ctx context.Context) {
	w := &scratch{}
	for {
		s.mu.Lock()
		var l *Log
		if len(s.ready) > 0 {
			l = s.ready[0]
			s.ready = s.ready[1:]
		}
		more := len(s.ready) > 0
		s.mu.Unlock()
		if more {
			s.writeWake.up()
		}
		if l == nil {
			select {
			case <-s.writeWake:
				continue
			case <-ctx.Done():
				return
			}
		}
		s.turn(l, w)
		if ctx.Err() != nil {
			return
		}
	}
}

// scratch is a writer's memory, used again and again.
type scratch struct {
	meta []byte
	ends []int
	bufs [][]byte
	recs []record
}

// maxScratch bounds what a writer keeps between turns.
const maxScratch = 1 << 20

// turn writes a part of a log's queue.
func (s *Store) turn(l *Log, w *scratch) {
	l.mu.Lock()
	take, bytes := 0, int64(0)
	for take < len(l.queue) && take < turnFragments && (take == 0 || bytes < turnBytes) {
		bytes += l.queue[take].f.Size
		take++
	}
	batch := l.queue[:take:take]
	// A copy: what is left of the old array would keep the media alive that was written.
	l.queue = append([]*pending(nil), l.queue[take:]...)
	l.writing = batch
	c := l.current(s.cfg.Clock.Now(), batch)
	if c != nil {
		c.hold()
		c.inHand = true
	}
	l.mu.Unlock()
	var err error
	if len(batch) > 0 {
		c, err = s.place(l, c, batch, w)
	}
	s.written(l, c, batch, err)
	if c != nil {
		c.release()
	}
}

// place writes batch to c, or to a new chunk where c is nil, which it returns.
func (s *Store) place(l *Log, c *chunk, batch []*pending, w *scratch) (*chunk, error) {
	size := int64(0)
	for _, p := range batch {
		size += p.size
	}
	back, err := s.claim(size)
	if err != nil {
		return c, err
	}
	defer back()
	if c == nil {
		if c, err = s.create(l, batch[0].f.Number); err != nil {
			return nil, err
		}
	}
	return c, s.write(c, batch, w)
}

// current returns the chunk that batch goes to, or nil for a new one; l.mu is held.
func (l *Log) current(now time.Time, batch []*pending) *chunk {
	if len(l.chunks) == 0 || len(batch) == 0 {
		return nil
	}
	c := l.chunks[len(l.chunks)-1]
	if c.full || c.dead != nil {
		return nil
	}
	if l.s.expired(c, now) || len(c.entries)+len(c.flying)+len(batch) > maxEntries {
		l.s.retire(c)
		return nil
	}
	return c
}

// expired reports whether c has to close.
func (s *Store) expired(c *chunk, now time.Time) bool {
	// Up to a quarter earlier, by lot: cameras that began together do not close together.
	span := s.cfg.ChunkSpan - s.cfg.ChunkSpan/4*time.Duration(c.id.session%256)/256
	age := now.Sub(c.created)
	return c.size >= s.cfg.ChunkSize || age >= span || age < -span
}

// retire lets no more into c and hands it to the sealer once all in it is durable; l.mu
// is held.
func (s *Store) retire(c *chunk) {
	c.full = true
	s.settle(c)
}

// create makes the file of a new chunk whose first fragment has the given number. It is
// not in the log before something was written.
func (s *Store) create(l *Log, first Number) (*chunk, error) {
	var random [4]byte
	if _, err := io.ReadFull(s.cfg.Rand, random[:]); err != nil {
		return nil, err
	}
	id := chunkID{int64(first) / 1000, binary.LittleEndian.Uint32(random[:])}
	c := &chunk{
		log: l, id: id, name: s.fileName(l.id, id),
		created: s.cfg.Clock.Now(), holds: 1,
	}
	var err error
	if c.file, err = s.cfg.FS.OpenFile(c.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.dirGen++
	c.dirGen = s.dirGen
	s.mu.Unlock()
	return c, nil
}

// write writes batch behind what c holds, with one call; nobody else writes to c.
func (s *Store) write(c *chunk, batch []*pending, w *scratch) error {
	w.meta, w.ends, w.bufs, w.recs = w.meta[:0], w.ends[:0], w.bufs[:0], w.recs[:0]
	c.log.mu.Lock()
	off, durable := c.size, c.durable
	c.log.mu.Unlock()
	start := off
	if off == 0 {
		head := fileHeader{stream: c.log.id, salt: c.id.session, created: c.created}
		w.meta = append(w.meta, head.marshal()...)
		off = int64(len(w.meta))
	}
	w.ends = append(w.ends, len(w.meta))
	// The heads first: w.meta moves as it grows.
	for _, p := range batch {
		at := len(w.meta)
		w.meta = append(w.meta, make([]byte, recordLen)...)
		w.meta = appendMeta(w.meta, p.f, p.tracks, durable)
		w.ends = append(w.ends, len(w.meta))
		if len(w.meta)-at-recordLen > MaxMeta {
			return fault.New(fault.Invalid, "write fragment", p.f.Number.String(), "its sample table is too long")
		}
	}
	if n := w.ends[0]; n > 0 {
		w.bufs = append(w.bufs, w.meta[:n])
	}
	for i, p := range batch {
		head := w.meta[w.ends[i]:w.ends[i+1]]
		w.bufs = append(w.bufs, head)
		var crc uint32
		var n int64
		w.bufs, crc, n = gather(w.bufs, p.f.Samples)
		rec := record{kind: recordFragment, metaLen: uint32(len(head) - recordLen), dataLen: uint32(n), dataCRC: crc}
		rec.put(head, c.id.session, head[recordLen:])
		p.entry = entry{Head: p.f.Head, off: off, metaLen: rec.metaLen}
		p.entry.Persisted = true
		off += rec.size()
	}
	began := s.cfg.Clock.Now()
	n, err := c.file.WritevAt(w.bufs, start)
	s.met.observe(s.met.write, s.cfg.Clock.Now().Sub(began))
	clear(w.bufs[:cap(w.bufs)]) // the samples must not be kept alive by it
	if cap(w.meta) > maxScratch {
		w.meta = nil
	}
	if err == nil && start+n != off {
		err = io.ErrShortWrite
	}
	return err
}

// written notes what became of batch, which a writer wrote to c or could not.
func (s *Store) written(l *Log, c *chunk, batch []*pending, err error) {
	l.mu.Lock()
	l.writing = nil // l.waiting stays: this writer still has the log
	fresh := c != nil && c.size == 0
	if c != nil {
		c.inHand = false
	}
	switch {
	case len(batch) == 0:
	case err != nil:
		l.requeue(batch)
		switch {
		case c == nil || fresh:
		case errors.Is(err, errNoRoom): // nothing was written
			s.settle(c)
		default:
			s.abandon(c, err)
		}
	case c.dead != nil: // a sync failed meanwhile
		l.requeue(batch)
		s.settle(c)
	default:
		if fresh {
			l.chunks = append(l.chunks, c)
			c.hold()
		}
		last := batch[len(batch)-1].entry
		c.size = last.off + last.recordSize()
		c.flying = append(c.flying, batch...)
		l.fails = 0
		s.soil(c)
		s.retireIfDue(c)
	}
	if err != nil {
		s.pause(l)
	} else {
		l.waiting = false
		l.wakeWriter()
	}
	l.mu.Unlock()
	if err == nil {
		s.wroteWell()
		return
	}
	l.sendAcks()
	s.met.failures.WithLabelValues("write").Inc()
	if fresh {
		err = errors.Join(err, s.cfg.FS.Remove(c.name))
	}
	s.writeFailed(l, err)
}

// retireIfDue closes c as soon as it is large enough; l.mu is held.
func (s *Store) retireIfDue(c *chunk) {
	if !c.full && c.size >= s.cfg.ChunkSize {
		c.full = true // the sync hands it on
	}
}

// abandon gives up the file of c after a failed write or sync: what was synced stays and
// will be listed, the rest is written to another chunk; l.mu is held. A sync that failed
// is never tried again on the same file: the kernel may have dropped the pages.
func (s *Store) abandon(c *chunk, err error) {
	if c.dead != nil {
		return
	}
	c.dead, c.full, c.dirty = err, true, false
	l := c.log
	keep := min(c.synced, len(c.flying))
	l.requeue(c.flying[keep:])
	c.flying = c.flying[:keep:keep]
	l.ack()
	s.settle(c)
	l.wakeWriter()
}

// pause keeps the log out of the writers' line for a while; l.mu is held.
func (s *Store) pause(l *Log) {
	l.fails++
	l.backoff = min(retryEvery<<min(l.fails, 5), 5*time.Second)
	s.mu.Lock()
	s.paused = append(s.paused, l)
	s.mu.Unlock()
}

// retrier puts paused logs back in line.
func (s *Store) retrier(ctx context.Context) {
	for {
		timer := s.cfg.Clock.NewTimer(retryEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		s.mu.Lock()
		logs := s.paused
		s.paused = nil
		s.mu.Unlock()
		for _, l := range logs {
			l.mu.Lock()
			if l.backoff -= retryEvery; l.backoff > 0 {
				s.mu.Lock()
				s.paused = append(s.paused, l)
				s.mu.Unlock()
			} else {
				l.waiting = false
				l.wakeWriter()
			}
			l.mu.Unlock()
		}
	}
}

// retryEvery is the grain of the wait after a failed write.
const retryEvery = 250 * time.Millisecond
