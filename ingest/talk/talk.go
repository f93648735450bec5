// Package talk carries a person's voice to the loudspeaker of a camera: G.711 into the
// back channel that ONVIF describes (ONVIF Streaming Specification §5.3).
//
// Each call is an RTSP connection of its own, made when somebody begins to talk and gone
// when they end: the one that records is never touched. How a camera is called and why
// that fails is package camera's; who may talk is decided before it comes here.
package talk

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/ingest/camera"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/streams"
)

// Limits of talking.
const (
	// Frame is what one RTP packet carries, in octets: 20 ms.
	Frame = 160
	// FrameMax bounds what one Say takes: 120 ms, twice what is asked for.
	FrameMax = 6 * Frame
	// queueMost is how many Frames may wait for their time: 500 ms. Beyond, the oldest go:
	// a voice that comes late is worth less than one that comes now.
	queueMost = 25
	// CallsMost bounds how many cameras are talked to at once.
	CallsMost = 32
	// defaultLongest ends a call that somebody forgot.
	defaultLongest = 10 * time.Minute
	// defaultIdle ends a call in which nothing was said.
	defaultIdle = 30 * time.Second
	// lookAgain is how long a camera's offer is believed, lookAgainSoon how long a camera
	// that could not be asked is left alone.
	lookAgain     = 10 * time.Minute
	lookAgainSoon = 15 * time.Second
	// looksMost bounds what is remembered of cameras.
	looksMost = 4096
)

// Config holds what an Intercom needs. Zero fields mean the defaults named beside them.
type Config struct {
	Dial       host.Dial             // the machine's own dialler
	Clock      host.Clock            // host.System
	Step       time.Duration         // bounds each request to a camera: camera.StepTimeout
	Longest    time.Duration         // a call may last: 10 min
	Idle       time.Duration         // nothing may be said for: 30 s
	Registerer prometheus.Registerer // nil: no metrics
}

// Intercom calls cameras, for one person each at a time. Make one with New; it may be used
// by many goroutines at once.
type Intercom struct {
	conf    Config
	metrics *metrics

	mu    sync.Mutex
	busy  map[string]holder // by stream ID
	looks map[string]*look  // by stream ID
}

// holder is who talks to a camera.
type holder struct {
	who   string
	since time.Time
}

// look is what a camera said about its back channel.
type look struct {
	source streams.Source
	voice  camera.Voice
	err    error
	until  time.Time
	done   chan struct{} // closed when it has said so
}

// New returns an Intercom. It calls nobody before it is asked.
func New(c Config) *Intercom {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Longest = cmp.Or(c.Longest, defaultLongest)
	c.Idle = cmp.Or(c.Idle, defaultIdle)
	i := &Intercom{conf: c, busy: map[string]holder{}, looks: map[string]*look{}}
	i.metrics = newMetrics(i, c.Registerer)
	return i
}

// Known returns what st's camera is known to take, or nil: not asked yet, not offered, or
// no camera that is pulled. It asks nobody.
func (i *Intercom) Known(st streams.Stream) *camera.Voice {
	if st.Source == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	l := i.looks[st.ID]
	if l == nil || l.source != *st.Source || l.err != nil || l.until.IsZero() {
		return nil
	}
	v := l.voice
	return &v
}

// Talking returns who talks to st's camera, and since when; ok is false when nobody does.
func (i *Intercom) Talking(st streams.Stream) (who string, since time.Time, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	h, ok := i.busy[st.ID]
	return h.who, h.since, ok
}

// Ask returns what st's camera takes, from memory when it was asked lately. Faults: Invalid
// (no camera is pulled), Unavailable (no back channel, one of another codec, or the camera
// could not be asked: the cause is a *camera.Trouble).
func (i *Intercom) Ask(ctx context.Context, st streams.Stream) (camera.Voice, error) {
	target, err := targetOf(st)
	if err != nil {
		return camera.Voice{}, err
	}
	for {
		l, mine := i.look(st)
		if mine {
			v, err := i.ask(ctx, st, target)
			i.saw(l, v, err)
			return v, err
		}
		select {
		case <-ctx.Done():
			return camera.Voice{}, given(ctx, st)
		case <-l.done:
		}
		if l.until.After(i.conf.Clock.Now()) {
			return l.voice, l.err
		}
	}
}

// look returns what is remembered of st's camera, or a new one that the caller fills.
func (i *Intercom) look(st streams.Stream) (l *look, mine bool) {
	now := i.conf.Clock.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	if l = i.looks[st.ID]; l != nil && l.source == *st.Source && (l.until.IsZero() || l.until.After(now)) {
		return l, false
	}
	l = &look{source: *st.Source, done: make(chan struct{})}
	i.remember(st, l)
	return l, true
}

// remember keeps l, where there is room; i.mu is held.
func (i *Intercom) remember(st streams.Stream, l *look) {
	if now := i.conf.Clock.Now(); len(i.looks) >= looksMost {
		for id, old := range i.looks {
			if !old.until.IsZero() && !old.until.After(now) {
				delete(i.looks, id)
			}
		}
	}
	if len(i.looks) < looksMost || i.looks[st.ID] != nil {
		i.looks[st.ID] = l
	}
}

// saw notes what came of a look.
func (i *Intercom) saw(l *look, v camera.Voice, err error) {
	now := i.conf.Clock.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	l.voice, l.err, l.until = v, err, now.Add(lookAgain)
	if tr := camera.TroubleOf(err); tr != nil {
		switch tr.Cause {
		case camera.NoBackChannel, camera.BackChannelCodec:
		case camera.Internal: // the caller left: the next one asks
			l.until = now
		default:
			l.until = now.Add(lookAgainSoon)
		}
	}
	close(l.done)
}

// ask has the camera describe itself.
func (i *Intercom) ask(ctx context.Context, st streams.Stream, t camera.Target) (camera.Voice, error) {
	conn, err := camera.Open(ctx, camera.Config{Dial: i.conf.Dial, Step: i.conf.Step, Back: true, Look: true}, t, nil)
	if err != nil {
		return camera.Voice{}, i.trouble(ctx, st, err)
	}
	defer conn.Close()
	return conn.Voice(), nil
}

// targetOf is the camera that st is pulled from.
func targetOf(st streams.Stream) (camera.Target, error) {
	if st.Source == nil {
		return camera.Target{}, fault.New(fault.Invalid, "talk to", st.Name, "it is pushed here, so there is no camera to call").
			WithHint("add the camera by its RTSP address (penstock camera add) to talk to it")
	}
	t, err := camera.ParseTarget(st.Source.URL, st.Source.Username, st.Source.Password)
	t.Transport = st.Source.Transport
	return t, err
}

// trouble is what a caller is told of a camera that will not listen.
func (i *Intercom) trouble(ctx context.Context, st streams.Stream, err error) error {
	if ctx.Err() != nil {
		return given(ctx, st)
	}
	tr := camera.TroubleOf(err)
	return &fault.Error{Kind: fault.Unavailable, Op: "talk to", Resource: st.Name, Err: tr, Hint: cmp.Or(tr.Try, "call again; if it goes on, restart the camera")}
}

// given is why somebody gave up: what ended ctx, where that has words.
func given(ctx context.Context, st streams.Stream) error {
	var known *fault.Error
	if cause := context.Cause(ctx); errors.As(cause, &known) {
		return cause
	}
	return &fault.Error{Kind: fault.Unavailable, Op: "talk to", Resource: st.Name, Hint: "call again",
		Err: &camera.Trouble{Cause: camera.Internal, Detail: "given up", Err: context.Cause(ctx)}}
}
