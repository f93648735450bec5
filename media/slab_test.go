package media_test

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"

	"penstock/media"
)

func TestNeighboursLieSideBySide(t *testing.T) {
	var s media.Slab
	a, b := s.Alloc(100), s.Alloc(200)
	if end := unsafe.Add(unsafe.Pointer(&a[0]), len(a)); end != unsafe.Pointer(&b[0]) {
		t.Error("two pieces are apart")
	}
	if cap(a) != 100 || cap(b) != 200 {
		t.Errorf("pieces have capacities %d and %d: an append would run into the neighbour", cap(a), cap(b))
	}
}

func TestOpenPieceGrowsAndMoves(t *testing.T) {
	var s media.Slab
	before := s.Alloc(1000)
	for i := range before {
		before[i] = 7
	}
	var want []byte
	s.Begin(0)
	for i := range 500 { // far beyond the first block
		part := bytes.Repeat([]byte{byte(i)}, 300)
		s.Append(part)
		want = append(want, part...)
	}
	s.Bytes()[0] = 42 // patched
	want[0] = 42
	if s.Len() != len(want) || !bytes.Equal(s.Commit(), want) {
		t.Error("the piece is not what was appended")
	}
	if !bytes.Equal(before, bytes.Repeat([]byte{7}, 1000)) {
		t.Error("the piece before it changed")
	}
	if s.Len() != 0 || len(s.Commit()) != 0 {
		t.Error("a piece is still open")
	}
}

func TestRollbackAndTrimGiveMemoryBack(t *testing.T) {
	var s media.Slab
	first := s.Alloc(10)
	s.Begin(0)
	s.Append(make([]byte, 500))
	s.Rollback()
	second := s.Alloc(10)
	if unsafe.Add(unsafe.Pointer(&first[0]), 10) != unsafe.Pointer(&second[0]) {
		t.Error("rolled back memory is not used again")
	}
	second = s.Trim(second, 4)
	third := s.Alloc(5)
	if len(second) != 4 || unsafe.Add(unsafe.Pointer(&second[0]), 4) != unsafe.Pointer(&third[0]) {
		t.Error("trimmed memory is not used again")
	}
	if got := s.Trim(first, 3); len(got) != 3 {
		t.Errorf("trimming an older piece gives %d bytes", len(got))
	}
	fourth := s.Alloc(5)
	if unsafe.Add(unsafe.Pointer(&third[0]), 5) != unsafe.Pointer(&fourth[0]) {
		t.Error("trimming an older piece moved the end")
	}
	s.Begin(0)
	s.Append([]byte{1, 2, 3})
	s.Truncate(1)
	s.Append([]byte{9})
	if got := s.Commit(); !bytes.Equal(got, []byte{1, 9}) {
		t.Errorf("truncated piece is %v", got)
	}
}

func TestSmallStreamsHoldSmallBlocks(t *testing.T) {
	if n := testing.AllocsPerRun(10, func() {
		var s media.Slab
		for range 40 {
			s.Alloc(100)
		}
	}); n != 1 {
		t.Errorf("4000 bytes took %v blocks", n)
	}
	var s media.Slab
	if got := s.Alloc(1 << 20); len(got) != 1<<20 {
		t.Errorf("a large piece has %d bytes", len(got))
	}
	if got := s.Alloc(0); len(got) != 0 {
		t.Errorf("nothing has %d bytes", len(got))
	}
}

func TestAReservedPieceTakesWhatItSays(t *testing.T) {
	var s media.Slab
	before := s.Alloc(10)
	s.Reserve(5000)
	s.Append(bytes.Repeat([]byte{1}, 4000))
	s.Append(bytes.Repeat([]byte{2}, 1000))
	s.Bytes()[0] = 9
	large := s.Commit()
	if len(large) != 5000 || large[0] != 9 || large[3999] != 1 || large[4000] != 2 {
		t.Errorf("the piece of %d bytes is not what was appended", len(large))
	}
	after := s.Alloc(10)
	if unsafe.Add(unsafe.Pointer(&before[0]), 10) != unsafe.Pointer(&after[0]) {
		t.Error("a large piece parted the small ones around it")
	}
	s.Reserve(2000)
	s.Append(make([]byte, 1500))
	s.Rollback()
	s.Reserve(100) // a small one lies with its neighbours
	s.Append(make([]byte, 100))
	if small := s.Commit(); unsafe.Add(unsafe.Pointer(&after[0]), 10) != unsafe.Pointer(&small[0]) {
		t.Error("a small piece is apart")
	}
	s.Reserve(2000)
	s.Append(bytes.Repeat([]byte{3}, 1999))
	s.Append(bytes.Repeat([]byte{4}, 3001))
	if got := s.Commit(); len(got) != 5000 || got[1998] != 3 || got[1999] != 4 || got[4999] != 4 {
		t.Errorf("a piece of %d bytes lost something as it outgrew what was reserved", len(got))
	}
}

// A slab may hold little more than what was put in it: a hundred cameras have as many.
func TestReservedPiecesWasteLittle(t *testing.T) {
	var s media.Slab
	var before, after runtime.MemStats
	total := uint64(0)
	runtime.ReadMemStats(&before)
	for i := range 500 {
		n := 9000 + i*13
		s.Reserve(n)
		s.Grow(n)
		s.Commit()
		total += uint64(n)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > total*112/100 {
		t.Errorf("%d bytes took %d", total, got)
	}
}

// Ten packets of 1200 bytes are one access unit.
func BenchmarkSlabOfPackets(b *testing.B) {
	var s media.Slab
	packet := make([]byte, 1200)
	b.SetBytes(12000)
	b.ReportAllocs()
	for b.Loop() {
		s.Begin(0)
		for range 10 {
			s.Append(packet)
		}
		s.Commit()
	}
}
