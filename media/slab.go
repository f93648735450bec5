package media

// Sizes of the blocks that a Slab carves: some pieces each, so that a microphone or a
// sensor does not hold 64 KiB.
const (
	slabFirst  = 4 << 10
	slabBlock  = 64 << 10
	slabPieces = 8 // of the size that asks for the block
	// slabStep is what larger blocks are rounded up to, so that the key frames of many
	// cameras are of few sizes and one's memory can be another's next.
	slabStep = 32 << 10
	// slabOwn is from what size on a piece of known size lies by itself: what the tails
	// of blocks waste is then more than what a write of more pieces costs.
	slabOwn = 1 << 10
)

// Slab holds the data of samples. It carves them from blocks, so that neighbours lie
// side by side and one write can store many; a large piece whose size is known before
// gets exactly that. The zero Slab is ready. What it returned stays valid for as long as it is
// referred to; the garbage collector frees a block after its last piece. Not for
// concurrent use.
//
// One piece may be open: Begin or Reserve, then Append or Grow as its parts arrive, then
// Commit or Rollback. Alloc is Begin, Grow and Commit in one.
type Slab struct {
	block []byte // length: what is committed
	own   []byte // of the open piece, when it lies by itself
	open  int    // bytes of the open piece, in own or behind what is committed
}

// Alloc returns n bytes of unspecified content that the caller may fill. It commits a
// piece that is open.
func (s *Slab) Alloc(n int) []byte {
	s.Begin(n)
	s.Grow(n)
	return s.Commit()
}

// Begin opens a piece that will probably take hint bytes; 0: unknown. It commits a
// piece that is open. Nothing is reserved until Append or Grow.
func (s *Slab) Begin(hint int) {
	s.Commit()
	if hint > 0 && cap(s.block)-len(s.block) < hint {
		s.block = make([]byte, 0, s.size(hint))
	}
}

// Reserve opens a piece that takes n bytes, or a few less, and commits one that is open.
// More are taken, too, but move it.
func (s *Slab) Reserve(n int) {
	if n < slabOwn {
		s.Begin(n)
		return
	}
	s.Commit()
	s.own = make([]byte, n)
}

// Append copies p to the end of the open piece.
func (s *Slab) Append(p []byte) { copy(s.Grow(len(p)), p) }

// Grow makes the open piece n bytes longer and returns the new part to be filled, valid
// until the next call.
func (s *Slab) Grow(n int) []byte {
	if s.own != nil {
		if need := s.open + n; need > len(s.own) {
			wider := make([]byte, need+need/2)
			copy(wider, s.own[:s.open])
			s.own = wider
		}
		s.open += n
		return s.own[s.open-n : s.open : s.open]
	}
	used := len(s.block) + s.open
	if cap(s.block)-used < n {
		// What is open moves whole: a piece is always contiguous. Twice its size, so
		// that a large one moves a few times only.
		piece := s.Bytes()
		s.block = make([]byte, 0, s.size(len(piece)+max(n, len(piece))))
		copy(s.block[:len(piece)], piece)
		used = len(piece)
	}
	s.open += n
	return s.block[used : used+n : used+n]
}

// size is that of a block which has to hold n bytes now.
func (s *Slab) size(n int) int {
	unit := slabFirst
	for unit < slabBlock && unit < slabPieces*n {
		unit *= 2
	}
	if n > unit && n > slabStep {
		return (n + slabStep - 1) / slabStep * slabStep
	}
	return max(unit, n)
}

// Len is the length of the open piece.
func (s *Slab) Len() int { return s.open }

// Bytes views the open piece, to patch what is already in it; valid until the next call.
func (s *Slab) Bytes() []byte {
	if s.own != nil {
		return s.own[:s.open:s.open]
	}
	used := len(s.block)
	return s.block[used : used+s.open : used+s.open]
}

// Truncate cuts the open piece to its first n bytes.
func (s *Slab) Truncate(n int) { s.open = min(max(n, 0), s.open) }

// Commit closes the open piece and returns it; its capacity is its length. Without an
// open piece, or with an empty one, it returns an empty slice.
func (s *Slab) Commit() []byte {
	b := s.Bytes()
	if s.own == nil {
		s.block = s.block[:len(s.block)+s.open]
	}
	s.own, s.open = nil, 0
	return b
}

// Rollback forgets the open piece; its place is used again.
func (s *Slab) Rollback() { s.own, s.open = nil, 0 }

// Trim gives the end of b back, all beyond its first n bytes, when b is the piece that
// was committed last and nothing is open; otherwise the end is merely lost. It returns b[:n].
func (s *Slab) Trim(b []byte, n int) []byte {
	if last := len(s.block) - len(b); s.open == 0 && len(b) > 0 && last >= 0 && &s.block[last] == &b[0] {
		s.block = s.block[:last+n]
	}
	return b[:n:n]
}
