// Package tail follows a data stream for a person or a script: the records of all
// shards, from a time on, aggregates taken apart, filtered, and written as JSON.
//
// Within a shard records come in order; a shard that was split or merged is read to its
// end before its children, so that records of one key stay in order, too. What readers
// are told is in doors' hands. It reads as fast as its reader takes: a slow one falls
// behind, and holds nobody else up.
package tail

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/records"
	"penstock/wire/kpl"
)

// Limits of one tail.
const (
	// ShardsMax is how many shards one tail reads at once: each costs a goroutine and a page.
	ShardsMax = 1024
	pageBytes = 1 << 20
	// ahead is how far a record's time may be ahead of the clock: after a reshard the
	// children begin a second later.
	ahead     = 10 * time.Second
	pageCount = 1000
)

// Source is the part of a data stream that a tail reads; *datastream.Stream satisfies it.
type Source interface {
	Name() string
	Shards() []records.Shard
	At(ctx context.Context, shard records.ShardID, from records.From) (records.Position, error)
	Read(ctx context.Context, shard records.ShardID, p records.Position, limit, maxBytes int, page *records.Page) error
	Wait(ctx context.Context, shard records.ShardID, p records.Position) error
}

// Config says what to read. Stream is required.
type Config struct {
	Stream Source
	From   records.From    // Horizon, Latest or AtTime; with Shard also the others
	Shard  records.ShardID // with One: this shard alone
	One    bool
	Filter Filter
	// Once ends the tail when it has read what was there when it began, and perhaps a
	// little more.
	Once bool
	// Placed, if not nil, is called once, when each shard that is read from the beginning
	// has its place: with Latest, what is put from then on is read.
	Placed func()
	Clock  host.Clock // host.System
}

// Event is one record, or one of an aggregate.
type Event struct {
	Shard   records.ShardID
	Seq     records.Seq
	Sub     int // place in its aggregate, from 0; -1: it was put alone
	Arrival time.Time
	Key     string
	Data    []byte // not to be modified
}

// Run reads until ctx ends, emit returns an error, or there is no more to come: with
// Once, or when the one shard is closed. emit is called by one goroutine at a time, with
// events of one shard that are valid as long as they are kept. fault.Invalid: more
// shards than ShardsMax; fault.NotFound: no such shard, or the stream was deleted.
func Run(ctx context.Context, c Config, emit func([]Event) error) error {
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &follower{c: c, emit: emit, ended: make(chan records.ShardID), chosen: map[records.ShardID]bool{}, done: map[records.ShardID]bool{}, until: c.Clock.Now().Add(ahead)}
	first, err := f.first()
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	begin := func(id records.ShardID, from records.From, placed func()) {
		f.chosen[id] = true
		f.running++
		work.Go(func() {
			if err := f.follow(ctx, id, from, placed); err != nil {
				cancel(err)
			}
			select {
			case f.ended <- id:
			case <-ctx.Done():
			}
		})
	}
	defer work.Wait()
	defer cancel(nil)
	f.unplaced.Store(int32(len(first)))
	for _, id := range first {
		begin(id, c.From, f.placed)
	}
	for f.running > 0 {
		select {
		case id := <-f.ended:
			f.running--
			f.done[id] = true
			for _, child := range f.next(id) {
				begin(child, records.From{}, func() {})
			}
			if f.running > ShardsMax {
				return f.tooMany(f.running)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// follower is one Run. All but emit, until and unplaced belong to its goroutine.
type follower struct {
	c       Config
	ended   chan records.ShardID
	chosen  map[records.ShardID]bool // that are read, or were
	done    map[records.ShardID]bool
	running int
	until   time.Time

	unplaced atomic.Int32 // shards of the beginning that have no place yet
	mu       sync.Mutex   // one emit at a time
	emit     func([]Event) error
}

// first says which shards to begin with: those that have no parent among what is to be
// read.
func (f *follower) first() ([]records.ShardID, error) {
	all := f.c.Stream.Shards()
	if f.c.One {
		for _, s := range all {
			if s.ID == f.c.Shard {
				return []records.ShardID{s.ID}, nil
			}
		}
		return nil, fault.New(fault.NotFound, "tail", f.c.Stream.Name(), "there is no shard "+f.c.Shard.String())
	}
	wanted := map[records.ShardID]bool{}
	for _, s := range all {
		switch f.c.From.Kind {
		case records.Horizon:
			wanted[s.ID] = true
		case records.Latest:
			wanted[s.ID] = s.Open()
		case records.AtTime:
			wanted[s.ID] = s.Open() || !s.Closed.Before(f.c.From.Time)
		default:
			return nil, fault.New(fault.Invalid, "tail", f.c.Stream.Name(), "a sequence number is of one shard: name it")
		}
	}
	var out []records.ShardID
	for _, s := range all {
		if wanted[s.ID] && !wanted[s.Parent] && !wanted[s.Adjacent] {
			out = append(out, s.ID)
		}
	}
	if len(out) > ShardsMax {
		return nil, f.tooMany(len(out))
	}
	return out, nil
}

func (f *follower) tooMany(n int) error {
	return fault.New(fault.Invalid, "tail", f.c.Stream.Name(), fmt.Sprintf("%d shards at once, at most %d", n, ShardsMax)).WithHint("name one shard: ?shard=shardId-000000000000")
}

// next returns the children of id that may be read now: all their parents are.
func (f *follower) next(id records.ShardID) (out []records.ShardID) {
	if f.c.One {
		return nil
	}
	read := func(parent records.ShardID) bool { return !f.chosen[parent] || f.done[parent] }
	for _, s := range f.c.Stream.Shards() {
		if (s.Parent == id || s.Adjacent == id) && !f.chosen[s.ID] && read(s.Parent) && read(s.Adjacent) {
			out = append(out, s.ID)
		}
	}
	return out
}

// placed hears that one of the first shards has its place.
func (f *follower) placed() {
	if f.unplaced.Add(-1) == 0 && f.c.Placed != nil {
		f.c.Placed()
	}
}

// follow reads one shard; placed is called when it is known from where on.
func (f *follower) follow(ctx context.Context, id records.ShardID, from records.From, placed func()) error {
	s := f.c.Stream
	p, err := s.At(ctx, id, from)
	placed()
	var page records.Page
	var parts kpl.Reader
	for err == nil {
		if err = s.Read(ctx, id, p, pageCount, pageBytes, &page); err != nil {
			break
		}
		p = page.Next
		over := false
		var out []Event
		for _, r := range page.Records {
			if over = f.c.Once && r.Arrival.After(f.until); over {
				break
			}
			out = f.add(out, id, r, &parts)
		}
		if err = f.give(out); err != nil || page.Ended || over {
			break
		}
		if len(page.Records) > 0 || page.Behind > 0 {
			continue
		}
		if f.c.Once {
			break
		}
		err = s.Wait(ctx, id, p)
	}
	if fault.Is(err, fault.NotFound) && len(s.Shards()) > 0 { // retention took the shard
		return nil
	}
	return err
}

func (f *follower) give(events []Event) error {
	if len(events) == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.emit(events)
}

// add takes a record apart and keeps what passes the filter.
func (f *follower) add(out []Event, id records.ShardID, r records.Record, parts *kpl.Reader) []Event {
	e := Event{Shard: id, Seq: r.Seq, Sub: -1, Arrival: r.Arrival, Key: r.Key, Data: r.Data}
	if !kpl.Aggregated(r.Data) || !parts.Reset(r.Data) {
		if f.c.Filter.Match(e) {
			out = append(out, e)
		}
		return out
	}
	for i, part := range parts.All() {
		e.Sub, e.Key, e.Data = i, part.Key, part.Data
		if f.c.Filter.Match(e) {
			out = append(out, e)
		}
	}
	return out
}
