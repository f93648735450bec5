package varint

import (
	"errors"
	"math"
	"testing"
)

func TestWhatIsAppendedIsRead(t *testing.T) {
	var b []byte
	for _, v := range []int64{0, 1, -1, 63, -64, math.MaxInt64, math.MinInt64} {
		b = AppendInt(b, v)
	}
	b = AppendText(AppendUint(AppendUint(b, uint64(math.MaxUint64)), 7), "front-door")
	c := Cursor{B: b}
	for _, v := range []int64{0, 1, -1, 63, -64, math.MaxInt64, math.MinInt64} {
		if got := c.Int(); got != v {
			t.Errorf("%d was read as %d", v, got)
		}
	}
	if v := c.Uint(); v != math.MaxUint64 {
		t.Error(v)
	}
	if n, s := c.Uint32(), c.Text(10); n != 7 || s != "front-door" || c.Err() != nil {
		t.Error(n, s, c.Err())
	}
}

func TestAFailureStays(t *testing.T) {
	for name, c := range map[string]*Cursor{
		"a number that ends early":     {B: []byte{0x80}},
		"a number of more than 64 bit": {B: []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 2}},
	} {
		if v := c.Uint(); v != 0 || c.Uint() != 0 || c.Byte() != 0 || !errors.Is(c.Err(), ErrShort) {
			t.Errorf("%s: %d, %v", name, v, c.Err())
		}
	}
	b := AppendUint(nil, uint64(1)<<33)
	for name, read := range map[string]func(*Cursor){
		"count":  func(c *Cursor) { c.Count(1) },
		"uint32": func(c *Cursor) { c.Uint32() },
		"text":   func(c *Cursor) { c.Text(100) },
		"bytes":  func(c *Cursor) { c.Bytes(7) },
		"rest":   func(c *Cursor) { c.Byte() },
	} {
		c := &Cursor{B: b}
		if read(c); c.Err() == nil {
			t.Errorf("%s did not fail", name)
		}
	}
}
