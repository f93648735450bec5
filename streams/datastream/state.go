package datastream

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"penstock/internal/fault"
	"penstock/records"
)

// tasksMax bounds the streams that wait to be worked on; a caller past it waits.
const tasksMax = 4096

// runWait is how long a change waits for Run to begin.
const runWait = 5 * time.Second

// retryAfter is how long a step that storage refused is left alone before the next try.
const retryAfter = time.Second

// workAtOnce bounds how many streams change state at the same time.
const workAtOnce = 16

// What can be pending. The words are stored.
const (
	opCreate  = "create"
	opDelete  = "delete"
	opSplit   = "split"
	opMerge   = "merge"
	opReshard = "reshard"
	opEncrypt = "encrypt" // or stop: Info.KeyID says which
	opSettle  = "settle"  // nothing to do but to pass through UPDATING
)

// task is what a stream does on its way back to ACTIVE. It is immutable. Doing it twice
// does it once, so that a crash in the middle only repeats it.
type task struct {
	Op     string          `json:"op"`
	Shard  records.ShardID `json:"shard,omitempty"`
	Other  records.ShardID `json:"other,omitempty"`
	At     string          `json:"at,omitempty"` // a hash key in decimal
	Shards int             `json:"shards,omitempty"`
}

// Run works on streams that change state, and lets on-demand streams grow. It returns when
// ctx ends, after the last step. It is called once.
func (c *Catalogue) Run(ctx context.Context) error {
	close(c.began)
	defer close(c.ended)
	var work sync.WaitGroup
	defer work.Wait()
	if c.c.ScaleEvery > 0 {
		work.Go(func() { c.scaleLoop(ctx) })
	}
	spawn := func(s *Stream) { work.Go(func() { s.settle(ctx) }) }
	for _, s := range c.List("", "") {
		if s.claim() {
			spawn(s)
		}
		s.resumeConsumers(ctx, &work)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-c.tasks:
			spawn(s)
		case f := <-c.laters:
			work.Go(func() { f(ctx) })
		}
	}
}

// up reports whether Run has begun, and waits for it a little. What was written down before
// up said no is found by Run when it begins.
func (c *Catalogue) up(ctx context.Context) bool {
	select {
	case <-c.began:
		return true
	default:
	}
	t := c.c.Clock.NewTimer(runWait)
	defer t.Stop()
	select {
	case <-c.began:
	case <-t.C:
	case <-ctx.Done():
	}
	select { // both may have come
	case <-c.began:
		return true
	default:
		return false
	}
}

// later has Run call f at once, beside everything else. Before Run begins and after it has
// ended f is not called: what it would do is done at the next start.
func (c *Catalogue) later(f func(context.Context)) {
	select {
	case <-c.began:
	default:
		return
	}
	select {
	case c.laters <- f:
	case <-c.ended:
	}
}

// claim reports whether the caller is the one to settle the stream.
func (s *Stream) claim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending.Load() == nil || s.settling {
		return false
	}
	s.settling = true
	return true
}

// begin hands a stream with a pending task to Run. Without StateDelay it waits for the end.
func (c *Catalogue) begin(ctx context.Context, s *Stream) error {
	if !c.up(ctx) {
		return fault.New(fault.Unavailable, "change data stream", s.name, "nobody works on changes yet; this one is done when somebody does")
	}
	if s.claim() {
		// It is written down: who leaves now does not keep it from being done.
		select {
		case c.tasks <- s:
		case <-c.ended:
		}
	}
	if c.c.StateDelay > 0 {
		return nil
	}
	return s.Settled(ctx)
}

// Settled waits until nothing is pending: the stream is ACTIVE, or gone, and so is each
// consumer. fault.Unavailable: Run does not run.
func (s *Stream) Settled(ctx context.Context) error {
	for {
		s.mu.Lock()
		wait, passing := s.settled, s.pending.Load() != nil
		for _, c := range s.Consumers() {
			if !passing && c.Status != Active {
				wait, passing = s.readersChanged, true
			}
		}
		s.mu.Unlock()
		if !passing {
			return nil
		}
		if !s.c.up(ctx) {
			return fault.New(fault.Unavailable, "change data stream", s.name, "nobody works on changes yet; this one is done when somebody does")
		}
		select {
		case <-wait:
		case <-s.c.ended:
			return fault.New(fault.Unavailable, "change data stream", s.name, "the server is stopping; the change goes on when it is back")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rest returns what is pending. nil: nothing is, and the next change needs to be claimed
// anew. Both under one lock, or a change in between would find nobody to do it.
func (s *Stream) rest() *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.pending.Load()
	s.settling = t != nil
	return t
}

// settle does what is pending until nothing is, or ctx ends.
func (s *Stream) settle(ctx context.Context) {
	for {
		t := s.rest()
		if t == nil || !s.c.pause(ctx, s.c.c.StateDelay) {
			return
		}
		err := s.c.oneOfFew(ctx, func() error { return s.do(ctx, t) })
		if fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) {
			if s.pending.Load() == t { // else the stream is being deleted meanwhile
				s.c.log.Warn("a change of a data stream was given up", "stream", s.name, "change", t.Op, "err", err)
			}
			err = nil
		}
		if err == nil {
			err = s.done(ctx, t)
		}
		if err != nil && ctx.Err() == nil {
			s.c.log.Error("a change of a data stream waits for storage", "stream", s.name, "change", t.Op, "err", err)
			s.c.pause(ctx, retryAfter)
		}
		if ctx.Err() != nil || t.Op == opDelete && err == nil {
			return
		}
	}
}

// oneOfFew calls f when fewer than workAtOnce streams do their work. Streams that only
// wait for their time take no place.
func (c *Catalogue) oneOfFew(ctx context.Context, f func() error) error {
	select {
	case c.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.places }()
	return f()
}

// pause waits; false: ctx ended first.
func (c *Catalogue) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := c.c.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// do does the work of a task, not holding s.mu.
func (s *Stream) do(ctx context.Context, t *task) error {
	s.c.mu.RLock()
	store := s.c.store
	s.c.mu.RUnlock()
	if store == nil {
		return fault.New(fault.Unavailable, "change data stream", s.name, "the records are not open")
	}
	switch t.Op {
	case opDelete:
		if err := store.Delete(ctx, s.id); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		return nil
	case opCreate:
		log, ok := store.Log(s.id)
		if !ok {
			var err error
			if log, err = store.Create(ctx, s.id, s.Info().Created, t.Shards); err != nil {
				return err
			}
		}
		s.records.Store(log)
		return nil
	}
	log, err := s.Log()
	if err != nil {
		return err
	}
	switch t.Op {
	case opSplit:
		if p, ok := Find(log.Shards(), t.Shard); !ok || !p.Open() {
			return nil // done before a crash
		}
		at, err := records.ParseHashKey(t.At)
		if err != nil {
			return err
		}
		return log.Split(ctx, t.Shard, at)
	case opMerge:
		if p, ok := Find(log.Shards(), t.Shard); !ok || !p.Open() {
			return nil
		}
		return log.Merge(ctx, t.Shard, t.Other)
	case opReshard:
		return log.Reshard(ctx, t.Shards)
	case opEncrypt:
		return log.Encrypt(ctx, s.Info().Encrypted())
	}
	return nil
}

// done leaves the state that t put the stream into, unless something else is pending by now.
func (s *Stream) done(ctx context.Context, t *task) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending.Load() != t {
		return nil
	}
	if t.Op == opDelete {
		err := s.c.c.Meta.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
			if _, err := tx.Exec(`DELETE FROM datastream_consumer WHERE stream = ?`, s.id); err != nil {
				return err
			}
			_, err := tx.Exec(`DELETE FROM datastream WHERE id = ?`, s.id)
			return err
		})
		if err != nil {
			return err
		}
		s.c.mu.Lock()
		delete(s.c.names, s.key())
		delete(s.c.ids, s.id)
		s.c.mu.Unlock()
		s.readers.Store(new([]Consumer))
	} else {
		i := *s.Info()
		i.Status = Active
		if err := s.save(ctx, &i, nil); err != nil {
			return err
		}
		s.info.Store(&i)
	}
	s.pending.Store(nil)
	close(s.settled)
	return nil
}

// change makes the next Info and what is then pending, in one durable step. edit gets a
// copy to modify; it may refuse. A nil task: the stream keeps its status.
func (s *Stream) change(ctx context.Context, op string, edit func(*Info) (*task, error)) error {
	s.mu.Lock()
	i := *s.Info()
	t, err := edit(&i)
	if err == nil {
		err = s.put(ctx, op, &i, t)
	}
	s.mu.Unlock()
	if err != nil || t == nil {
		return err
	}
	return s.c.begin(ctx, s)
}

// put is change's durable step; the caller holds s.mu.
func (s *Stream) put(ctx context.Context, op string, i *Info, t *task) error {
	keep := s.pending.Load()
	if t != nil {
		keep = t
		if i.Status = Updating; t.Op == opDelete {
			i.Status = Deleting
		}
	}
	if err := s.save(ctx, i, keep); err != nil {
		return fault.Wrap(fault.Unavailable, op, s.name, err)
	}
	if t != nil {
		if s.pending.Load() == nil {
			s.settled = make(chan struct{})
		}
		s.pending.Store(t)
		if t.Op == opDelete {
			s.goneOnce.Do(func() { close(s.gone) })
			s.records.Store(nil)
		}
	}
	s.info.Store(i)
	return nil
}

// active refuses unless the stream is ACTIVE.
func (s *Stream) active(op string, i *Info) error {
	switch i.Status {
	case Active:
		return nil
	}
	return refuse(op, s.name, &Refusal{Reason: NotActive, Status: i.Status})
}
