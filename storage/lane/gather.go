package lane

import "hash/crc32"

// The blocks that bodies are gathered in: they grow with what is put.
const (
	firstBlock = 64 << 10
	maxBlock   = 1 << 20
	// keptEntries bounds the lists of entries that are kept to be used again.
	keptEntries = 4
)

// batch is entries on their way to the lane.
type batch struct {
	body    []byte
	crc     uint32 // of body
	entries []Placed
	out     *outcome
}

// gatherer copies entries into the batch that will be the next one. Bodies lie one behind
// the other in blocks that are never used twice: a body may be kept for as long as anyone
// likes. Its user holds the lock.
type gatherer struct {
	b       *batch // nil: nothing is gathered
	block   []byte // the rest of the current block, capacity only
	size    int    // of the block before
	last    int    // bytes of the batch before
	entries [][]Placed
}

// add copies an entry of n bytes.
func (g *gatherer) add(tag uint64, n int, parts [][]byte) *outcome {
	if g.b == nil {
		g.begin()
	}
	b := g.b
	if cap(b.body)-len(b.body) < n {
		b.body = append(g.fresh(2 * (len(b.body) + n))[:0], b.body...)
	}
	off := len(b.body)
	for _, p := range parts {
		b.body = append(b.body, p...)
	}
	b.crc = crc32.Update(b.crc, castagnoli(), b.body[off:])
	b.entries = append(b.entries, Placed{Tag: tag, Off: off, Len: n})
	return b.out
}

// begin starts a batch.
func (g *gatherer) begin() {
	g.b = &batch{out: &outcome{done: make(chan struct{})}}
	if n := len(g.entries); n > 0 {
		g.b.entries = g.entries[n-1]
		g.entries = g.entries[:n-1]
	}
	// Where one as long as the one before would not fit, it would have to move.
	if cap(g.block) < g.last {
		g.block = g.fresh(g.last + g.last/8)
	}
	g.b.body = g.block[:0]
}

// fresh returns a new block with room for n bytes, or of the size that is next.
func (g *gatherer) fresh(n int) []byte {
	g.size = min(max(2*g.size, firstBlock), maxBlock)
	return make([]byte, 0, max(g.size, n))
}

// take ends the batch and returns it, or nil.
func (g *gatherer) take() *batch {
	b := g.b
	if b == nil {
		return nil
	}
	g.b = nil
	g.last = len(b.body)
	g.block = b.body[len(b.body):] // its capacity reaches to the end of the block
	return b
}

// reuse takes back what nobody may keep.
func (g *gatherer) reuse(b *batch) {
	if len(g.entries) < keptEntries {
		g.entries = append(g.entries, b.entries[:0])
	}
	b.entries = nil
}
