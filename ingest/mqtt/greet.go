package mqtt

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// connectMax is how large a CONNECT may be: identifier, will, name and token. The library
// makes room for as much as the first bytes promise, and whoever sends them has proved
// nothing yet.
const connectMax = 32 << 10

var errGreeting = errors.New("the first packet is no CONNECT of at most 32 KiB")

// greeted is a connection whose first bytes were looked at.
type greeted struct {
	net.Conn
	head []byte // to be read again
}

// greet reads the fixed header of the first packet (MQTT 3.1.1 section 2.2).
func greet(c net.Conn) (*greeted, error) {
	g := &greeted{Conn: c, head: make([]byte, 1, 5)}
	if _, err := io.ReadFull(c, g.head); err != nil {
		return nil, err
	}
	if g.head[0] != 0x10 {
		return nil, errGreeting
	}
	size, shift := 0, 0
	for more := true; more; shift += 7 {
		at := len(g.head)
		if at == cap(g.head) {
			return nil, errGreeting
		}
		g.head = g.head[:at+1]
		if _, err := io.ReadFull(c, g.head[at:]); err != nil {
			return nil, err
		}
		size |= int(g.head[at]&0x7f) << shift
		more = g.head[at]&0x80 != 0
	}
	if size > connectMax {
		return nil, errGreeting
	}
	return g, nil
}

// Read is net.Conn's.
func (g *greeted) Read(b []byte) (int, error) {
	if len(g.head) > 0 {
		n := copy(b, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	return g.Conn.Read(b)
}

// secure reports whether c came over TLS.
func secure(c net.Conn) bool {
	if g, ok := c.(*greeted); ok {
		c = g.Conn
	}
	_, ok := c.(*tls.Conn)
	return ok
}
