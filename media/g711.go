package media

import (
	"encoding/binary"
	"math/bits"
)

// G711 is ITU-T G.711, A-law or mu-law. Its samples are runs of octets, channels
// interleaved.
type G711 struct {
	MuLaw      bool // false: A-law
	SampleRate int  // Hz, usually 8000
	Channels   int
}

// Name implements Codec.
func (c *G711) Name() string {
	if c.MuLaw {
		return namePCMU
	}
	return namePCMA
}

// Kind implements Codec.
func (*G711) Kind() Kind { return Audio }

// MIME implements Codec: "ulaw" or "alaw", the sample entry in an MP4 file. No browser
// plays it there.
func (c *G711) MIME() string {
	if c.MuLaw {
		return "ulaw"
	}
	return "alaw"
}

// Private implements Codec. G.711 has no record of its own; ours is 8 bytes: version (1),
// law (0 A-law, 1 mu-law), channels, bits a sample (8), and the sampling rate as a
// big-endian uint32.
func (c *G711) Private() []byte {
	b := []byte{1, boolByte(c.MuLaw), byte(c.Channels), 8}
	return binary.BigEndian.AppendUint32(b, uint32(c.SampleRate))
}

// rateMax is far beyond any sound.
const rateMax = 768000

func parseG711(name string, b []byte) (Codec, error) {
	if len(b) != 8 || b[0] != 1 || b[1] > 1 || b[3] != 8 {
		return nil, badCodec(name, "not a G.711 record")
	}
	c := &G711{MuLaw: b[1] == 1, Channels: int(b[2]), SampleRate: int(binary.BigEndian.Uint32(b[4:]))}
	if c.Name() != name || c.Channels < 1 || c.SampleRate < 1 || c.SampleRate > rateMax {
		return nil, badCodec(name, "G.711 record contradicts itself")
	}
	return c, nil
}

// ALaw is the 16-bit value of an octet of A-law (ITU-T G.711 table 1): a multiple of 8.
func ALaw(b byte) int16 {
	b ^= 0x55
	v := int16(b&15)<<4 + 8
	if e := b >> 4 & 7; e > 0 {
		v = (v + 0x100) << (e - 1)
	}
	if b&0x80 == 0 {
		return -v
	}
	return v
}

// MuLaw is the 16-bit value of an octet of mu-law (ITU-T G.711 table 2): a multiple of 4.
func MuLaw(b byte) int16 {
	b = ^b
	v := (int16(b&15)<<3+0x84)<<(b>>4&7) - 0x84
	if b&0x80 != 0 {
		return -v
	}
	return v
}

// ToALaw is the octet of A-law that v falls to.
func ToALaw(v int16) byte {
	x, sign := int(v), byte(0x80)
	if x < 0 {
		x, sign = -x-1, 0
	}
	code := byte(x >> 4)
	if e := bits.Len(uint(x >> 8)); e > 0 {
		code = byte(e)<<4 | byte(x>>(e+3)&15)
	}
	return (code | sign) ^ 0x55
}

// ToMuLaw is the octet of mu-law that v falls to.
func ToMuLaw(v int16) byte {
	const bias, most = 0x84, 0x7f7b
	x, sign := int(v), byte(0)
	if x < 0 {
		x, sign = -x, 0x80
	}
	x = min(x, most) + bias
	e := bits.Len(uint(x>>7)) - 1
	return ^(sign | byte(e)<<4 | byte(x>>(e+3)&15))
}
