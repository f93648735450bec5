package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"penstock/wire/kpl"
)

// Request is what Config.Observe hears of a request.
type Request struct {
	Took      time.Duration
	Entries   int // records on the wire
	Records   int // of the program, in them
	Bytes     int // of data and keys, as sent
	Throttled int // entries that the server refused for now
	Err       error
}

// Run sends until Close, or until ctx ends: what is unsent then fails with ErrClosed. It
// runs once; it returns nil after Close.
func (p *Producer) Run(ctx context.Context) error {
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil
	case p.running:
		p.mu.Unlock()
		return errors.New("the producer runs already")
	}
	ctx = p.begin(ctx)
	p.mu.Unlock()
	return p.loop(ctx)
}

// begin claims the loop; p.mu is held.
func (p *Producer) begin(ctx context.Context) context.Context {
	p.running = true
	ctx, p.cancel = context.WithCancel(ctx)
	return ctx
}

func (p *Producer) loop(ctx context.Context) error {
	defer p.cancel()
	defer close(p.ended)
	var senders sync.WaitGroup
	for !p.over() && ctx.Err() == nil {
		again := p.step(ctx, &senders)
		p.deliver()
		p.rest(ctx, again)
	}
	err := ctx.Err()
	p.cancel()
	senders.Wait()
	p.abandon()
	return err
}

// over reports whether Close was called and all fates are told.
func (p *Producer) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed && len(p.open) == 0
}

// rest waits for something to do: at the time again, or when nudged.
func (p *Producer) rest(ctx context.Context, again time.Time) {
	var tick <-chan time.Time
	if !again.IsZero() {
		t := time.NewTimer(time.Until(again))
		defer t.Stop()
		tick = t.C
	}
	if p.over() {
		return
	}
	select {
	case <-p.wake:
	case <-tick:
	case <-ctx.Done():
	}
}

// step sends all that may be sent now, and says when to look again.
func (p *Producer) step(ctx context.Context, senders *sync.WaitGroup) time.Time {
	for ctx.Err() == nil {
		p.mu.Lock()
		now := time.Now()
		if p.stale {
			idle := p.inFlight > 0 || len(p.waiting) == 0 && len(p.limbo) == 0 && len(p.groups) == 0
			hold := p.mapHold
			p.mu.Unlock()
			switch {
			case idle:
				return time.Time{}
			case hold.After(now):
				return hold
			}
			shards, err := p.wire.listShards(ctx)
			p.warn(err)
			p.adopt(shards, err)
			p.deliver()
			continue
		}
		if p.inFlight >= p.c.InFlight {
			p.mu.Unlock()
			return time.Time{}
		}
		entries, again := p.batch(now)
		if len(entries) == 0 {
			p.mu.Unlock()
			return again
		}
		p.inFlight++
		p.mu.Unlock()
		senders.Go(func() { p.send(ctx, entries) })
	}
	return time.Time{}
}

// send puts entries and notes what became of them.
func (p *Producer) send(ctx context.Context, entries []entry) {
	out := make([]put, len(entries))
	seen := Request{Entries: len(entries)}
	var b kpl.Builder
	for i, e := range entries {
		out[i] = pack(&b, e)
		seen.Records += len(e.items)
		seen.Bytes += len(out[i].data) + len(out[i].key)
	}
	began := time.Now()
	answers, err := p.wire.putRecords(ctx, out)
	p.warn(err)
	seen.Took = time.Since(began)
	seen.Throttled, seen.Err = p.settle(entries, answers, err), err
	if p.c.Observe != nil {
		p.c.Observe(seen)
	}
	p.nudge()
}

// warn logs why records wait, once a minute: they may do so for long, and only their
// callers would know. What is throttled waits by design.
func (p *Producer) warn(err error) {
	if err == nil || permanent(err) || throttling(err) || errors.Is(err, context.Canceled) {
		return
	}
	now := time.Now()
	p.mu.Lock()
	due := p.warned.IsZero() || now.Sub(p.warned) >= time.Minute
	if due {
		p.warned = now
	}
	p.mu.Unlock()
	if due {
		p.c.Logger.Warn("records wait and are tried again", "stream", p.c.Stream+p.c.ARN, "err", err)
	}
}

// pack makes what goes on the wire. An aggregate has the key of its first record, whose
// shard it goes to.
func pack(b *kpl.Builder, e entry) put {
	first := e.items[0]
	if len(e.items) == 1 {
		return put{key: first.Key, hash: first.Hash, data: first.Data}
	}
	b.Reset()
	for _, it := range e.items {
		b.Add(kpl.Record{Key: it.Key, Hash: it.Hash, Data: it.Data})
	}
	return put{key: first.Key, hash: first.Hash, data: b.Append(make([]byte, 0, b.Size()))}
}

// settle notes the fate of entries and counts those that were throttled.
func (p *Producer) settle(entries []entry, answers []answer, err error) (throttled int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	p.stats.Requests++
	if err != nil {
		p.stats.FailedRequests++
	}
	now := time.Now()
	for i, e := range slices.Backward(entries) { // so that what is put back keeps its order
		for _, it := range e.items {
			it.attempts++
		}
		switch {
		case err != nil:
			if throttling(err) {
				throttled++
			}
			p.failed(e, err, len(entries), now)
		case answers[i].code != "":
			refusal := &ServiceError{Code: answers[i].code, Message: answers[i].message}
			if throttling(refusal) {
				throttled++
			}
			p.again(e, refusal, now)
		}
	}
	for i, e := range entries {
		if err == nil && answers[i].code == "" {
			e.group.failures = 0
			p.stored(e, answers[i])
		}
	}
	for _, e := range entries {
		p.enqueue(e.group)
	}
	p.stats.Throttled += uint64(throttled)
	return throttled
}

// failed is for entries of a request that failed as a whole.
func (p *Producer) failed(e entry, err error, entries int, now time.Time) {
	switch {
	case !permanent(err):
		p.again(e, err, now)
	case entries > 1 && ofContent(err):
		for _, it := range e.items { // one of them spoils the others: find it
			it.alone = true
		}
		p.back(e, err)
	default:
		for _, it := range e.items {
			p.finish(it, Result{Sub: -1, Err: fmt.Errorf("put record %q: %w", it.Key, err)})
		}
	}
}

// again puts the records of e back, to be sent after a back-off.
func (p *Producer) again(e entry, err error, now time.Time) {
	if !e.group.hold.After(now) {
		e.group.failures++
		e.group.hold = now.Add(p.backoff(e.group.failures))
	}
	p.stats.Retried += uint64(len(e.items))
	p.back(e, err)
}

func (p *Producer) back(e entry, err error) {
	for _, it := range e.items {
		it.cause = err
		e.group.bytes += packed(it)
	}
	e.group.items = append(slices.Clip(e.items), e.group.items...)
}

// backoff doubles with each failure; chance takes up to half of it off, so that many
// producers do not come back at once.
func (p *Producer) backoff(failures int) time.Duration {
	d := p.c.BackoffMax
	if failures < 24 {
		d = min(d, p.c.Backoff<<(failures-1))
	}
	return d - time.Duration(p.c.Chance()*float64(d)/2)
}

// landed is an entry in a shard that was not foreseen: the stream was resharded. Readers
// drop records of an aggregate that belong in other shards (Amazon's client library
// does), so that those have to be put again.
type landed struct {
	e  entry
	at answer
}

// stored finishes e, unless it has to be looked at with the new shards.
func (p *Producer) stored(e entry, a answer) {
	if p.shards != nil && e.group.shard && p.shards.at(e.group.at).id != a.shard {
		p.stale = true
		if len(e.items) > 1 {
			p.limbo = append(p.limbo, landed{e, a})
			return
		}
	}
	for i, it := range e.items {
		res := Result{Shard: a.shard, Sequence: a.sequence, Sub: i}
		if len(e.items) == 1 {
			res.Sub = -1
		}
		p.finish(it, res)
	}
}

// all takes everything that waits, in the order in which it was put.
func (p *Producer) all() []*item {
	var out []*item
	for _, g := range p.groups {
		out = append(out, g.items...)
	}
	out = append(out, p.waiting...)
	p.due, p.waiting = nil, nil
	clear(p.groups)
	slices.SortFunc(out, func(a, b *item) int {
		if a.serial < b.serial {
			return -1
		}
		return 1
	})
	return out
}

// adopt takes the shards as they are now, or the error of asking for them.
func (p *Producer) adopt(shards *shardMap, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if err != nil && !permanent(err) {
		p.mapTries++
		p.mapHold = now.Add(p.backoff(p.mapTries))
		p.outlived(err, now)
		return
	}
	if err != nil {
		p.c.Logger.Warn("the shards cannot be listed: records are aggregated by key alone", "stream", p.c.Stream+p.c.ARN, "err", err)
		p.blind = true
	}
	p.mapTries, p.mapHold = 0, time.Time{}
	p.shards, p.stale = shards, false
	limbo := p.limbo
	p.limbo = nil
	for _, l := range limbo {
		p.relocate(l)
	}
	for _, it := range p.all() {
		p.add(it)
	}
}

// relocate finishes the records of an aggregate that are in their own shard, and puts
// the others again.
func (p *Producer) relocate(l landed) {
	at, known := shard{}, false
	if p.shards != nil {
		at, known = p.shards.byID(l.at.shard)
	}
	for i, it := range l.e.items {
		if p.shards == nil || known && at.holds(it.hash) {
			p.finish(it, Result{Shard: l.at.shard, Sequence: l.at.sequence, Sub: i})
			continue
		}
		p.stats.Retried++
		p.waiting = append(p.waiting, it)
	}
}

// outlived gives up what has waited too long for the shards to be known.
func (p *Producer) outlived(err error, now time.Time) {
	if p.c.Life < 0 {
		return
	}
	var old []*item
	for _, it := range p.all() {
		it.cause = err
		if now.Sub(it.put) > p.c.Life {
			old = append(old, it)
		} else {
			p.waiting = append(p.waiting, it)
		}
	}
	p.giveUp(old)
}
