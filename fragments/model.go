package fragments

import (
	"math/bits"
	"slices"

	"penstock/internal/varint"
)

// The columns of a list of entries: numbers that differ a little from one entry to the
// next.
const (
	colDuration = iota // µs
	colSamples
	colSize
	colMeta
	colProducer // producer time - start, µs
	columns
)

// How a column's next number is foreseen from those before: it is the last one, an average
// that forgets, or always the base.
const (
	gainLast = iota
	gainQuick
	gainSlow
	gainNone
	gains
)

// riceNone is the k of a column whose numbers are all as foreseen.
const riceNone = 63

// column says how one column is packed.
type column struct {
	base int64 // the first number foreseen
	gain int
	k    int // Rice parameter
}

// model says how a list of entries is packed.
type model struct {
	col      [columns]column
	off      int64  // where the first record of a chunk is expected
	run      uint32 // the run that is expected
	producer bool   // the producer's time is expected to be known
}

// foresee moves the number foreseen on after v.
func (c *column) foresee(at *int64, v int64) {
	switch c.gain {
	case gainLast:
		*at = v
	case gainQuick:
		*at += (v - *at) >> 2
	case gainSlow:
		*at += (v - *at) >> 4
	}
}

// values are the columns of an entry.
func (e *entry) values() [columns]int64 {
	start := e.Start.UnixMicro()
	v := [columns]int64{e.End.UnixMicro() - start, int64(e.Samples), e.Size, int64(e.metaLen)}
	if !e.Producer.IsZero() {
		v[colProducer] = e.Producer.UnixMicro() - start
	}
	return v
}

// fit finds the model that packs the entries of these chunks shortest; each chunk begins
// from the bases again.
func fit(chunks [][]entry) model {
	m := model{off: headerLen}
	known, total := 0, 0
	var lists [columns][][]int64
	for i, entries := range chunks {
		if i == 0 && len(entries) > 0 {
			m.off, m.run = entries[0].off, entries[0].Run
		}
		var list [columns][]int64
		for k := range entries {
			v := entries[k].values()
			for c := range v {
				if c != colProducer || !entries[k].Producer.IsZero() {
					list[c] = append(list[c], v[c])
				}
			}
		}
		for c := range list {
			lists[c] = append(lists[c], list[c])
		}
		known, total = known+len(list[colProducer]), total+len(entries)
	}
	m.producer = 2*known > total
	for c := range lists {
		m.col[c] = fitColumn(lists[c])
	}
	return m
}

// fitColumn finds the shortest packing of one column.
func fitColumn(lists [][]int64) column {
	all := slices.Concat(lists...)
	if len(all) == 0 {
		return column{gain: gainNone, k: riceNone}
	}
	slices.Sort(all)
	base := all[len(all)/2]
	best, cost := column{}, -1
	diffs := make([]int64, 0, len(all))
	for gain := range gains {
		c := column{base: base, gain: gain}
		diffs = diffs[:0]
		for _, list := range lists {
			at := c.base
			for _, v := range list {
				d := v - at
				diffs = append(diffs, d<<1^d>>63)
				c.foresee(&at, v)
			}
		}
		var n int
		if c.k, n = riceFor(diffs); cost < 0 || n < cost {
			best, cost = c, n
		}
	}
	return best
}

// riceFor finds the k that packs zigzag numbers shortest, and how many bits they take.
func riceFor(zigzag []int64) (k, cost int) {
	sum := uint64(0)
	for _, z := range zigzag {
		sum += min(uint64(z), 1<<32) // outliers count for little
	}
	if sum == 0 {
		return riceNone, 0
	}
	around := bits.Len64(sum / uint64(len(zigzag)))
	k, cost = 0, -1
	for try := max(around-3, 0); try <= min(around+1, riceNone-1); try++ {
		n := 0
		for _, z := range zigzag {
			if q := uint64(z) >> try; q < riceMost {
				n += int(q) + 1 + try
			} else {
				n += riceMost + 6 + bits.Len64(uint64(z))
			}
		}
		if cost < 0 || n < cost {
			k, cost = try, n
		}
	}
	return k, cost
}

// append writes the model: docs/format/index.md.
func (m *model) append(b []byte) []byte {
	first := uint64(m.run) << 1
	if m.producer {
		first |= 1
	}
	b = varint.AppendUint(b, first)
	b = varint.AppendUint(b, m.off)
	for _, c := range m.col {
		b = append(b, byte(c.gain<<6|c.k))
		b = varint.AppendInt(b, c.base)
	}
	return b
}

// readModel reads what append wrote.
func readModel(c *varint.Cursor) model {
	first := c.Uint()
	m := model{run: uint32(first >> 1), producer: first&1 != 0, off: c.Int63()}
	if first>>1 > 1<<32-1 {
		c.Fail = true
	}
	for i := range m.col {
		how := c.Byte()
		m.col[i] = column{gain: int(how >> 6), k: int(how & riceNone), base: c.Int()}
	}
	return m
}
