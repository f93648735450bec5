package producer

import (
	"context"
	"errors"
	"fmt"
)

// flush waits for the records of an epoch and before.
type flush struct {
	epoch uint64
	done  chan struct{}
}

// Flush sends everything that was put before it, without waiting for company, and
// returns when the fate of all of it has been told. That some failed is not its error.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	f := flush{epoch: p.epoch, done: make(chan struct{})}
	p.epoch++
	p.flushing++
	p.flushes = append(p.flushes, f)
	p.hurry()
	p.mark()
	p.mu.Unlock()
	p.nudge()
	defer func() {
		p.mu.Lock()
		p.flushing--
		p.mu.Unlock()
	}()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush: %w", ctx.Err())
	}
}

// Close refuses new records, sends what is left and ends Run; without a Run it sends by
// itself. When ctx ends first, what is left fails with ErrClosed. Twice is fine.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	running := p.running
	if !running {
		p.hurry()
		ctx = p.begin(ctx)
	}
	cancel := p.cancel
	p.mu.Unlock()
	if !running {
		return p.loop(ctx)
	}
	err := p.Flush(ctx)
	if err != nil {
		cancel()
	}
	p.nudge()
	<-p.ended
	return err
}

// mark tells the flushes whose records all have their fate.
func (p *Producer) mark() {
	rest := p.flushes[:0]
	for _, f := range p.flushes {
		left := false
		for e := range p.open {
			left = left || e <= f.epoch
		}
		if left {
			rest = append(rest, f)
		} else {
			close(f.done)
		}
	}
	clear(p.flushes[len(rest):])
	p.flushes = rest
}

// fate is a record whose Result is to be told.
type fate struct {
	it  *item
	res Result
}

// finish notes the fate of it; deliver tells it.
func (p *Producer) finish(it *item, res Result) {
	res.Attempts = it.attempts
	p.fates = append(p.fates, fate{it, res})
	if res.Err != nil {
		p.stats.Failed++
		return
	}
	p.stats.Stored++
	p.stats.StoredBytes += int64(it.size())
}

// giveUp finishes records whose time is up.
func (p *Producer) giveUp(items []*item) {
	for _, it := range items {
		p.finish(it, Result{Sub: -1, Err: fmt.Errorf("put record %q: %w after %v and %d attempts: %w", it.Key, ErrExpired, p.c.Life, it.attempts, causeOf(it))})
	}
}

var errUnsent = errors.New("it was not sent yet")

func causeOf(it *item) error {
	if it.cause == nil {
		return errUnsent
	}
	return it.cause
}

// deliver tells the fates, in order. Only one goroutine calls it.
func (p *Producer) deliver() {
	for {
		p.mu.Lock()
		fates := p.fates
		p.fates = nil
		p.mu.Unlock()
		if len(fates) == 0 {
			return
		}
		for _, f := range fates {
			p.room.Release(p.weight(f.it.Record))
			if f.it.done != nil {
				f.it.done(f.res)
			}
		}
		p.mu.Lock()
		ended := false
		for _, f := range fates {
			p.stats.Pending--
			p.stats.PendingBytes -= int64(f.it.size())
			if p.open[f.it.epoch]--; p.open[f.it.epoch] == 0 {
				delete(p.open, f.it.epoch)
				ended = true
			}
		}
		if ended {
			p.mark()
		}
		p.mu.Unlock()
	}
}

// abandon fails all that is unsent; no request is in flight.
func (p *Producer) abandon() {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.limbo { // stored, but perhaps where no reader finds all of it
		p.waiting = append(p.waiting, l.e.items...)
	}
	p.limbo = nil
	for _, it := range p.all() {
		err := ErrClosed
		if it.cause != nil {
			err = errors.Join(ErrClosed, it.cause)
		}
		p.finish(it, Result{Sub: -1, Err: fmt.Errorf("put record %q: %w", it.Key, err)})
	}
	p.mu.Unlock()
	p.deliver()
}

// Stats are figures since New.
type Stats struct {
	Pending                  int // records whose fate is open
	PendingBytes             int64
	Stored, Failed           uint64 // records
	StoredBytes              int64
	Requests, FailedRequests uint64
	Retried                  uint64 // records sent again, counted each time
	Throttled                uint64 // entries of requests that the server refused for now
}

// Stats returns the figures.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// nudge makes the loop look again.
func (p *Producer) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
