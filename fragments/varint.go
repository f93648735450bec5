package fragments

import (
	"encoding/binary"
	"errors"
	"math"
)

// errShort is what a cursor meets when its bytes end too early or a number is too large.
var errShort = errors.New("the data ends early or holds an impossible number")

// cursor reads varints off a slice. After a failure everything reads as zero, so that a
// decoder checks once at its end.
type cursor struct {
	b    []byte
	fail bool
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// int reads a zigzag varint.
func (c *cursor) int() int64 {
	v := c.uint()
	return int64(v>>1) ^ -int64(v&1)
}

// count reads a number of things that take at least each bytes apiece.
func (c *cursor) count(each int) int {
	v := c.uint()
	if v > uint64(len(c.b)/max(each, 1)) {
		c.fail, c.b = true, nil
		return 0
	}
	return int(v)
}

// int63 reads a number that fits an int64.
func (c *cursor) int63() int64 {
	v := c.uint()
	if v > math.MaxInt64 {
		c.fail, c.b = true, nil
		return 0
	}
	return int64(v)
}

func (c *cursor) uint32() uint32 {
	v := c.uint()
	if v > math.MaxUint32 {
		c.fail, c.b = true, nil
		return 0
	}
	return uint32(v)
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.fail = true
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

// bytes reads n bytes without copying them.
func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail, c.b = true, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) text(limit int) string {
	n := c.count(1)
	if n > limit {
		c.fail, c.b = true, nil
		return ""
	}
	return string(c.bytes(n))
}

// err reports a failure, or bytes left over.
func (c *cursor) err() error {
	if c.fail || len(c.b) > 0 {
		return errShort
	}
	return nil
}

func appendInt(b []byte, v int64) []byte {
	return binary.AppendUvarint(b, uint64(v<<1)^uint64(v>>63))
}

func appendUint[T ~int | ~int64 | ~uint32 | ~uint64](b []byte, v T) []byte {
	return binary.AppendUvarint(b, uint64(v))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
