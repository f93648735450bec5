package interleaved

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection that carries RTSP messages and interleaved frames. Read belongs
// to one goroutine, the RTSP library's; the rest may be called at once.
//
// Read deadlines set by the library are ignored: the poller times silence, and a
// deadline per packet is the cost that this package exists to avoid.
type Conn struct {
	net.Conn // closed, but for its addresses, once there is a socket
	poller   *Poller
	raw      syscall.RawConn // nil: read through Conn
	last     atomic.Int64    // when the last byte came, ns
	quiet    atomic.Int64    // how long it may be silent, ns
	frames   atomic.Uint64
	deadline atomic.Int64           // of writes, ns since 1970; 0: none
	socket   atomic.Pointer[socket] // the poller's, once the connection was tapped
	writing  sync.Mutex             // held while a Write is under way

	life   sync.Mutex // guards closed and the change of socket; taken before Poller.mu
	closed bool

	onReady func(fd uintptr) bool // bound once: a method value per read would allocate
	mu      sync.Mutex
	parser  parser
	handler Handler
	tap     TapConfig
	flows   bool      // frames come, and the poller has not been given the socket
	beat    time.Time // of the last heartbeat
	up      []byte    // bytes for Read to return before it looks at anything else
	room    int       // bytes that Read may return yet, when bounded
	bounded bool
	until   time.Time // that Read may return any, when bounded
	rest    []byte    // came, but not taken apart yet
	coming  []byte    // what came behind the frame that the handler is looking at
	err     error     // final
	reading []byte    // buffer for connections without raw
}

// Tap makes frames go to h from now on instead of up through Read. It may be called
// while a Read is under way, and before the peer sends its first frame.
func (c *Conn) Tap(h Handler, t TapConfig) {
	t.Silence = cmp.Or(t.Silence, DefaultSilence)
	c.mu.Lock()
	c.handler, c.tap, c.beat = h, t, c.poller.clock.Now()
	c.quiet.Store(int64(t.Silence))
	c.last.Store(c.beat.UnixNano())
	c.mu.Unlock()
	c.poller.guard(c)
	c.nudge()
}

// Untap sends frames up through Read again. No Handler call is under way or follows
// when it has returned, unless it is called from within one.
func (c *Conn) Untap() {
	c.mu.Lock()
	c.handler = nil
	c.quiet.Store(int64(DefaultIdle))
	c.mu.Unlock()
	c.nudge()
}

// Allow sets how long the connection may be silent while it is not tapped, from now on,
// and starts the timing; below 0: for ever, as a player need not say a word.
func (c *Conn) Allow(silence time.Duration) {
	if silence < 0 {
		silence = 1<<63 - 1
	}
	c.quiet.Store(int64(silence))
	c.last.Store(c.poller.clock.Now().UnixNano())
	c.poller.guard(c)
}

// Bound lets Read return no more than most bytes from now on, and none when some time is
// over, and then end the connection; 0: as many as come. What a peer says before it has
// proved who it is must not fill the memory of whoever takes its messages apart, nor hold
// a place for ever with a byte now and then.
func (c *Conn) Bound(most int, within time.Duration) {
	c.mu.Lock()
	c.room, c.bounded, c.until = most, most > 0, c.poller.clock.Now().Add(within)
	c.mu.Unlock()
}

// errTalks ends a connection that says more than Bound lets it, or takes longer.
var errTalks = errors.New("too many words before a sign-in, or too slow ones")

// patience is how long the connection may be silent.
func (c *Conn) patience() time.Duration { return time.Duration(c.quiet.Load()) }

// Close closes the connection; a Read or Write under way returns.
func (c *Conn) Close() error {
	c.life.Lock()
	defer c.life.Unlock()
	c.closed = true
	c.poller.forget(c)
	if s := c.socket.Load(); s != nil {
		return s.close()
	}
	return c.Conn.Close()
}

// SetReadDeadline does nothing: see Conn.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetDeadline sets the deadline of writes only.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetWriteDeadline(t) }

// SetWriteDeadline sets when a Write that begins after it gives up; the zero time: never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.deadline.Store(0)
	} else {
		c.deadline.Store(t.UnixNano())
	}
	if c.socket.Load() != nil {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// Write sends messages and frames, one in a call.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	n, err := c.write(b)
	c.writing.Unlock()
	if len(b) > 1 && b[0] == '$' && b[1]&1 == 0 {
		c.frames.Add(1)
	}
	return n, err
}

func (c *Conn) write(b []byte) (int, error) {
	s := c.socket.Load()
	if s == nil {
		return c.Conn.Write(b)
	}
	n, err := c.poller.write(s, b, c.deadline.Load())
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// opError is err as package net would say it.
func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Frames is how many interleaved frames were written on even channels, which carry RTP.
func (c *Conn) Frames() uint64 { return c.frames.Load() }

// Ahead returns the payload of the first frame on a channel that came behind the one
// that Handler.Frame was called with and begins at position at or behind it, and the
// position behind that frame; nil: no whole one came. Only within Frame; what it returns
// is valid until Frame returns.
func (c *Conn) Ahead(channel uint8, at int) (payload []byte, next int) {
	for at+4 <= len(c.coming) && c.coming[at] == '$' {
		b := c.coming[at:]
		size := 4 + (int(b[2])<<8 | int(b[3]))
		if size > len(b) {
			break
		}
		at += size
		if b[1] == channel {
			return b[4:size], at
		}
	}
	return nil, at
}

// Err is why the connection ended, nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// NetConn returns the connection underneath.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// nudge makes a Read that waits look at the state again.
func (c *Conn) nudge() {
	if s := c.socket.Load(); s != nil {
		s.tell()
		return
	}
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// adopt gives the connection's socket to the poller. Only Read calls it: closing the old
// descriptor then waits for nobody. Where it fails, the connection is read when the kernel
// says so, which costs more.
func (c *Conn) adopt() {
	c.mu.Lock()
	c.flows = false
	c.mu.Unlock()
	if !c.writing.TryLock() { // no Write may be cut in two by the change
		return // after the next frames
	}
	defer c.writing.Unlock()
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return
	}
	if err := c.poller.adopt(c); err != nil {
		c.poller.unread.Do(func() {
			c.poller.logger.Warn("connections are read packet by packet, which costs more", "remote", c.RemoteAddr().String(), "err", err)
		})
		return
	}
	_ = c.Conn.Close() // its descriptor; the socket has another
}

// fail ends the connection with err, which Read returns.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.nudge()
}

// Read returns bytes of RTSP messages, never past the end of one, and of frames that
// nobody tapped.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		if len(c.up) == 0 && c.err == nil {
			c.parse(nil, c.poller.clock.Now())
		}
		if len(c.up) > 0 {
			n := copy(p, c.up)
			if c.room -= n; c.bounded && (c.room < 0 || c.poller.clock.Now().After(c.until)) {
				c.err = errTalks
				c.mu.Unlock()
				return 0, errTalks
			}
			c.up = c.up[n:]
			if len(c.up) == 0 {
				c.up = nil
			}
			c.mu.Unlock()
			return n, nil
		}
		if err := c.err; err != nil {
			c.mu.Unlock()
			return 0, err
		}
		c.mu.Unlock()
		if err := c.wait(); err != nil {
			return 0, err
		}
	}
}

// wait returns when there is something to look at, or err is final.
func (c *Conn) wait() error {
	s := c.socket.Load()
	var err error
	switch {
	case s != nil:
		err = s.wait()
	case c.raw != nil:
		if err = c.raw.Read(c.onReady); err == nil && c.flowing() {
			c.adopt()
		}
	default:
		err = c.pull()
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.Conn.SetReadDeadline(time.Time{}) // a nudge
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	return nil // Read looks at c.err, after what came before it
}

// pull reads a connection that cannot be polled.
func (c *Conn) pull() error {
	if c.reading == nil {
		c.reading = make([]byte, 16<<10)
	}
	n, err := c.Conn.Read(c.reading)
	if n > 0 {
		now := c.poller.clock.Now()
		c.mu.Lock()
		c.arrived(n, now)
		c.parse(c.reading[:n], now)
		c.mu.Unlock()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil
	}
	return err
}

// arrived notes that n bytes came.
func (c *Conn) arrived(n int, now time.Time) {
	c.last.Store(now.UnixNano())
	c.poller.stats.bytes.Add(uint64(n))
	c.poller.stats.reads.Add(1)
}

// ready is called by the runtime with the descriptor at once, and whenever the kernel
// says that there is data; false: wait for the next time. Staying inside one call of
// RawConn.Read means that no notice is lost and no read is made just to learn that
// nothing is there.
func (c *Conn) ready(fd uintptr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || len(c.up) > 0 {
		return true
	}
	s := c.poller.scratch.Get().(*[]byte)
	defer c.poller.scratch.Put(s)
	c.flows = c.take(int(fd), *s, c.poller.clock.Now()) > 0 && c.handler != nil && canPoll
	return c.err != nil || len(c.up) > 0 || c.flows
}

// flowing reports whether it is time to adopt: not before the first frames were taken in
// the connection's own goroutine, because the handler may have much to do with them.
func (c *Conn) flowing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flows && c.err == nil
}

// look is one look by the poller at a socket that has data; n is how much came.
func (c *Conn) look(s *socket, buf []byte, now time.Time) (n int) {
	if !s.hold() {
		return 0
	}
	defer s.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && len(c.up) == 0 {
		n = c.take(s.fd, buf, now)
	}
	if c.err != nil {
		c.poller.drop(s)
	}
	if c.err != nil || len(c.up) > 0 {
		s.tell()
	}
	return n
}

// readsMax bounds the reads of one look: a peer that sends as fast as memory must not
// keep the poller from the others.
const readsMax = 8

// take reads what is there, takes it apart and returns how much it was.
func (c *Conn) take(fd int, buf []byte, now time.Time) (got int) {
	for range readsMax {
		if c.err != nil || len(c.up) > 0 {
			break
		}
		kept := copy(buf, c.rest)
		room := buf[kept:]
		if len(room) == 0 {
			c.err = errHeader
			break
		}
		n, err := readFD(fd, room)
		if n > 0 {
			got += n
			c.arrived(n, now)
			c.rest = c.rest[:0]
			c.parse(buf[:kept+n], now)
			if n < len(room) {
				break // that was all
			}
			continue
		}
		switch {
		case err == nil:
			c.err = io.EOF
		case isAgain(err):
			c.poller.stats.empty.Add(1)
		default:
			c.err = c.opError("read", err)
		}
		break
	}
	return got
}
