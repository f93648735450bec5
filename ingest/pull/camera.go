package pull

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"penstock/fragments"
	"penstock/ingest/camera"
	"penstock/ingest/interleaved"
	"penstock/ingest/rtpin"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/streams"
)

const (
	// knockTimeout bounds a try whether a port accepts connections.
	knockTimeout = time.Second
	// patience is how long a camera that took the connection and said nothing may take
	// to answer on later calls: one that hangs is heard the moment it wakes.
	patience = 15 * time.Second
	// slotTime is how long a call may hold one of Config.Handshakes: slots spread a
	// storm of handshakes, they are not for cameras that hang.
	slotTime = 400 * time.Millisecond
)

// publisher is what of streams.Hub a camera needs.
type publisher interface {
	Prepare(ctx context.Context, st streams.Stream)
	Publish(ctx context.Context, st streams.Stream, p streams.Producer, tracks []media.Track, stored func(fragments.Head, error)) (session, error)
	SetState(id string, status streams.Status, reason string)
}

// session is what of streams.Session a camera needs.
type session interface {
	rtpin.Sink
	Close(cause error) error
	Done() <-chan struct{}
}

// hub makes a streams.Hub a publisher: Go has no covariant results.
type hub struct{ *streams.Hub }

func (h hub) Publish(ctx context.Context, st streams.Stream, p streams.Producer, tracks []media.Track, stored func(fragments.Head, error)) (session, error) {
	s, err := h.Hub.Publish(ctx, st, p, tracks, stored)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// puller keeps one camera. run owns all of it but what is atomic or under mu.
type puller struct {
	s       *Supervisor
	stream  streams.Stream
	target  camera.Target
	cancel  context.CancelCauseFunc
	done    chan struct{}
	machine Machine
	silent  bool // the last call was taken and not answered

	call atomic.Pointer[call] // under way
}

// call is one conversation with the camera.
type call struct {
	p      *puller
	cancel context.CancelCauseFunc
	tap    camera.Tap
	began  atomic.Int64 // when PLAY was answered, ns; 0: not yet

	mu      sync.Mutex
	session session
	media   time.Time // first sample
}

// sink notes the first sample on the way into the session.
type sink struct {
	session
	c    *call
	seen bool
}

// Write hands m on; see rtpin.Sink.
func (k *sink) Write(m media.Sample) error {
	if !k.seen {
		k.seen = true
		k.c.mu.Lock()
		k.c.media = k.c.p.s.clock.Now()
		k.c.mu.Unlock()
	}
	return k.session.Write(m)
}

// run keeps the camera until ctx ends.
func (p *puller) run(ctx context.Context) {
	defer close(p.done)
	m := &p.machine
	a := m.Next(Event{Kind: EventStart, At: p.s.clock.Now()})
	p.s.out.SetState(p.stream.ID, streams.Connecting, "calling the camera")
	for {
		switch a.Kind {
		case ActionCall:
			tr := p.converse(ctx, a)
			if ctx.Err() != nil {
				return
			}
			a = m.Next(Event{Kind: EventTrouble, At: p.s.clock.Now(), Trouble: tr})
			p.tell(tr, a)
		case ActionKnock:
			kind := EventSilent
			if p.knock(ctx) {
				kind = EventAnswered
				p.s.out.SetState(p.stream.ID, streams.Connecting, "the camera answers again; calling it")
			}
			if ctx.Err() != nil {
				return
			}
			a = m.Next(Event{Kind: kind, At: p.s.clock.Now()})
		case ActionWait:
			if !p.wait(ctx, a.Until) {
				return
			}
			a = m.Next(Event{Kind: EventDue, At: p.s.clock.Now()})
		default:
			return
		}
	}
}

func (p *puller) wait(ctx context.Context, until time.Time) bool {
	t := p.s.clock.NewTimer(until.Sub(p.s.clock.Now()))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (p *puller) knock(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	p.s.metrics.knocks.Inc()
	c, err := p.s.dial(ctx, "tcp", p.target.Address())
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// tell reports trouble to the stream's state, the log and the metrics.
func (p *puller) tell(tr *camera.Trouble, a Action) {
	status := statusOf(tr.Cause)
	reason := tr.Reason()
	if a.Kind == ActionCall && p.machine.Attempts() <= 1 {
		status, reason = streams.Connecting, tr.Detail+"; calling it again"
	}
	p.s.out.SetState(p.stream.ID, status, reason)
	p.s.metrics.failures.WithLabelValues(tr.Cause.String()).Inc()
	p.s.log.trouble(p.stream.Name, p.target.Address(), tr)
}

// statusOf sorts a cause into a stream's status.
func statusOf(c camera.Cause) streams.Status {
	switch c {
	case camera.WrongPassword, camera.NeedsPassword, camera.Forbidden:
		return streams.DeniedBy
	case camera.Refused, camera.Unreachable, camera.NoSuchHost, camera.NoAnswer, camera.HungUp, camera.Silent, camera.NoPackets:
		return streams.Offline
	}
	return streams.Failed
}

// converse calls the camera and returns when the conversation is over, with why.
func (p *puller) converse(ctx context.Context, a Action) *camera.Trouble {
	release, ok := p.s.slot(ctx)
	if !ok {
		return stopped(fragments.CauseServerStopped, "")
	}
	defer release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &call{p: p, cancel: cancel}
	target := p.target
	if target.Transport == camera.Auto && a.Prefer != "" {
		target = preferred(target, a.Prefer)
	}
	var tapped *interleaved.Conn
	conf := camera.Config{Dial: p.s.dial, Packets: p.s.listenPacket, Wrap: func(nc net.Conn) net.Conn {
		tapped = p.s.poller.Conn(nc)
		return tapped
	}}
	if p.silent {
		conf.Step = patience
	}
	p.s.metrics.calls.Inc()
	conn, err := camera.Open(ctx, conf, target, nil)
	if err != nil {
		tr := camera.TroubleOf(err)
		p.silent = tr.Cause == camera.NoAnswer
		return tr
	}
	p.silent = false
	defer conn.Close()
	return c.hold(ctx, conn, tapped, release)
}

// preferred tries the way that worked last first; Open still takes the other when that
// is refused only from TCP to UDP, so a preference for UDP is a choice of UDP.
func preferred(t camera.Target, way camera.Transport) camera.Target {
	if way == camera.UDP && !t.Secure() {
		t.Transport = camera.UDP
	}
	return t
}

// hold keeps a conversation that is set up until it ends.
func (c *call) hold(ctx context.Context, conn *camera.Conn, tapped *interleaved.Conn, release func()) *camera.Trouble {
	p := c.p
	// Here, where it keeps nobody else waiting: publish is called where packets come in.
	p.s.out.Prepare(ctx, p.stream)
	recv, err := rtpin.New(rtpin.Config{Medias: conn.Medias, Ahead: c.tap.Ahead, Open: func(tracks []media.Track) (rtpin.Sink, error) {
		return c.publish(ctx, tracks)
	}})
	if err != nil {
		return refusal(err)
	}
	c.tap.Receiver = recv
	c.tap.Failed = func(err error) { c.cancel(refusal(err)) }
	c.tap.Receive(conn, tapped, p.s.conf.Silence+time.Second)
	p.call.Store(c)
	defer p.call.Store(nil)
	stop := context.AfterFunc(ctx, conn.Close)
	// Before PLAY: the first sample, which makes the stream live, may come before its answer.
	p.s.out.SetState(p.stream.ID, streams.Connecting, "the camera answers; waiting for its first key frame")
	err = conn.Play(ctx)
	release()
	if err == nil {
		c.began.Store(p.s.clock.Now().UnixNano())
		err = conn.Wait()
	}
	stop()
	conn.Close()
	if tapped != nil {
		tapped.Untap() // no packet is on its way into the receiver after this
	}
	tr := camera.TroubleOf(err)
	if cause := context.Cause(ctx); cause != nil {
		tr = camera.TroubleOf(cause)
	}
	recv.Close()
	c.finish(conn.Transport, tr)
	return tr
}

// publish claims the stream. It is called once, from within the receiver.
func (c *call) publish(ctx context.Context, tracks []media.Track) (rtpin.Sink, error) {
	s, err := c.p.s.out.Publish(ctx, c.p.stream, streams.Producer{Remote: c.p.target.Address(), Protocol: "rtsp pull"}, tracks, nil)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	return &sink{session: s, c: c}, nil
}

// finish closes the session, if there was one, and tells the machine what came of it.
func (c *call) finish(way camera.Transport, tr *camera.Trouble) {
	c.mu.Lock()
	s, first := c.session, c.media
	c.session = nil
	c.mu.Unlock()
	if !first.IsZero() {
		c.p.machine.Next(Event{Kind: EventMedia, At: first})
		c.p.machine.Worked(way)
	}
	if s == nil {
		return
	}
	if err := s.Close(ending(tr)); err != nil {
		c.p.s.log.warn("end session", c.p.stream.Name, err)
	}
}

// ending is what the timeline shows for the time without media.
func ending(tr *camera.Trouble) streams.Ending {
	e := streams.Ending{Cause: fragments.CauseConnectionLost, Detail: tr.Detail}
	var exact streams.Ending
	switch {
	case errors.As(tr.Err, &exact):
		return exact
	case tr.Cause == camera.Silent:
		e.Cause = fragments.CauseSilent
	}
	return e
}

// check ends a conversation whose media stopped, or whose stream was taken away.
// It is called by the supervisor's clock.
func (c *call) check(now time.Time, silence time.Duration) {
	began := c.began.Load()
	if began == 0 {
		return
	}
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		select {
		case <-s.Done():
			c.cancel(&camera.Trouble{Cause: camera.Taken, Detail: "another producer took the stream over",
				Try: "end the other producer, or give one of the two another stream"})
			return
		default:
		}
	}
	last := c.tap.Last()
	switch {
	case last.IsZero() && now.Sub(time.Unix(0, began)) > silence:
		c.cancel(&camera.Trouble{Cause: camera.NoPackets, Detail: "the camera agreed to send and sends nothing",
			Try: "if media goes over UDP, set the transport to tcp or open the firewall; else restart the camera"})
	case !last.IsZero() && now.Sub(last) > silence:
		c.cancel(&camera.Trouble{Cause: camera.Silent, Detail: "the camera stopped sending without hanging up",
			Try: "check its network cable or Wi-Fi; it is being called again"})
	}
}

// refusal says why our side would not take the media.
func refusal(err error) *camera.Trouble {
	var tr *camera.Trouble
	switch {
	case errors.As(err, &tr):
		return tr
	case fault.Is(err, fault.InUse):
		return &camera.Trouble{Cause: camera.Taken, Detail: err.Error(), Try: "end the other producer, or give one of the two another stream", Err: err}
	case fault.Is(err, fault.Invalid):
		return &camera.Trouble{Cause: camera.NoMedia, Detail: err.Error(), Try: fault.HintOf(err), Err: err}
	}
	return &camera.Trouble{Cause: camera.Internal, Detail: err.Error(), Try: fault.HintOf(err), Err: err}
}
