package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/media"
)

// Limits and times of the Hub.
const (
	// Silence is how long a producer may send no media before it counts as dead: another
	// may take its place, and its open fragment is closed.
	Silence = 10 * time.Second
	// TracksMax bounds the tracks of a session.
	TracksMax = 16
	// tick is how often Run looks for silent producers.
	tick = time.Second
	// figuresEvery is how often subscribers hear of a live stream whose state is the same.
	figuresEvery = 5 * time.Second
	// policiesEvery is how often the store is told of the retention of streams that nobody
	// asked for since the start: their media expires too.
	policiesEvery = time.Minute
)

// HubConfig says where media goes. Store is required; the zero value of the rest means
// the documented default.
type HubConfig struct {
	Store     *fragments.Store
	Catalogue *Catalogue // tells retentions; nil: nothing is ever deleted by age
	// Keeps are the stretches of a stream that outlive its retention; nil: there are none.
	// It is asked with each look at a log: it must be cheap.
	Keeps         func(id string) []fragments.Keep
	Clock         host.Clock            // host.System
	Logger        *slog.Logger          // discards
	Registerer    prometheus.Registerer // none
	ListenerBytes int                   // a Listener's bound unless it says otherwise; ListenerBytes
	Target        time.Duration         // length of fragments; the Fragmenter's default
}

// Hub is where the one producer of a stream meets its log and its live listeners. All
// methods may be called at once.
type Hub struct {
	config HubConfig
	clock  host.Clock
	log    *slog.Logger

	mu      sync.Mutex
	streams map[string]*stream
	erased  map[string]struct{} // ids never come back
	closing atomic.Bool

	subs subscriptions
}

// stream is what the Hub knows of one stream.
type stream struct {
	hub *Hub
	id  string
	log *fragments.Log

	mu        sync.Mutex // taken after Hub.mu, before Listener.mu
	account   string
	name      string
	session   *Session // nil: no producer
	listeners []*Listener
	gone      bool
	figures   figures
	// What the puller said, or how the last session ended.
	status Status
	reason string
	since  time.Time
	told   Status // what subscribers last heard
	absent Ending // why no media comes; the gap before the next session's first fragment
}

// absence notes why no media comes: the timeline shows it now as the reason of its end,
// later as that of the gap. stream.mu is held.
func (st *stream) absence(e Ending) {
	st.absent = e
	st.log.Absent(e.Cause, e.Detail)
}

// NewHub returns a Hub. Run watches its producers.
func NewHub(c HubConfig) *Hub {
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.ListenerBytes = cmp.Or(c.ListenerBytes, ListenerBytes)
	h := &Hub{config: c, clock: c.Clock, log: c.Logger, streams: map[string]*stream{}, erased: map[string]struct{}{}}
	h.subs.list = map[*Subscription]struct{}{}
	if c.Registerer != nil {
		c.Registerer.MustRegister(&collector{hub: h})
	}
	if c.Catalogue != nil {
		c.Catalogue.beforeLonger(func(s Stream) { h.Log(s).Horizon() })
	}
	return h
}

// Log is the log of a stream, with the retention that the catalogue says and what events
// keep beyond it.
func (h *Hub) Log(s Stream) *fragments.Log {
	var policy func() fragments.Policy
	if h.config.Catalogue != nil {
		id := s.ID
		policy = func() fragments.Policy { return h.policy(id) }
	}
	return h.config.Store.Log(s.ID, policy)
}

func (h *Hub) policy(id string) (p fragments.Policy) {
	p.Age, p.Bytes = h.config.Catalogue.Bounds(id)
	if h.config.Keeps != nil {
		p.Keeps = h.config.Keeps(id)
	}
	return p
}

// Horizon is the instant before which a stream's video has expired, but for what is kept.
func (h *Hub) Horizon(ctx context.Context, id string) time.Time {
	log := h.Log(Stream{ID: id})
	log.Last(ctx) // has the log read what went before the start
	return log.Horizon()
}

// Preview is what would be deleted of a stream if it were to be as s says, and how many
// bytes would be held by Keeps alone.
func (h *Hub) Preview(ctx context.Context, s Stream) (lost fragments.Loss, kept int64, err error) {
	p := fragments.Policy{Age: s.Retention, Bytes: s.RetentionBytes}
	log := h.Log(s)
	bare, err := log.Preview(ctx, p)
	if err != nil || h.config.Keeps == nil {
		return bare, 0, err
	}
	if p.Keeps = h.config.Keeps(s.ID); len(p.Keeps) == 0 {
		return bare, 0, nil
	}
	lost, err = log.Preview(ctx, p)
	return lost, max(0, bare.Bytes-lost.Bytes), err
}

// stream finds or makes the entry of a stream; nil when it was erased.
func (h *Hub) stream(s Stream) *stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, gone := h.erased[s.ID]; gone {
		return nil
	}
	st := h.streams[s.ID]
	if st == nil {
		if s.Name == "" && h.config.Catalogue != nil {
			if full, err := h.config.Catalogue.ByID(s.ID); err == nil {
				s = full
			}
		}
		st = &stream{hub: h, id: s.ID, account: s.Account, name: s.Name, status: Idle, told: Idle, since: h.clock.Now(), log: h.Log(s)}
		h.streams[s.ID] = st
	} else if s.Name != "" {
		st.mu.Lock()
		st.account, st.name = s.Account, s.Name
		st.mu.Unlock()
	}
	return st
}

func (h *Hub) existing(id string) *stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[id]
}

// Prepare reads what the log of s needs before its first fragment, which may be far away
// or on a disk that does not answer: then it waits until ctx ends. Doors call it before
// media flows, so that Publish, which they call where the packets of many producers come
// in, reads nothing. Publish tells what is wrong with the log.
func (h *Hub) Prepare(ctx context.Context, s Stream) {
	st := h.stream(s)
	if st == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		st.log.Last(ctx)
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Publish claims a stream for one producer. stored, if not nil, hears the fate of each
// fragment, in order, from another goroutine; it must not block. ctx bounds only the
// claim. fault.InUse: another producer holds the stream and sent media within Silence;
// the error says who and since when. fault.NotFound: the stream was deleted.
func (h *Hub) Publish(ctx context.Context, s Stream, p Producer, tracks []media.Track, stored func(fragments.Head, error)) (*Session, error) {
	if err := checkTracks(s.Name, tracks); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st := h.stream(s)
	if st == nil {
		return nil, notFound(s.Name)
	}
	// The first look at a log may read the disk: not under the stream's lock.
	st.log.Last(ctx)
	st.mu.Lock()
	if h.closing.Load() { // asked under the lock: shutDown ends what was let in before
		st.mu.Unlock()
		return nil, fault.New(fault.Unavailable, "publish to", s.Name, "the server is stopping")
	}
	now := h.clock.Now()
	if st.gone {
		st.mu.Unlock()
		return nil, notFound(s.Name)
	}
	if old := st.session; old != nil {
		if silent := now.Sub(old.lastMedia()); silent >= 0 && silent < Silence {
			who, since := old.producer, old.since
			st.mu.Unlock()
			return nil, fault.New(fault.InUse, "publish to", s.Name,
				fmt.Sprintf("%s from %s is sending since %s", who.Protocol, who.Remote, since.UTC().Format(time.RFC3339))).
				WithHint("end that one first, or use another stream name; a producer that sends nothing for 10 s is replaced")
		}
		old.end(Ending{fragments.CauseSilent, "replaced by " + p.Protocol + " from " + p.Remote}, now, true)
	}
	session := newSession(st, p, tracks, stored, now)
	st.session = session
	st.status, st.reason, st.since = Connecting, "", now
	st.mu.Unlock()
	h.subs.tell(st.id)
	return session, nil
}

func checkTracks(name string, tracks []media.Track) error {
	bad := func(text string) error {
		return fault.New(fault.Invalid, "publish to", name, text)
	}
	if len(tracks) == 0 || len(tracks) > TracksMax {
		return bad(fmt.Sprintf("%d tracks; want 1 to %d", len(tracks), TracksMax))
	}
	for i, t := range tracks {
		if t.ID == 0 || t.Timescale == 0 || t.Codec == nil {
			return bad(fmt.Sprintf("track %d lacks its id, timescale or codec", i+1))
		}
		for _, u := range tracks[:i] {
			if u.ID == t.ID {
				return bad(fmt.Sprintf("two tracks have the id %d", t.ID))
			}
		}
	}
	return nil
}

// SetState says how a stream without a producer does: the puller's word on a camera. It
// has no effect on the status while media arrives. For Offline, DeniedBy and Failed the
// timeline shows the reason for as long as nothing comes.
func (h *Hub) SetState(id string, status Status, reason string) {
	st := h.stream(Stream{ID: id})
	if st == nil {
		return
	}
	st.mu.Lock()
	if st.status != status {
		st.since = h.clock.Now()
	}
	changed := st.status != status || st.reason != reason
	st.status, st.reason = status, reason
	if st.session == nil && changed {
		switch status {
		case Offline:
			st.absence(Ending{fragments.CauseUnreachable, reason})
		case DeniedBy:
			st.absence(Ending{fragments.CauseDenied, reason})
		case Failed:
			st.absence(Ending{fragments.CauseUnusable, reason})
		}
	}
	st.mu.Unlock()
	if changed {
		h.subs.tell(id)
	}
}

// Run watches for producers that fell silent until ctx ends; then it ends all sessions,
// which flushes their open fragments, and returns. Stop the doors first and the Store
// afterwards.
func (h *Hub) Run(ctx context.Context) error {
	var sinceFigures, sincePolicies time.Duration
	h.policies()
	for {
		timer := h.clock.NewTimer(tick)
		select {
		case <-ctx.Done():
			timer.Stop()
			h.shutDown()
			return nil
		case <-timer.C:
		}
		if sincePolicies += tick; sincePolicies >= policiesEvery {
			h.policies()
			sincePolicies = 0
		}
		sinceFigures += tick
		h.watch(sinceFigures >= figuresEvery)
		if sinceFigures >= figuresEvery {
			sinceFigures = 0
		}
	}
}

// policies tells the store what to keep of each stream of the catalogue.
func (h *Hub) policies() {
	if h.config.Catalogue == nil {
		return
	}
	for _, s := range h.config.Catalogue.All() {
		h.Log(s)
	}
}

// watch closes the open fragments of silent producers and tells subscribers.
func (h *Hub) watch(figures bool) {
	now := h.clock.Now()
	for _, st := range h.all() {
		st.mu.Lock()
		if s := st.session; s != nil && !s.silent && now.Sub(s.lastMedia()) >= Silence {
			s.silenceLocked(now)
		}
		status := st.stateLocked(now).Status
		tell := status != st.told || figures && status == Live
		st.told = status
		st.mu.Unlock()
		if tell {
			h.subs.tell(st.id)
		}
	}
}

func (h *Hub) shutDown() {
	h.closing.Store(true)
	now := h.clock.Now()
	for _, st := range h.all() {
		st.mu.Lock()
		if s := st.session; s != nil {
			s.finishLocked(Ending{fragments.CauseServerStopped, ""}, now)
		}
		st.mu.Unlock()
	}
}

func (h *Hub) all() []*stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*stream, 0, len(h.streams))
	for _, st := range h.streams {
		list = append(list, st)
	}
	return list
}

// Erase ends a deleted stream's producer and listeners and deletes its media for good.
// Afterwards the stream's ID is refused. It may be called again after an error.
func (h *Hub) Erase(ctx context.Context, s Stream) error {
	h.mu.Lock()
	h.erased[s.ID] = struct{}{}
	st := h.streams[s.ID]
	delete(h.streams, s.ID)
	h.mu.Unlock()
	if st != nil {
		st.mu.Lock()
		st.gone = true
		if st.session != nil {
			st.session.finishLocked(Ending{fragments.CauseProducerEnded, "the stream was deleted"}, h.clock.Now())
		}
		listeners := st.listeners
		st.listeners = nil
		st.mu.Unlock()
		for _, l := range listeners {
			l.end(fault.New(fault.NotFound, "listen to", s.Name, "the stream was deleted"))
		}
	}
	return h.Log(s).Delete(ctx)
}

// Ending is why a session ended, for those who know it better than an error tells. It
// is an error to be given to Session.Close.
type Ending struct {
	Cause  fragments.Cause
	Detail string
}

// Error says the cause in words.
func (e Ending) Error() string {
	if e.Detail == "" {
		return e.Cause.String()
	}
	return e.Cause.String() + ": " + e.Detail
}

// endingOf reads an error that a door closed its session with.
func endingOf(err error) Ending {
	var e Ending
	switch {
	case err == nil:
		return Ending{fragments.CauseProducerEnded, ""}
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return Ending{fragments.CauseServerStopped, ""}
	}
	switch fault.KindOf(err) {
	case fault.Denied, fault.Unauthentic:
		return Ending{fragments.CauseDenied, err.Error()}
	case fault.Unavailable:
		return Ending{fragments.CauseUnreachable, err.Error()}
	}
	return Ending{fragments.CauseConnectionLost, err.Error()}
}
