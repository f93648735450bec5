package interleaved

import (
	"bytes"
	"strconv"
	"time"
)

// parser is where in the framing a connection is.
type parser struct {
	pass    int // bytes of a message or frame that still go up
	scanned int // bytes of the header at hand that were searched for its end
	garbage int // bytes skipped in a row
}

// parse takes apart b, or c.rest when b is nil: frames go to the handler, one message
// or untapped frame goes to c.up. What is left is kept in c.rest. The caller holds mu.
func (c *Conn) parse(b []byte, now time.Time) {
	own := b == nil
	if own {
		b = c.rest
	} else if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		b, own = c.rest, true
	}
	whole := len(b)
	for len(b) > 0 && len(c.up) == 0 && c.err == nil {
		n := c.step(b, now)
		if n == 0 {
			break
		}
		b = b[n:]
	}
	if own && len(b) == whole {
		return
	}
	if len(b) == 0 {
		if cap(c.rest) > 4<<10 {
			c.rest = nil // a busy moment is no reason to keep the memory
		}
		c.rest = c.rest[:0]
		return
	}
	c.rest = append(c.rest[:0], b...)
}

// step takes one thing from b: a frame, a piece of a message, a byte of garbage. 0:
// more bytes are needed.
func (c *Conn) step(b []byte, now time.Time) int {
	p := &c.parser
	if p.pass > 0 {
		n := min(p.pass, len(b))
		c.up = append(c.up, b[:n]...)
		p.pass -= n
		return n
	}
	switch {
	case b[0] == '$':
		return c.frame(b, now)
	case b[0] >= 'A' && b[0] <= 'Z':
		p.garbage = 0
		return c.message(b)
	}
	n := 1
	for n < len(b) && b[n] != '$' && (b[n] < 'A' || b[n] > 'Z') {
		n++
	}
	if p.garbage += n; p.garbage > GarbageMax {
		c.err = errGarbage
	}
	return n
}

// frame takes one interleaved frame (RFC 2326 §10.12).
func (c *Conn) frame(b []byte, now time.Time) int {
	if len(b) < 4 {
		return 0
	}
	size := 4 + (int(b[2])<<8 | int(b[3]))
	if c.handler == nil {
		n := min(size, len(b))
		c.up = append(c.up, b[:n]...)
		c.parser.pass = size - n
		c.parser.garbage = 0
		return n
	}
	if len(b) < size {
		return 0
	}
	c.parser.garbage = 0
	c.poller.stats.frames.Add(1)
	c.coming = b[size:]
	if err := c.handler.Frame(b[1], b[4:size], now); err != nil {
		c.err = err
	}
	c.coming = nil
	if c.tap.Heartbeat > 0 && now.Sub(c.beat) >= c.tap.Heartbeat {
		c.beat = now
		c.up = append(c.up, '$', c.tap.HeartbeatChannel, 0, 8, 0x80, 201, 0, 1, 0, 0, 0, 0)
	}
	return size
}

// message takes the header of one RTSP message, whole; its body goes up as it comes.
func (c *Conn) message(b []byte) int {
	p := &c.parser
	from := max(p.scanned-3, 0)
	at := bytes.Index(b[from:], []byte(crlf2))
	if at < 0 {
		p.scanned = len(b)
		if len(b) > HeaderMax {
			c.err = errHeader
		}
		return 0
	}
	p.scanned = 0
	n := from + at + len(crlf2)
	if n > HeaderMax {
		c.err = errHeader
		return 0
	}
	body, ok := contentLength(b[:n])
	if !ok {
		c.err = errBody
		return 0
	}
	c.poller.stats.messages.Add(1)
	c.up = append(c.up, b[:n]...)
	p.pass = body
	take := min(body, len(b)-n)
	c.up = append(c.up, b[n:n+take]...)
	p.pass -= take
	return n + take
}

const crlf2 = "\r\n\r\n"

// contentLength finds the body's length in a header; false: it is no length.
func contentLength(header []byte) (int, bool) {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-Length")) {
			continue
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		return n, err == nil && n >= 0 && n <= BodyMax
	}
	return 0, true
}
