package pull

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"penstock/fragments"
	"penstock/ingest/camera"
	"penstock/ingest/interleaved"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/streams"
)

const (
	// defaultHandshakes spreads the start of a thousand cameras over the processors.
	defaultHandshakes = 64
	// defaultSilence leaves room to find a dead connection within 10 s.
	defaultSilence = 8 * time.Second
	// checkEvery is how often conversations are looked over for silence.
	checkEvery = 500 * time.Millisecond
	// lateMost is how late a look may be; after a later one the machine stood still.
	lateMost = time.Second
)

// Supervisor keeps a conversation with every camera of the catalogue. Make one with
// New; Run does the work.
type Supervisor struct {
	conf    Config
	out     publisher
	clock   host.Clock
	dial    host.Dial
	poller  *interleaved.Poller
	slots   chan struct{}
	metrics *metrics
	log     *quietLog
	looked  time.Time // the watchdog's, when last

	smallBuffer sync.Once  // it was told
	randMu      sync.Mutex // above rand.Reader handed in
	mu          sync.Mutex
	pulled      map[string]*puller // by stream ID
}

// New checks c and starts nothing. Faults: Invalid.
func New(c Config) (*Supervisor, error) {
	if c.Catalogue == nil || c.Hub == nil {
		return nil, fault.New(fault.Invalid, "configure pull", "", "Catalogue and Hub must be set")
	}
	return newSupervisor(c, hub{c.Hub})
}

func newSupervisor(c Config, out publisher) (*Supervisor, error) {
	if c.Handshakes < 0 || c.Silence < 0 {
		return nil, fault.New(fault.Invalid, "configure pull", "", "Handshakes and Silence must not be negative")
	}
	c.Handshakes = cmp.Or(c.Handshakes, defaultHandshakes)
	c.Silence = cmp.Or(c.Silence, defaultSilence)
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	s := &Supervisor{conf: c, out: out, clock: c.Clock, dial: c.Dial, slots: make(chan struct{}, c.Handshakes), pulled: map[string]*puller{},
		poller: interleaved.NewPoller(interleaved.Config{Clock: c.Clock, Logger: c.Logger}), log: newQuietLog(c.Logger, c.Clock)}
	s.metrics = newMetrics(s, c.Registerer)
	return s, nil
}

// Run follows the catalogue until ctx ends, and returns when every camera has been
// hung up on.
func (s *Supervisor) Run(ctx context.Context) error {
	w := s.conf.Catalogue.Watch()
	defer w.Close()
	return s.run(ctx, w.Next)
}

func (s *Supervisor) run(ctx context.Context, next func(context.Context) (streams.Change, error)) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	var pollErr error
	wg.Go(func() { pollErr = s.poller.Run(inner) })
	wg.Go(func() { s.watchdog(inner) })
	var err error
	for err == nil {
		var c streams.Change
		if c, err = next(ctx); err == nil {
			s.apply(inner, c)
		}
	}
	s.stopAll()
	cancel()
	wg.Wait()
	s.log.flush()
	if ctx.Err() != nil {
		return pollErr
	}
	return errors.Join(err, pollErr)
}

// apply makes what runs agree with one change of the catalogue.
func (s *Supervisor) apply(ctx context.Context, c streams.Change) {
	id := c.Stream.ID
	s.mu.Lock()
	old := s.pulled[id]
	s.mu.Unlock()
	if c.Kind == streams.Deleted || c.Stream.Source == nil {
		if old != nil {
			s.stop(old)
			if c.Kind != streams.Deleted {
				s.out.SetState(id, streams.Idle, "")
			}
		}
		return
	}
	if old != nil {
		if *old.stream.Source == *c.Stream.Source {
			return
		}
		s.stop(old)
	}
	s.start(ctx, c.Stream)
}

func (s *Supervisor) start(ctx context.Context, st streams.Stream) {
	src := st.Source
	target, err := camera.ParseTarget(src.URL, src.Username, src.Password)
	if err != nil {
		s.out.SetState(st.ID, streams.Failed, err.Error()+": "+fault.HintOf(err))
		s.log.warn("read source", st.Name, err)
		return
	}
	target.Transport = camera.Transport(src.Transport)
	ctx, cancel := context.WithCancelCause(ctx)
	p := &puller{s: s, stream: st, target: target, cancel: cancel, done: make(chan struct{}), machine: Machine{Chance: s.chance}}
	s.mu.Lock()
	s.pulled[st.ID] = p
	s.mu.Unlock()
	go p.run(ctx)
}

func (s *Supervisor) stop(p *puller) {
	p.cancel(stopped(fragments.CauseProducerEnded, "the stream's camera was changed or removed"))
	<-p.done
	s.mu.Lock()
	delete(s.pulled, p.stream.ID)
	s.mu.Unlock()
}

// stopped is why a conversation ends that nothing is wrong with.
func stopped(cause fragments.Cause, detail string) *camera.Trouble {
	return &camera.Trouble{Cause: camera.Internal, Detail: "stopped", Err: streams.Ending{Cause: cause, Detail: detail}}
}

func (s *Supervisor) stopAll() {
	s.mu.Lock()
	var all []*puller
	for _, p := range s.pulled {
		all = append(all, p)
		p.cancel(stopped(fragments.CauseServerStopped, ""))
	}
	clear(s.pulled)
	s.mu.Unlock()
	for _, p := range all {
		<-p.done
	}
}

// watchdog finds conversations whose media stopped: sockets of cameras that lost power
// stay open for hours.
func (s *Supervisor) watchdog(ctx context.Context) {
	s.looked = s.clock.Now().Round(0)
	for {
		t := s.clock.NewTimer(checkEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		now := s.clock.Now()
		s.look(now)
		s.log.tick(now)
	}
}

// look looks all conversations over. When the machine stood still, what the cameras sent
// meanwhile waits to be read: it is for the next look to say who is silent.
func (s *Supervisor) look(now time.Time) {
	now = now.Round(0) // a machine that sleeps stops the monotonic clock
	late := now.Sub(s.looked) > checkEvery+lateMost
	s.looked = now
	if late {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pulled {
		if c := p.call.Load(); c != nil {
			c.check(now, s.conf.Silence)
		}
	}
}

// bufferGood holds a key frame of a 4K camera that comes as one burst.
const bufferGood = 1 << 20

// listenPacket opens a socket for media over UDP, and says once when the machine grants
// too small a buffer for it.
func (s *Supervisor) listenPacket(network, address string) (net.PacketConn, error) {
	pc, err := camera.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if uc, ok := pc.(*net.UDPConn); ok {
		if n, err := camera.Granted(uc); err == nil && n < bufferGood {
			s.smallBuffer.Do(func() {
				s.conf.Logger.Warn("receive buffer for media over UDP is small; bursts will be lost", "bytes", n,
					"try", "sysctl -w net.core.rmem_max=8388608, or set the cameras' transport to tcp")
			})
		}
	}
	return pc, nil
}

// slot waits for leave to shake hands. release may be called more than once, and is
// called after slotTime anyway.
func (s *Supervisor) slot(ctx context.Context) (release func(), ok bool) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	free := sync.OnceFunc(func() { <-s.slots })
	t := time.AfterFunc(slotTime, free)
	return func() {
		t.Stop()
		free()
	}, true
}

// chance returns a number in [0,1).
func (s *Supervisor) chance() float64 {
	var b [8]byte
	s.randMu.Lock()
	defer s.randMu.Unlock()
	if _, err := io.ReadFull(s.conf.Rand, b[:]); err != nil {
		return 0.5 // no chance at all is the middle
	}
	return float64(binary.LittleEndian.Uint64(b[:])>>11) / (1 << 53)
}
