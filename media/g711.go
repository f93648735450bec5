package media

import "encoding/binary"

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
