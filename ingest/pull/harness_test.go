package pull

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/fragments"
	"penstock/internal/camsim"
	"penstock/internal/fault"
	"penstock/internal/secret"
	"penstock/media"
	"penstock/streams"
)

func TestMain(m *testing.M) {
	if os.Getenv(manyCameras) != "" {
		serveMany()
		return
	}
	goleak.VerifyTestMain(m)
}

// hubRecord is a publisher that keeps what it is given.
type hubRecord struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	states   map[string]string
	told     []string // all states, of all streams
	sessions []*sessionRecord
	refuse   error
	discard  bool                     // count samples, keep none
	met      map[string]bool          // streams that had a session
	served   map[string]bool          // and media
	stalled  map[string]chan struct{} // Prepare of that stream waits for it
}

type sessionRecord struct {
	hub     *hubRecord
	stream  string
	at      time.Time
	tracks  [][]media.Track
	samples []media.Sample
	count   int
	bytes   int
	lost    int
	first   time.Time
	last    time.Time
	closed  bool
	cause   error
	done    chan struct{}
}

func newHub() *hubRecord {
	return &hubRecord{changed: make(chan struct{}), states: map[string]string{}, met: map[string]bool{}, served: map[string]bool{}}
}

func (h *hubRecord) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *hubRecord) Prepare(ctx context.Context, st streams.Stream) {
	h.mu.Lock()
	stall := h.stalled[st.ID]
	h.mu.Unlock()
	if stall == nil {
		return
	}
	h.change(func() { h.states[st.ID] = "preparing" })
	select {
	case <-stall:
	case <-ctx.Done():
	}
}

func (h *hubRecord) Publish(_ context.Context, st streams.Stream, p streams.Producer, tracks []media.Track, _ func(fragments.Head, error)) (session, error) {
	s := &sessionRecord{hub: h, stream: st.ID, at: time.Now(), tracks: [][]media.Track{tracks}, done: make(chan struct{})}
	var err error
	h.change(func() {
		for _, o := range h.sessions {
			if o.stream == st.ID && !o.closed {
				err = fault.New(fault.InUse, "publish", st.Name, "another producer holds it")
				return
			}
		}
		if err = h.refuse; err == nil {
			h.sessions = append(h.sessions, s)
			h.met[st.ID] = true
		}
	})
	if err != nil {
		return nil, err
	}
	if p.Protocol != "rtsp pull" || p.Remote == "" {
		return nil, fmt.Errorf("producer is %+v", p)
	}
	return s, nil
}

func (h *hubRecord) SetState(id string, status streams.Status, reason string) {
	h.change(func() {
		h.states[id] = string(status) + ": " + reason
		h.told = append(h.told, h.states[id])
	})
}

func (s *sessionRecord) Write(m media.Sample) error {
	s.hub.change(func() {
		if !s.hub.discard {
			s.samples = append(s.samples, m)
		}
		s.last = time.Now()
		if s.count == 0 {
			s.first = s.last
			s.hub.served[s.stream] = true
		}
		s.count++
		s.bytes += len(m.Data)
	})
	return nil
}

func (s *sessionRecord) SetTracks(t []media.Track) error {
	s.hub.change(func() { s.tracks = append(s.tracks, t) })
	return nil
}

func (s *sessionRecord) Lost(_ media.TrackID, n int) { s.hub.change(func() { s.lost += n }) }

func (s *sessionRecord) Close(cause error) error {
	s.hub.change(func() { s.closed, s.cause = true, cause })
	return nil
}

func (s *sessionRecord) Done() <-chan struct{} { return s.done }

// lastResort is how long a test waits for what comes soon: a machine that stands still for
// a while is no reason to fail.
const lastResort = 5 * time.Minute

// wait returns when ok, which is called with the lock held, says so.
func (h *hubRecord) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(lastResort)
	defer deadline.Stop()
	for {
		h.mu.Lock()
		good, changed := ok(), h.changed
		h.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			h.mu.Lock()
			defer h.mu.Unlock()
			t.Fatalf("not within %v: %s; states %v, %d sessions", lastResort, what, h.states, len(h.sessions))
		}
	}
}

// rig is a supervisor under test.
type rig struct {
	*Supervisor
	hub     *hubRecord
	changes chan streams.Change
}

func start(t *testing.T, c Config) *rig {
	t.Helper()
	hub := newHub()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := newSupervisor(c, hub)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{s, hub, make(chan streams.Change)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.run(ctx, func(ctx context.Context) (streams.Change, error) {
			select {
			case c := <-r.changes:
				return c, nil
			case <-ctx.Done():
				return streams.Change{}, ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

func (r *rig) add(id, url, user, pass string, tp streams.Transport) {
	r.changes <- streams.Change{Kind: streams.Created, Stream: streams.Stream{ID: id, Name: id,
		Source: &streams.Source{URL: url, Username: user, Password: secret.New(pass), Transport: tp}}}
}

func (r *rig) state(id string) string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return r.hub.states[id]
}

func cameras(t *testing.T, c camsim.ServerConfig) *camsim.Server {
	t.Helper()
	s, err := camsim.Serve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
