package fragments

import (
	"context"
	"path"
	"time"
)

// manyDirty is from how many files on a round of syncs waits for the full SyncEvery:
// below, prompt syncs cost no more of them, as each file has one new fragment.
const manyDirty = 64

// soil notes that c has bytes to be synced; l.mu is held.
func (s *Store) soil(c *chunk) {
	if c.dirty || c.dead != nil {
		return
	}
	c.dirty = true
	if c.syncing {
		return // the sync puts it in line again
	}
	s.mu.Lock()
	s.dirty = append(s.dirty, c)
	s.mu.Unlock()
	s.dirtyWake.up()
}

// ticker gathers dirty chunks for a moment and gives them to the syncers together.
func (s *Store) ticker(ctx context.Context) {
	for {
		select {
		case <-s.dirtyWake:
		case <-ctx.Done():
			return
		}
		if !s.linger(ctx, s.cfg.SyncEvery/10) {
			return
		}
		s.mu.Lock()
		many := len(s.dirty) >= manyDirty
		s.mu.Unlock()
		if many && !s.linger(ctx, s.cfg.SyncEvery-s.cfg.SyncEvery/10) {
			return
		}
		s.mu.Lock()
		s.syncs = append(s.syncs, s.dirty...)
		clear(s.dirty)
		s.dirty = s.dirty[:0]
		s.mu.Unlock()
		s.syncWake.up()
	}
}

// linger waits for d unless the store is stopping; false: ctx is over.
func (s *Store) linger(ctx context.Context, d time.Duration) bool {
	s.mu.Lock()
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		return ctx.Err() == nil
	}
	return s.sleep(ctx, d)
}

// syncer syncs one file after another.
func (s *Store) syncer(ctx context.Context) {
	for {
		s.mu.Lock()
		var c *chunk
		if len(s.syncs) > 0 {
			c = s.syncs[0]
			s.syncs[0] = nil
			s.syncs = s.syncs[1:]
		}
		more := len(s.syncs) > 0
		s.mu.Unlock()
		if more {
			s.syncWake.up()
		}
		if c == nil {
			select {
			case <-s.syncWake:
				continue
			case <-ctx.Done():
				return
			}
		}
		s.sync(c)
		if ctx.Err() != nil {
			return
		}
	}
}

// sync makes durable what was written to c before it began.
func (s *Store) sync(c *chunk) {
	l := c.log
	l.mu.Lock()
	if c.dead != nil || !c.dirty {
		l.mu.Unlock()
		return
	}
	c.dirty, c.syncing = false, true
	// Counted from the chunk's opening: an older chunk's sync may take from flying meanwhile.
	n, size := c.acked+len(c.flying), c.size
	c.hold()
	l.mu.Unlock()

	err := s.syncDir(c.dirGen)
	if err == nil {
		began := s.cfg.Clock.Now()
		err = c.file.Sync()
		s.met.observe(s.met.sync, s.cfg.Clock.Now().Sub(began))
	}

	l.mu.Lock()
	c.syncing = false
	switch {
	case err != nil:
		s.abandon(c, err)
	case c.dead == nil:
		c.synced, c.durable = max(c.synced, min(n-c.acked, len(c.flying))), size
		if c.dirty { // written to meanwhile
			c.dirty = false
			s.soil(c)
		}
		l.ack()
		s.settle(c)
	default: // a write failed meanwhile; what was synced before it is durable all the same
		s.settle(c)
	}
	l.mu.Unlock()
	l.sendAcks()
	if err != nil {
		s.met.failures.WithLabelValues("sync").Inc()
		s.writeFailed(l, err)
	}
	c.release()
}

// syncDir makes the creation of files durable up to the given change.
func (s *Store) syncDir(gen uint64) error {
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	if s.dirSynced >= gen {
		return nil
	}
	s.mu.Lock()
	now := s.dirGen
	s.mu.Unlock()
	if err := s.cfg.FS.SyncDir(path.Clean(s.cfg.Dir)); err != nil {
		return err
	}
	s.dirSynced = now
	return nil
}

// ack makes entries of what is durable, oldest first, and lines up the callbacks; l.mu
// is held. What is durable in a younger chunk waits for the older ones: a producer hears
// the fates in order.
func (l *Log) ack() {
	for _, c := range l.chunks {
		for _, p := range c.flying[:c.synced] {
			c.entries = append(c.entries, p.entry)
			l.acks = append(l.acks, func() { l.s.acked(p) })
		}
		c.acked += c.synced
		rest := c.flying[c.synced:]
		c.flying, c.synced = append([]*pending(nil), rest...), 0
		l.s.settle(c)
		if len(rest) > 0 {
			return
		}
	}
}

// settle hands a full chunk whose fragments are all durable to the sealer; l.mu is held.
func (s *Store) settle(c *chunk) {
	if !c.full || len(c.flying) > 0 || c.syncing || c.inHand || c.sealing {
		return
	}
	c.sealing = true // once only
	s.mu.Lock()
	s.seals = append(s.seals, c)
	s.mu.Unlock()
	s.sealWake.up()
}

// acked gives back the budget and tells the producer.
func (s *Store) acked(p *pending) {
	s.met.bytes.Add(float64(p.f.Size))
	s.met.fragments.Inc()
	s.met.observe(s.met.persist, s.cfg.Clock.Now().Sub(p.since))
	if p.done != nil {
		p.done(p.entry.Head, nil)
	}
	s.give(p.size)
}

// sendAcks calls the callbacks in order; one goroutine at a time does it for a log.
func (l *Log) sendAcks() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acking {
		return
	}
	l.acking = true
	for len(l.acks) > 0 {
		batch := l.acks
		l.acks = nil
		l.mu.Unlock()
		for _, fn := range batch {
			fn()
		}
		l.mu.Lock()
	}
	l.acking = false
}
