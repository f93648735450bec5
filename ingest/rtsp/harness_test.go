package rtsp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memHub is a Hub that keeps every sample in memory.
type memHub struct {
	told   []string // what Tell said
	mu     sync.Mutex
	shelf  map[string]*memStream
	change chan struct{} // closed and replaced at each change
}

type memStream struct {
	tracks  []media.Track
	events  []streams.Event
	session *memSession
	runs    int
	lost    int
	closed  int
	cause   error
	prod    streams.Producer
	read    int // events that listeners took
}

type memSession struct {
	h    *memHub
	id   string
	done chan struct{}
	once sync.Once
}

func newMemHub() *memHub {
	return &memHub{shelf: map[string]*memStream{}, change: make(chan struct{})}
}

func (h *memHub) changed() {
	close(h.change)
	h.change = make(chan struct{})
}

func (h *memHub) Prepare(context.Context, streams.Stream) {}

func (h *memHub) Publish(_ context.Context, st streams.Stream, p streams.Producer, tracks []media.Track) (Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.shelf[st.ID]
	if m == nil {
		m = &memStream{}
		h.shelf[st.ID] = m
	}
	if m.session != nil {
		return nil, fault.New(fault.InUse, "publish", st.Name, "it is being published by "+m.prod.Remote)
	}
	m.session = &memSession{h: h, id: st.ID, done: make(chan struct{})}
	m.tracks, m.prod = tracks, p
	m.runs++
	m.events = append(m.events, streams.Event{Tracks: tracks})
	h.changed()
	return m.session, nil
}

func (h *memHub) State(id string) streams.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.shelf[id]
	if m == nil || m.session == nil {
		return streams.State{ID: id, Status: streams.Idle}
	}
	return streams.State{ID: id, Status: streams.Live, Tracks: m.tracks, Producer: m.prod}
}

func (h *memHub) Tell(st streams.Stream, status streams.Status, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, st.ID+" "+string(status)+": "+why)
	h.changed()
}

func (h *memHub) Listen(id string) Listener { return &memListener{h: h, id: id, start: true} }

type memListener struct {
	h     *memHub
	id    string
	at    int
	start bool
}

// Next begins at the newest key frame, with the tracks before it.
func (l *memListener) Next(ctx context.Context) (streams.Event, error) {
	for {
		l.h.mu.Lock()
		m, change := l.h.shelf[l.id], l.h.change
		if m != nil && l.start {
			for i := len(m.events) - 1; i >= 0; i-- {
				if e := m.events[i]; e.Sample.Sync && e.Sample.Track == 1 {
					l.start, l.at = false, i
					e.Tracks = m.tracks
					l.at++
					m.read++
					l.h.changed()
					l.h.mu.Unlock()
					return e, nil
				}
			}
		} else if m != nil && l.at < len(m.events) {
			e := m.events[l.at]
			l.at++
			l.h.mu.Unlock()
			return e, nil
		}
		l.h.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
			return streams.Event{}, ctx.Err()
		}
	}
}

func (l *memListener) Close() {}

func (s *memSession) with(f func(*memStream)) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	f(s.h.shelf[s.id])
	s.h.changed()
}

func (s *memSession) Write(m media.Sample) error {
	s.with(func(st *memStream) {
		st.events = append(st.events, streams.Event{Sample: m, Server: time.Now()})
	})
	return nil
}

func (s *memSession) SetTracks(t []media.Track) error {
	s.with(func(st *memStream) {
		st.tracks = t
		st.runs++
		st.events = append(st.events, streams.Event{Tracks: t})
	})
	return nil
}

func (s *memSession) Lost(_ media.TrackID, n int) { s.with(func(st *memStream) { st.lost += n }) }
func (s *memSession) Done() <-chan struct{}       { return s.done }
func (s *memSession) Close(cause error) error {
	s.with(func(st *memStream) {
		st.session = nil
		st.closed++
		st.cause = cause
	})
	return nil
}

// await waits until ok holds for the stream.
func (h *memHub) await(t *testing.T, id string, what string, ok func(*memStream) bool) *memStream {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		h.mu.Lock()
		m, change := h.shelf[id], h.change
		if m != nil && ok(m) {
			c := *m
			h.mu.Unlock()
			return &c
		}
		h.mu.Unlock()
		select {
		case <-change:
		case <-deadline:
			t.Fatalf("waited too long for: %s (%+v)", what, m != nil)
		}
	}
}

// samples of one track.
func (m *memStream) samples(id media.TrackID) []media.Sample {
	var out []media.Sample
	for _, e := range m.events {
		if e.Sample.Track == id {
			out = append(out, e.Sample)
		}
	}
	return out
}

// open lets everybody do everything.
type open struct{}

func (open) Authenticate(_ context.Context, a Ask) (Grant, error) {
	if a.Stream == "" {
		return Grant{}, fault.New(fault.NotFound, "find stream", "", "no name")
	}
	return Grant{Principal: "anonymous", Stream: streams.Stream{ID: a.Stream, Name: a.Stream}}, nil
}

// serve runs a Server for the length of the test.
func serve(t *testing.T, c Config) *Server {
	t.Helper()
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	if c.UDPAddress == "" {
		c.UDPAddress = "127.0.0.1:0"
	}
	if c.Authenticator == nil {
		c.Authenticator = open{}
	}
	if os.Getenv("RTSP_LOG") != "" {
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}
