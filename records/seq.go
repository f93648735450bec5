package records

import (
	"cmp"
	"math/bits"
	"time"

	"penstock/internal/fault"
)

// Seq is a sequence number. Those that this package gives are of version 2: in
// hexadecimal the digit 2, the second in which the shard was made (9 digits), the low
// digit of the shard's index, the index of the record in the shard (16), 00, the second of
// its arrival (9), the shard's index (8) and the version (spec 7.2). A number that a
// client brings may be of version 0 or 1 too, as older ones were.
//
// It is comparable with ==; the zero value is no number.
type Seq struct{ a, b, c uint64 } // one number of 192 bits, big end first

// EndIndex is the index in the number that ends a closed shard. No record has it.
const EndIndex = 1<<63 - 1

// maxCreated is the first second that is no shard's creation (spec 7.4).
const maxCreated = 16025175000

// newSeq returns the number of version 2; times are seconds since 1970.
func newSeq(created int64, shard ShardID, index uint64, second int64) Seq {
	cr, sec, sh := uint64(created)&(1<<36-1), uint64(second)&(1<<36-1), uint64(shard)
	// digits 47..1: 2 | cr 9 | sh 1 | index 16 | 00 | sec 9 | sh 8 | 2
	// bits: version 0-3, shard 4-35, second 36-71, zero 72-79, index 80-143, low 144-147,
	// created 148-183, head 184-187.
	return Seq{
		a: 2<<(184-128) | cr<<(148-128) | (sh&15)<<(144-128) | index>>(128-80),
		b: index<<(80-64) | sec>>(64-36),
		c: sec<<36 | sh<<4 | 2,
	}
}

// ParseSeq reads a decimal number and checks that it can be decoded (spec 7.4).
// fault.Invalid: it cannot; "0" cannot either.
func ParseSeq(decimal string) (Seq, error) {
	if decimal == "" || len(decimal) > 129 {
		return Seq{}, badSeq(decimal)
	}
	var s Seq
	for i := range len(decimal) {
		d := uint64(decimal[i]) - '0'
		if d > 9 {
			return Seq{}, badSeq(decimal)
		}
		h0, l0 := bits.Mul64(s.c, 10)
		h1, l1 := bits.Mul64(s.b, 10)
		h2, l2 := bits.Mul64(s.a, 10)
		var c uint64
		s.c, c = bits.Add64(l0, d, 0)
		s.b, c = bits.Add64(l1, h0, c)
		s.a, c = bits.Add64(l2, h1, c)
		if h2 != 0 || c != 0 {
			return Seq{}, badSeq(decimal)
		}
	}
	if s.Version() < 0 || s.IsZero() {
		return Seq{}, badSeq(decimal)
	}
	if v := s.Version(); v != 1 && s.created() >= maxCreated || v == 2 && s.Index() > EndIndex {
		return Seq{}, badSeq(decimal)
	}
	return s, nil
}

func badSeq(s string) error {
	return fault.New(fault.Invalid, "read sequence number", clip(s), "it is none")
}

// IsZero reports whether s is no number.
func (s Seq) IsZero() bool { return s == Seq{} }

// Version returns the layout of s: 0, 1 or 2, and -1 when it has none of them.
func (s Seq) Version() int {
	switch {
	case s.a < 2:
		return 0 // below 2^129
	case s.a>>56 != 2 || s.a == 2<<56 && s.b == 0 && s.c == 0:
		return -1
	case s.c&15 <= 2:
		return int(s.c & 15)
	}
	return -1
}

// old returns a number of version 0 with its leading digit in place.
func (s Seq) old() Seq {
	if s.a == 0 && s.b>>60 == 0 {
		s.b += 1 << 60
	}
	return s
}

func (s Seq) created() int64 {
	if s.Version() == 0 {
		o := s.old()
		if o.a != 0 { // 33 digits
			return int64((o.a<<36 | o.b>>28) & (1<<36 - 1))
		}
		return int64(o.b >> 24 & (1<<36 - 1))
	}
	return int64(s.a >> 20 & (1<<36 - 1))
}

// Shard returns the shard that s belongs to.
func (s Seq) Shard() ShardID {
	switch {
	case s.Version() != 0:
		return ShardID(s.c >> 4)
	case s.a != 0: // 33 digits
		return ShardID(s.c >> 4 & 0xffff)
	}
	return ShardID(s.c & 0xffff)
}

// Index returns the place of the record in its shard, from 1; 0 is the shard's start.
// Numbers of version 0 have none: 0.
func (s Seq) Index() uint64 {
	switch s.Version() {
	case 2:
		return s.a<<48 | s.b>>16
	case 1:
		return s.c >> 36 & 0xff
	}
	return 0
}

// Time returns the second in which the record arrived, UTC; the zero time when the
// layout has none.
func (s Seq) Time() time.Time {
	switch s.Version() {
	case 2:
		return time.Unix(s.second(), 0).UTC()
	case 1: // digits 13..22
		return time.Unix(int64((s.a<<28|s.b>>36)&(1<<36-1)), 0).UTC()
	}
	return time.Time{}
}

// second is the arrival of a number of version 2.
func (s Seq) second() int64 { return int64((s.b<<28 | s.c>>36) & (1<<36 - 1)) }

// Created returns the second in which the shard was made, UTC.
func (s Seq) Created() time.Time { return time.Unix(s.created(), 0).UTC() }

// mark returns a number between that of the record with the index of s and the next one's:
// the byte between index and time, which is 0 in a record's, is 1.
func (s Seq) mark() Seq {
	s.b |= 1 << (72 - 64)
	return s
}

// isMark reports whether s came from mark.
func (s Seq) isMark() bool { return s.Version() == 2 && s.b>>8&0xff != 0 }

// Compare returns -1, 0 or 1 as s is less than, equal to or greater than o, as numbers.
func (s Seq) Compare(o Seq) int {
	return cmp.Or(cmp.Compare(s.a, o.a), cmp.Compare(s.b, o.b), cmp.Compare(s.c, o.c))
}

// Append appends s as a decimal number to dst: 56 digits for one that this package gave.
func (s Seq) Append(dst []byte) []byte { return appendDecimal(dst, s.a, s.b, s.c) }

// String returns s as a decimal number.
func (s Seq) String() string { return string(s.Append(make([]byte, 0, 58))) }
