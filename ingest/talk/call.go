package talk

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"

	"penstock/ingest/camera"
	"penstock/internal/fault"
	"penstock/streams"
)

const (
	// step is the time of one Frame.
	step = 20 * time.Millisecond
	// hurry is the least time between packets: what piled up on the way is spoken a third
	// faster, so that it does not stay late.
	hurry = 15 * time.Millisecond
	// pause without a word begins a new talkspurt.
	pause = 100 * time.Millisecond
	// linger is how long a camera is left to play what it has before it is hung up on.
	linger = 200 * time.Millisecond
	// lookOver is how often a call is looked over for its limits.
	lookOver = 250 * time.Millisecond
	// octetsASecond and framesASecond are what may be said in the long run, burst how many
	// seconds of it at once: what a network held back.
	octetsASecond = 10000
	framesASecond = 200
	burst         = 8
)

// Call is a camera that listens. Say and Close may be called from one goroutine; the other
// methods from any.
type Call struct {
	i      *Intercom
	stream streams.Stream
	conn   *camera.Conn
	voice  camera.Voice
	cancel context.CancelCauseFunc
	wake   chan struct{} // holds one token when there is something to say
	done   chan struct{} // closed when the camera was hung up on
	began  time.Time
	meter  meter

	mu      sync.Mutex // guards what is below
	queue   []packet
	rest    []byte        // less than a Frame
	silent  time.Duration // before rest
	last    time.Time     // something was said
	closing bool
	sent    int
	dropped int
	err     error
}

// packet is a Frame that waits for its time.
type packet struct {
	octets []byte
	silent time.Duration // before it, when that was a pause
}

// Call calls st's camera in the name of who, for people, and returns when it listens. ctx
// ends the call. Faults: Invalid (no camera is pulled), InUse (somebody talks to it),
// Throttled, Unavailable (the cause is a *camera.Trouble).
func (i *Intercom) Call(ctx context.Context, st streams.Stream, who string) (*Call, error) {
	target, err := targetOf(st)
	if err != nil {
		return nil, err
	}
	if err := i.claim(st, who); err != nil {
		return nil, err
	}
	c, err := i.call(ctx, st, target)
	i.metrics.called(err)
	if err != nil {
		i.release(st)
		return nil, err
	}
	return c, nil
}

func (i *Intercom) claim(st streams.Stream, who string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if h, taken := i.busy[st.ID]; taken {
		return fault.New(fault.InUse, "talk to", st.Name, fmt.Sprintf("%s talks to it since %s", h.who, h.since.Format("15:04:05"))).
			WithHint("wait until they are done, or ask them to end it")
	}
	if len(i.busy) >= CallsMost {
		return fault.New(fault.Throttled, "talk to", st.Name, fmt.Sprintf("%d cameras are talked to already", CallsMost)).WithHint("end one of the calls")
	}
	i.busy[st.ID] = holder{who, i.conf.Clock.Now()}
	return nil
}

func (i *Intercom) release(st streams.Stream) {
	i.mu.Lock()
	delete(i.busy, st.ID)
	i.mu.Unlock()
}

// call opens the conversation, up to PLAY.
func (i *Intercom) call(ctx context.Context, st streams.Stream, target camera.Target) (*Call, error) {
	l := &look{source: *st.Source, done: make(chan struct{})}
	conn, err := camera.Open(ctx, camera.Config{Dial: bounded(i.conf.Dial), Step: i.conf.Step, Back: true}, target, nil)
	if err == nil {
		if err = conn.Play(ctx); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		return nil, i.trouble(ctx, st, err)
	}
	i.mu.Lock()
	i.remember(st, l)
	i.mu.Unlock()
	i.saw(l, conn.Voice(), nil)
	now := i.conf.Clock.Now()
	c := &Call{i: i, stream: st, conn: conn, voice: conn.Voice(), wake: make(chan struct{}, 1), done: make(chan struct{}), began: now, last: now, meter: newMeter(now)}
	ctx, c.cancel = context.WithCancelCause(ctx)
	go c.run(ctx)
	return c, nil
}

// Voice is what Say takes.
func (c *Call) Voice() camera.Voice { return c.voice }

// Done is closed when the call is over; Err says why.
func (c *Call) Done() <-chan struct{} { return c.done }

// Err is why the call ended: nil after Close, and before.
func (c *Call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Sent returns how many packets the camera was sent, and how many Frames were dropped
// because they came faster than they can be played.
func (c *Call) Sent() (sent, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.dropped
}

// Say takes octets of the call's Voice, at most FrameMax at once, as they are spoken. It
// does not wait and keeps nothing of b. Faults: Invalid, Throttled; both end the call.
func (c *Call) Say(b []byte) error {
	now := c.i.conf.Clock.Now()
	var err error
	switch {
	case len(b) == 0 || len(b) > FrameMax:
		err = fault.New(fault.Invalid, "talk to", c.stream.Name, fmt.Sprintf("a message of %d octets: 1 to %d are taken at once", len(b), FrameMax)).
			WithHint("send 20 ms at a time: 160 octets of G.711")
	case !c.meter.take(now, len(b)):
		err = fault.New(fault.Throttled, "talk to", c.stream.Name, "sound comes faster than it can be played").
			WithHint("send 160 octets of G.711 every 20 ms")
	}
	if err != nil {
		c.cancel(err)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if silent := now.Sub(c.last); silent > pause {
		c.silent = silent
	}
	c.last = now
	c.rest = append(c.rest, b...)
	for len(c.rest) >= Frame {
		c.queue = append(c.queue, packet{c.rest[:Frame:Frame], c.silent})
		c.rest, c.silent = c.rest[Frame:], 0
	}
	c.rest = append([]byte(nil), c.rest...)
	if over := len(c.queue) - queueMost; over > 0 {
		c.queue = c.queue[over:]
		c.drop(over)
	}
	c.poke()
	return nil
}

// drop counts; c.mu is held.
func (c *Call) drop(n int) {
	c.dropped += n
	c.i.metrics.dropped.Add(float64(n))
}

func (c *Call) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close lets the camera hear what still waits, hangs up, and returns when that is done.
// Twice is fine.
func (c *Call) Close() {
	c.mu.Lock()
	c.closing = true
	if len(c.rest) > 0 {
		silence := byte(0xff) // mu-law
		if c.voice.Codec == "PCMA" {
			silence = 0xd5
		}
		for len(c.rest) < Frame {
			c.rest = append(c.rest, silence)
		}
		c.queue, c.rest = append(c.queue, packet{c.rest, c.silent}), nil
	}
	c.poke()
	c.mu.Unlock()
	<-c.done
}

// run speaks until the call is over.
func (c *Call) run(ctx context.Context) {
	defer close(c.done)
	defer c.i.release(c.stream)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.conn.Wait(); ctx.Err() == nil {
			c.cancel(c.i.trouble(ctx, c.stream, err))
		}
	})
	wg.Go(func() { c.watch(ctx) })
	c.speak(ctx)
	cause := context.Cause(ctx)
	c.cancel(errEnded)
	c.conn.Close()
	wg.Wait()
	if cause != nil {
		c.mu.Lock()
		c.err = cause
		c.mu.Unlock()
	}
}

// errEnded is the cause of a call that its caller closed.
var errEnded = errors.New("the call was ended")

// watch ends a call that lasts too long or in which nothing is said.
func (c *Call) watch(ctx context.Context) {
	end := func(text string) {
		c.cancel(fault.New(fault.Expired, "talk to", c.stream.Name, text).WithHint("call again"))
	}
	for c.rests(ctx, lookOver) {
		now := c.i.conf.Clock.Now()
		c.mu.Lock()
		silent := now.Sub(c.last)
		c.mu.Unlock()
		switch {
		case now.Sub(c.began) >= c.i.conf.Longest:
			end("a call lasts at most " + c.i.conf.Longest.String())
		case silent >= c.i.conf.Idle:
			end("nothing was said for " + c.i.conf.Idle.String())
		}
	}
}

// rests waits for d, and reports false when the call is over.
func (c *Call) rests(ctx context.Context, d time.Duration) bool {
	t := c.i.conf.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// next takes a frame; over says that none will come.
func (c *Call) next() (frame packet, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return packet{}, c.closing
	}
	frame, c.queue = c.queue[0], c.queue[1:]
	return frame, false
}

// speak sends what is said, 20 ms a packet, as it comes.
func (c *Call) speak(ctx context.Context) {
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	head := rtp.Header{Version: 2, Marker: true, PayloadType: c.voice.Payload, SequenceNumber: binary.BigEndian.Uint16(random[:]), Timestamp: binary.BigEndian.Uint32(random[2:])}
	var sent time.Time // the packet before
	for {
		frame, over := c.next()
		if over {
			if c.any() {
				c.rests(ctx, linger)
			}
			return
		}
		if frame.octets == nil {
			select {
			case <-ctx.Done():
				return
			case <-c.wake:
			}
			continue
		}
		now := c.i.conf.Clock.Now()
		if early := hurry - now.Sub(sent); !sent.IsZero() && early > 0 {
			if !c.rests(ctx, early) {
				return
			}
			now = c.i.conf.Clock.Now()
		}
		if frame.silent > 0 && !sent.IsZero() { // RFC 3551 §4.1
			head.Marker = true
			head.Timestamp += uint32((frame.silent - step) * time.Duration(c.voice.Rate) / time.Second)
		}
		sent = now
		if !c.send(head, frame.octets) {
			return
		}
		head.Marker = false
		head.SequenceNumber++
		head.Timestamp += Frame
	}
}

// any reports whether the camera was sent anything.
func (c *Call) any() bool { n, _ := c.Sent(); return n > 0 }

// send hands a packet to the RTSP client, which sends it on its own goroutine.
func (c *Call) send(head rtp.Header, frame []byte) bool {
	err := c.conn.Client.WritePacketRTP(c.conn.Medias[0], &rtp.Packet{Header: head, Payload: frame})
	c.mu.Lock()
	defer c.mu.Unlock()
	var full liberrors.ErrClientWriteQueueFull
	switch {
	case err == nil:
		c.sent++
	case errors.As(err, &full): // the camera reads slowly
		c.drop(1)
	default: // the client is closed: Wait has the reason, or ctx has
		return false
	}
	return true
}

// meter bounds what is said to a little more than it takes to play it.
type meter struct {
	at             time.Time
	octets, frames float64
}

func newMeter(now time.Time) meter {
	return meter{at: now, octets: burst * octetsASecond, frames: burst * framesASecond}
}

func (m *meter) take(now time.Time, octets int) bool {
	if passed := now.Sub(m.at).Seconds(); passed > 0 { // an operator may set the clock
		m.octets = min(m.octets+passed*octetsASecond, burst*octetsASecond)
		m.frames = min(m.frames+passed*framesASecond, burst*framesASecond)
	}
	m.at = now
	m.octets -= float64(octets)
	m.frames--
	return m.octets >= 0 && m.frames >= 0
}
