package mpegts

import (
	"io"
	"strconv"

	"penstock/internal/fault"
)

// Limits on what a stream from outside can make a Reader hold.
const (
	// UnitMax bounds one access unit: an 8K intra picture is below 8 MiB.
	UnitMax = 8 << 20
	// PendingMax bounds the unfinished access units of all elementary streams together.
	PendingMax = 32 << 20
	// SearchMax bounds the search for tables and codec configuration; encoders repeat
	// them every few seconds.
	SearchMax = 32 << 20
)

const (
	packetSize = 188
	syncByte   = 0x47
	nullPID    = 0x1fff
)

// guard passes whole packets on and ends the stream when one elementary stream, or all
// together, pile up payload without ever beginning a new unit: the demultiplexer would
// hold all of it. Stuffing is left out.
type guard struct {
	r       io.Reader
	packet  [packetSize]byte
	left    []byte
	pending map[uint16]int
	total   int
	search  int // bytes left of the search for tables; negative: it is over
	err     error
}

func newGuard(r io.Reader) *guard {
	return &guard{r: r, pending: make(map[uint16]int), search: SearchMax}
}

// Read implements io.Reader; it returns the rest of one packet at most.
func (g *guard) Read(p []byte) (int, error) {
	for len(g.left) == 0 {
		if g.err == nil {
			g.err = g.next()
		}
		if g.err != nil {
			return 0, g.err
		}
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// next reads one packet; garbage before it is skipped.
func (g *guard) next() error {
	b := g.packet[:]
	if _, err := io.ReadFull(g.r, b); err != nil {
		return eof(err)
	}
	for b[0] != syncByte {
		skip := 1
		for skip < packetSize && b[skip] != syncByte {
			skip++
		}
		n := copy(b, b[skip:])
		if err := g.searched(skip); err != nil {
			return err
		}
		if _, err := io.ReadFull(g.r, b[n:]); err != nil {
			return eof(err)
		}
	}
	if err := g.searched(packetSize); err != nil {
		return err
	}
	pid := uint16(b[1]&0x1f)<<8 | uint16(b[2])
	if pid == nullPID {
		return nil
	}
	if b[1]&0x40 != 0 {
		g.total -= g.pending[pid]
		g.pending[pid] = 0
	}
	g.pending[pid] += packetSize
	g.total += packetSize
	if g.pending[pid] > UnitMax || g.total > PendingMax {
		return fault.New(fault.Invalid, "read MPEG-TS", "stream "+strconv.Itoa(int(pid)), "access unit is larger than any real one")
	}
	g.left = b
	return nil
}

// searched counts bytes while tables are searched for.
func (g *guard) searched(n int) error {
	if g.search < 0 {
		return nil
	}
	if g.search -= n; g.search < 0 {
		g.search = 0
		return fault.New(fault.Invalid, "read MPEG-TS", "", "no tables or codec configuration in the first 32 MiB")
	}
	return nil
}

// eof makes a cut-off last packet the end of the stream: what came whole is kept.
func eof(err error) error {
	if err == io.ErrUnexpectedEOF {
		return io.EOF
	}
	return err
}
