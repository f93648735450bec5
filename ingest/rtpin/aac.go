package rtpin

import (
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/bits"
)

// Limits of RFC 3640 packets.
const (
	aacHeadersMax = 64      // access units in one packet
	aacFrame      = 1024    // samples of an access unit
	aacMax        = 1 << 16 // bytes of one: 6144 bits a channel, times 48 channels, is below
)

// aacPackets is the payload format of RFC 3640, modes AAC-hbr and AAC-lbr.
type aacPackets struct {
	t                   *track
	sizeBits, indexBits int
	indexDelta          int
	open                bool // a fragmented access unit
	fragment            []byte
	want                int // its size; 0: its last packet tells
	pieces              int
	ts                  uint32
	unitTime            int64 // ticks of one access unit
}

func newAAC(t *track, f *format.MPEG4Audio) *aacPackets {
	return &aacPackets{t: t, sizeBits: f.SizeLength, indexBits: f.IndexLength, indexDelta: f.IndexDeltaLength,
		unitTime: aacFrame * int64(t.clock) / int64(max(f.Config.SampleRate, 1))}
}

// packet implements depacketizer.
func (d *aacPackets) packet(h header, p []byte, gap bool) {
	if gap && d.open {
		d.t.r.stats.Damaged++
		d.open = false
	}
	if len(p) < 2 {
		d.t.r.stats.Malformed++
		return
	}
	headBits := int(p[0])<<8 | int(p[1])
	p = p[2:]
	heads, data := p, []byte(nil)
	if n := (headBits + 7) / 8; headBits > 0 && n <= len(p) {
		heads, data = p[:n], p[n:]
	} else {
		d.t.r.stats.Malformed++
		return
	}
	var sizes [aacHeadersMax]int
	n, ok := d.sizes(heads, headBits, sizes[:])
	if !ok || n == 0 {
		d.t.r.stats.Malformed++
		return
	}
	if n == 1 {
		d.piece(h, data[:min(sizes[0], len(data))], sizes[0])
		return
	}
	d.end()
	for i := range n {
		if sizes[i] > len(data) {
			d.t.r.stats.Malformed++
			return
		}
		d.unit(h.ts, int64(i), data[:sizes[i]])
		data = data[sizes[i]:]
	}
}

// sizes reads the AU headers (RFC 3640 §3.2.1): interleaving is not supported, which
// an index that is not 0 would ask for.
func (d *aacPackets) sizes(b []byte, total int, out []int) (int, bool) {
	pos, n := 0, 0
	for pos < total {
		index := d.indexDelta
		if n == 0 {
			index = d.indexBits
		}
		if pos+d.sizeBits+index > total || n == len(out) {
			return n, false
		}
		size, err := bits.ReadBits(b, &pos, d.sizeBits)
		if err != nil || size > aacMax {
			return n, false
		}
		if index > 0 {
			v, err := bits.ReadBits(b, &pos, index)
			if err != nil || v != 0 {
				return n, false
			}
		}
		out[n] = int(size)
		n++
	}
	return n, true
}

// piece takes a packet with one access unit or a fragment of one. RFC 3640 §3.2.3
// declares the size of the whole and marks its last packet; gortsplib and some cameras
// declare the size of the fragment; some cameras mark nothing.
func (d *aacPackets) piece(h header, p []byte, size int) {
	if d.open && h.ts != d.ts {
		d.end()
	}
	if !d.open {
		if h.marker && size == len(p) {
			d.unit(h.ts, 0, p)
			return
		}
		d.open, d.ts, d.want, d.pieces, d.fragment = true, h.ts, 0, 0, d.fragment[:0]
		if size > len(p) {
			d.want = size
		}
	}
	d.pieces++
	d.fragment = append(d.fragment, p...)
	switch n := len(d.fragment); {
	case n > aacMax || (d.want > 0 && n > d.want):
		d.t.r.stats.Malformed++
		d.open = false
	case n == d.want || (d.want == 0 && h.marker):
		d.open = false
		d.unit(d.ts, 0, d.fragment)
	case h.marker:
		d.t.r.stats.Damaged++
		d.open = false
	}
}

// end implements depacketizer: an unmarked packet that nothing followed was whole.
func (d *aacPackets) end() {
	if !d.open {
		return
	}
	d.open = false
	if d.want == 0 && d.pieces == 1 {
		d.unit(d.ts, 0, d.fragment)
		return
	}
	d.t.r.stats.Damaged++
}

// unit hands over access unit number i of a packet.
func (d *aacPackets) unit(ts uint32, i int64, au []byte) {
	au = stripADTS(au)
	if len(au) == 0 {
		return
	}
	d.t.emitAudio(ts, i*d.unitTime, d.t.small(au))
}

// stripADTS removes the header that a few cameras leave in front of each frame
// (ISO/IEC 13818-7 §6.2); a raw frame cannot begin with its syncword and own length.
func stripADTS(au []byte) []byte {
	if len(au) < 7 || au[0] != 0xff || au[1]&0xf6 != 0xf0 {
		return au
	}
	if n := int(au[3]&3)<<11 | int(au[4])<<3 | int(au[5])>>5; n != len(au) {
		return au
	}
	if au[1]&1 == 0 {
		return au[min(9, len(au)):]
	}
	return au[7:]
}

// plainAudio is a payload format without structure: one packet is one sample. Opus
// (RFC 7587) and G.711 (RFC 3551 §4.5.14).
type plainAudio struct{ t *track }

// packet implements depacketizer.
func (d plainAudio) packet(h header, p []byte, _ bool) {
	d.t.emitAudio(h.ts, 0, d.t.small(p))
}

// end implements depacketizer.
func (plainAudio) end() {}
