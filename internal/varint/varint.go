// Package varint reads and appends the variable-length numbers that our on-disk formats are
// made of: unsigned LEB128, and zigzag for signed ones.
package varint

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrShort is what a cursor meets when its bytes end too early or a number is too large.
var ErrShort = errors.New("the data ends early or holds an impossible number")

// Cursor reads varints off a slice. After a failure everything reads as zero, so that a
// decoder checks once at its end.
type Cursor struct {
	B    []byte // what is left
	Fail bool   // something did not fit; a decoder may set it too
}

// Uint reads an unsigned number.
func (c *Cursor) Uint() uint64 {
	v, n := binary.Uvarint(c.B)
	if n <= 0 {
		c.Fail, c.B = true, nil
		return 0
	}
	c.B = c.B[n:]
	return v
}

// Int reads a zigzag number.
func (c *Cursor) Int() int64 {
	v := c.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// Count reads a number of things that take at least each bytes apiece; more than fit in
// what is left is a failure.
func (c *Cursor) Count(each int) int {
	v := c.Uint()
	if v > uint64(len(c.B)/max(each, 1)) {
		c.Fail, c.B = true, nil
		return 0
	}
	return int(v)
}

// Int63 reads a number that fits an int64.
func (c *Cursor) Int63() int64 {
	v := c.Uint()
	if v > math.MaxInt64 {
		c.Fail, c.B = true, nil
		return 0
	}
	return int64(v)
}

// Uint32 reads a number that fits a uint32.
func (c *Cursor) Uint32() uint32 {
	v := c.Uint()
	if v > math.MaxUint32 {
		c.Fail, c.B = true, nil
		return 0
	}
	return uint32(v)
}

// Byte reads one byte.
func (c *Cursor) Byte() byte {
	if len(c.B) == 0 {
		c.Fail = true
		return 0
	}
	v := c.B[0]
	c.B = c.B[1:]
	return v
}

// Bytes reads n bytes without copying them.
func (c *Cursor) Bytes(n int) []byte {
	if n < 0 || n > len(c.B) {
		c.Fail, c.B = true, nil
		return nil
	}
	v := c.B[:n:n]
	c.B = c.B[n:]
	return v
}

// Text reads a length of at most limit and as many bytes.
func (c *Cursor) Text(limit int) string {
	n := c.Count(1)
	if n > limit {
		c.Fail, c.B = true, nil
		return ""
	}
	return string(c.Bytes(n))
}

// Err reports a failure, or bytes left over.
func (c *Cursor) Err() error {
	if c.Fail || len(c.B) > 0 {
		return ErrShort
	}
	return nil
}

// AppendInt appends v as a zigzag number.
func AppendInt(b []byte, v int64) []byte {
	return binary.AppendUvarint(b, uint64(v<<1)^uint64(v>>63))
}

// AppendUint appends v, which is not negative.
func AppendUint[T ~int | ~int64 | ~uint32 | ~uint64](b []byte, v T) []byte {
	return binary.AppendUvarint(b, uint64(v))
}

// AppendText appends the length of s and s.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
