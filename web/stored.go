package web

import (
	"context"
	"sync"
	"time"

	"penstock/fragments"
	"penstock/streams"
)

const (
	// storedFresh is how long what was read of a log is shown before it is read again:
	// many viewers of one list cost what one does.
	storedFresh = 500 * time.Millisecond
	// storedWait is how long an answer waits for logs, all of a list together. With a disk
	// that does not answer it shows what was known; that is when people look.
	storedWait = 2 * time.Second
	// storedSweep is from how many streams on those that nobody asks for are forgotten.
	storedSweep = 1024
)

// stored is what a stream's log holds.
type stored struct {
	total       fragments.Totals
	first, last time.Time // zero: none
}

// shelf remembers what logs held when they were last read. The zero value is empty.
type shelf struct {
	mu    sync.Mutex
	books map[string]*book // by stream ID
	sweep int              // when the map is next looked through
}

type book struct {
	stored
	at      time.Time     // when it was read; zero: never
	reading chan struct{} // closed when the read under way ends; nil: none is
}

// get returns what read says, or said lately. It waits until ctx ends, at the longest;
// there is one read of a stream at a time, however long it takes.
func (s *shelf) get(ctx context.Context, id string, now time.Time, read func() stored) stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.book(id, now)
	if age := now.Sub(b.at); age >= 0 && age < storedFresh {
		return b.stored
	}
	if b.reading == nil {
		done := make(chan struct{})
		b.reading = done
		go func() {
			v := read()
			s.mu.Lock()
			b.stored, b.at, b.reading = v, now, nil
			s.mu.Unlock()
			close(done)
		}()
	}
	done := b.reading
	s.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.mu.Lock()
	return b.stored
}

// holds is what a stream's log holds; once ctx has ended, what it is known to have held.
func (s *Server) holds(ctx context.Context, st streams.Stream) stored {
	now := s.c.Clock.Now()
	if ctx.Err() != nil {
		s.stored.mu.Lock()
		defer s.stored.mu.Unlock()
		return s.stored.book(st.ID, now).stored
	}
	log := s.c.Hub.Log(st)
	return s.stored.get(ctx, st.ID, now, func() stored { return readStored(context.WithoutCancel(ctx), log) })
}

// book finds or makes an entry; mu is held.
func (s *shelf) book(id string, now time.Time) *book {
	if b := s.books[id]; b != nil {
		return b
	}
	if s.books == nil {
		s.books, s.sweep = map[string]*book{}, storedSweep
	}
	if len(s.books) >= s.sweep {
		for k, b := range s.books {
			if b.reading == nil && now.Sub(b.at) > time.Minute {
				delete(s.books, k)
			}
		}
		s.sweep = 2*len(s.books) + storedSweep
	}
	b := &book{}
	s.books[id] = b
	return b
}

// readStored asks a log. One that cannot be read now shows nothing; asking for its media
// says why.
func readStored(ctx context.Context, log *fragments.Log) (v stored) {
	if total, err := log.Totals(ctx); err == nil {
		v.total = total
	}
	if h, ok := log.First(ctx); ok {
		v.first = h.Start
	}
	if h, ok := log.Last(ctx); ok {
		v.last = h.End
	}
	return v
}
