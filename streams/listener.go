package streams

import (
	"context"
	"sync"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
)

// Bounds of a Listener's ring.
const (
	// ListenerBytes is the media that waits for a slow reader: 16 s of 4 Mb/s.
	ListenerBytes = 8 << 20
	// listenerEvents bounds the events, for streams of very small samples.
	listenerEvents = 8192
	// ListenersMax bounds the listeners of one stream.
	ListenersMax = 10_000
)

// From says where a Listener begins.
type From uint8

// The beginnings.
const (
	LiveGOP      From = iota // with the current GOP, so that a picture shows at once
	LiveNextSync             // with the next sync sample
)

// ListenOptions say how to listen. The zero value is the documented default.
type ListenOptions struct {
	From  From
	Bytes int // bound of the ring; HubConfig.ListenerBytes
}

// Event is something that happened live. Either Sample.Data or Fragment is set.
type Event struct {
	Tracks []media.Track // not nil with the first sample, after each change, and after a producer came back
	Sample media.Sample
	Server time.Time // the sample's instant on the server's clock
	// Skipped counts the samples lost before this one because this listener was too slow.
	Skipped int
	// Fragment is the head of a fragment that just closed: the samples since the last such
	// event are its samples. Number 0: the storage did not take it.
	Fragment *fragments.Head
}

// Listener is one live reader of a stream. It outlives producers. When it is too slow,
// it loses samples up to the next sync sample and hears how many. Next and TryNext are
// for one goroutine; Close may be called from any.
type Listener struct {
	st    *stream
	wake  chan struct{}
	limit int

	mu       sync.Mutex // taken after stream.mu; never held while waiting
	ring     []Event    // ring[head:head+n], wrapping; len is a power of two
	head, n  int
	bytes    int
	waiting  bool
	ref      media.TrackID // the track whose sync samples one can begin at
	tracks   []media.Track // to go with the next sample; nil: told
	skipping bool          // until the next sync sample
	skipped  int           // not yet told
	ended    error
}

// Listen begins to listen to a stream, whether or not there is a producer. Close it.
// The Listener of a stream that was deleted ends at once.
func (h *Hub) Listen(id string, opts ListenOptions) *Listener {
	if opts.Bytes <= 0 {
		opts.Bytes = h.config.ListenerBytes
	}
	l := &Listener{wake: make(chan struct{}, 1), limit: opts.Bytes, skipping: true}
	st := h.stream(Stream{ID: id})
	if st == nil {
		l.ended = notFound(id)
		return l
	}
	st.mu.Lock()
	switch {
	case st.gone:
		l.ended = notFound(id)
	case len(st.listeners) >= ListenersMax:
		l.ended = fault.New(fault.Throttled, "listen to", st.name, "it has too many viewers")
	default:
		l.st = st
		st.listeners = append(st.listeners, l)
		if s := st.session; s != nil {
			l.setTracks(s.tracks, s.tracks[s.ref].ID)
			if opts.From == LiveGOP {
				s.gop(func(m media.Sample) { l.push(Event{Sample: m, Server: s.cutter.ServerTime(m)}) })
			}
		}
	}
	st.mu.Unlock()
	h.subs.tell(id)
	return l
}

// setTracks announces tracks with the next sample. stream.mu is held.
func (l *Listener) setTracks(tracks []media.Track, ref media.TrackID) {
	l.mu.Lock()
	l.tracks, l.ref = tracks, ref
	l.mu.Unlock()
}

// interrupt makes the listener begin anew at a sync sample. stream.mu is held.
func (l *Listener) interrupt() {
	l.mu.Lock()
	l.skipping = true
	l.mu.Unlock()
}

// push adds an event, or drops to make room. stream.mu is held.
func (l *Listener) push(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return
	}
	if e.Fragment == nil {
		sync := e.Sample.Sync && e.Sample.Track == l.ref
		if l.n > 0 && (l.bytes+len(e.Sample.Data) > l.limit || l.n >= listenerEvents) {
			l.overflow()
		}
		if l.skipping {
			if !sync {
				if l.skipped > 0 {
					l.drop(1)
				}
				return
			}
			l.skipping = false
		}
		if l.tracks != nil {
			e.Tracks, l.tracks = l.tracks, nil
		}
		e.Skipped, l.skipped = l.skipped, 0
		l.bytes += len(e.Sample.Data)
	} else if l.n >= listenerEvents {
		return
	}
	if l.n == len(l.ring) {
		l.grow()
	}
	l.ring[(l.head+l.n)&(len(l.ring)-1)] = e
	l.n++
	if l.waiting {
		l.waiting = false
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// overflow drops all that waits; what was to be told with it is kept. mu is held.
func (l *Listener) overflow() {
	dropped := 0
	for ; l.n > 0; l.n-- {
		e := &l.ring[l.head]
		if e.Tracks != nil && l.tracks == nil {
			l.tracks = e.Tracks
		}
		if e.Fragment == nil {
			dropped++
		}
		l.skipped += e.Skipped
		*e = Event{}
		l.head = (l.head + 1) & (len(l.ring) - 1)
	}
	l.head, l.bytes, l.skipping = 0, 0, true
	l.drop(dropped)
}

// drop counts samples that this listener loses. mu and stream.mu are held.
func (l *Listener) drop(n int) {
	l.skipped += n
	if l.st != nil {
		l.st.figures.lose(skippedByViewer, uint64(n))
	}
}

func (l *Listener) grow() {
	bigger := make([]Event, max(16, 2*len(l.ring)))
	for i := range l.n {
		bigger[i] = l.ring[(l.head+i)&(len(l.ring)-1)]
	}
	l.ring, l.head = bigger, 0
}

// Next waits for the next event, across producers that go and come. After Close, or
// when the stream was deleted (fault.NotFound), it returns an error.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	for {
		l.mu.Lock()
		if e, ok := l.pop(); ok {
			l.mu.Unlock()
			return e, nil
		}
		if l.ended != nil {
			err := l.ended
			l.mu.Unlock()
			return Event{}, err
		}
		l.waiting = true
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// TryNext returns the next event if one is there. It does not wait.
func (l *Listener) TryNext() (Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pop()
}

func (l *Listener) pop() (Event, bool) {
	if l.n == 0 {
		return Event{}, false
	}
	e := l.ring[l.head]
	l.ring[l.head] = Event{}
	l.head = (l.head + 1) & (len(l.ring) - 1)
	l.n--
	l.bytes -= len(e.Sample.Data)
	return e, true
}

// Close ends the listener; twice is fine. What waits can still be read.
func (l *Listener) Close() {
	if st := l.st; st != nil {
		st.mu.Lock()
		for i, other := range st.listeners {
			if other == l {
				last := len(st.listeners) - 1
				st.listeners[i] = st.listeners[last]
				st.listeners[last] = nil
				st.listeners = st.listeners[:last]
				break
			}
		}
		st.mu.Unlock()
		st.hub.subs.tell(st.id)
	}
	l.end(fault.New(fault.Expired, "listen", "", "the listener was closed"))
}

// end makes Next return err once the ring is empty.
func (l *Listener) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = err
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Current is the open fragment of a stream, as far as it has come.
type Current struct {
	Tracks  []media.Track
	Run     uint32
	Samples []media.Sample // a copy of the headers; the media is shared and read-only
	Start   time.Time      // the first sample's instant on the server's clock
	Last    fragments.Head // the newest finished fragment
	HasLast bool
}

// Current returns the open fragment without waiting; false: there is no producer.
func (h *Hub) Current(id string) (Current, bool) {
	st := h.existing(id)
	if st == nil {
		return Current{}, false
	}
	last, has := st.log.Newest()
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.session
	if s == nil {
		return Current{Last: last, HasLast: has}, false
	}
	c := Current{Tracks: s.tracks, Run: s.cutter.Run(), Last: last, HasLast: has, Samples: append([]media.Sample(nil), s.cutter.Open()...)}
	if len(c.Samples) > 0 {
		c.Start = s.cutter.ServerTime(c.Samples[0])
	}
	return c, true
}
