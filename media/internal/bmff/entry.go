package bmff

import (
	"encoding/binary"

	"penstock/internal/fault"
	"penstock/media"
)

// appendEntry appends the sample entry of a codec: the one table of codecs of MP4.
func appendEntry(b []byte, c media.Codec) ([]byte, error) {
	private := c.Private()
	if len(private) == 0 {
		return b, fault.New(fault.Invalid, "write sample entry", c.Name(), "no codec configuration")
	}
	switch c := c.(type) {
	case *media.H264:
		return visual(b, "avc1", "avcC", private, c), nil
	case *media.H265:
		return visual(b, "hvc1", "hvcC", private, c), nil
	case *media.AV1:
		return visual(b, "av01", "av1C", private, c), nil
	case *media.AAC:
		b, at := sound(b, "mp4a", c)
		return End(esds(b, private), at), nil
	case *media.Opus:
		b, at := sound(b, "Opus", c)
		return End(dOps(b, private), at), nil
	case *media.G711:
		b, at := sound(b, c.MIME(), c)
		return End(b, at), nil
	case *media.FLAC:
		b, at := sound(b, c.MIME(), c)
		return End(dfLa(b, private), at), nil
	}
	return b, fault.New(fault.Unavailable, "write sample entry", c.Name(), "MP4 does not carry this codec").
		WithHint("ask for stills, or for a stream that the camera sends as H.264 or H.265")
}

// visual appends a VisualSampleEntry (ISO/IEC 14496-12 §12.1.3) with its configuration.
func visual(b []byte, kind, config string, private []byte, p media.Picture) []byte {
	b, at := Start(b, kind)
	b = U16(Zeros(b, 6), 1) // data reference
	b = Zeros(b, 16)
	b = U16(b, uint16(p.Width()))
	b = U16(b, uint16(p.Height()))
	b = U32(b, 72<<16) // dots an inch
	b = U32(b, 72<<16)
	b = U16(U32(b, 0), 1) // one picture a sample
	b = Zeros(b, 32)      // compressor name
	b = U16(U16(b, 24), 0xffff)
	b, conf := Start(b, config)
	b = End(append(b, private...), conf)
	return End(b, at)
}

// sound appends the start of an AudioSampleEntry (§12.2.3).
func sound(b []byte, kind string, c media.Codec) ([]byte, int) {
	rate, channels := media.AudioFormat(c)
	b, at := Start(b, kind)
	b = U16(Zeros(b, 6), 1)
	b = Zeros(b, 8)
	b = U16(b, uint16(max(channels, 1)))
	b = U16(b, 16) // what a decoder makes of it
	b = U32(b, 0)
	if rate > 0xffff {
		rate = 0 // 16.16: the codec's own configuration says it
	}
	return U32(b, uint32(rate)<<16), at
}

// esds appends the elementary stream descriptor of MPEG-4 audio (ISO/IEC 14496-1 §7.2.6).
func esds(b, config []byte) []byte {
	b, at := StartFull(b, "esds", 0, 0)
	b = descriptor(b, 3, 3+(5+13)+(5+len(config))+(5+1)) // with those within it
	b = append(b, 0, 0, 0)                               // ES_ID, no flags
	b = descriptor(b, 4, 13+5+len(config))
	b = append(b, 0x40, 0x15, 0, 0, 0) // MPEG-4 audio, audio stream, buffer size unknown
	b = U32(U32(b, 0), 0)              // bit rates unknown
	b = descriptor(b, 5, len(config))
	b = append(b, config...)
	b = descriptor(b, 6, 1)
	b = append(b, 2)
	return End(b, at)
}

// descriptor appends a tag and a length in the four-byte form, so that sizes add up
// whatever the length.
func descriptor(b []byte, tag byte, n int) []byte {
	return append(b, tag, byte(n>>21)|0x80, byte(n>>14)|0x80, byte(n>>7)|0x80, byte(n)&0x7f)
}

// dOps appends the Opus box (Opus in ISOBMFF §4.3.2): OpusHead without its magic, in
// network byte order.
func dOps(b, head []byte) []byte {
	b, at := Start(b, "dOps")
	b = append(b, 0, head[9])
	b = U16(b, binary.LittleEndian.Uint16(head[10:]))
	b = U32(b, binary.LittleEndian.Uint32(head[12:]))
	b = U16(b, binary.LittleEndian.Uint16(head[16:]))
	b = append(b, head[18:]...)
	return End(b, at)
}

// dfLa appends the FLAC specific box (Encapsulation of FLAC in ISOBMFF §3.3.2): metadata
// blocks, of which STREAMINFO is the only one.
func dfLa(b, info []byte) []byte {
	b, at := StartFull(b, "dfLa", 0, 0)
	b = U32(b, 0x80<<24|uint32(len(info))) // the last block, type 0
	return End(append(b, info...), at)
}
