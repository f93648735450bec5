package media

import (
	"bytes"
	"encoding/binary"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
)

// opusRate is the only rate at which Opus counts (RFC 7845 §4).
const opusRate = 48000

// Opus is Opus (RFC 6716). Its samples are packets.
type Opus struct {
	Channels int // 1 to 8
	PreSkip  int // samples at 48 kHz that a decoder drops at the start; live senders leave it 0
	// Mapping is stream count, coupled count and channel mapping of family 1
	// (RFC 7845 §5.1.1), which more than two channels need; nil: family 0.
	Mapping []byte
}

// Name implements Codec.
func (*Opus) Name() string { return nameOpus }

// Kind implements Codec.
func (*Opus) Kind() Kind { return Audio }

// MIME implements Codec.
func (*Opus) MIME() string { return "opus" }

// SampleRate is 48000.
func (*Opus) SampleRate() int { return opusRate }

// Private implements Codec: OpusHead (RFC 7845 §5.1).
func (c *Opus) Private() []byte {
	b := append([]byte("OpusHead"), 1, byte(c.Channels))
	b = binary.LittleEndian.AppendUint16(b, uint16(c.PreSkip))
	b = binary.LittleEndian.AppendUint32(b, opusRate)
	b = append(b, 0, 0) // gain
	if len(c.Mapping) == 0 {
		return append(b, 0)
	}
	return append(append(b, 1), c.Mapping...)
}

func parseOpusHead(b []byte) (Codec, error) {
	rest, ok := bytes.CutPrefix(b, []byte("OpusHead"))
	if !ok || len(rest) < 11 || rest[0]>>4 != 0 {
		return nil, badCodec(nameOpus, "not an OpusHead record")
	}
	c := &Opus{Channels: int(rest[1]), PreSkip: int(binary.LittleEndian.Uint16(rest[2:]))}
	switch family, mapping := rest[10], rest[11:]; {
	case family == 0 && c.Channels >= 1 && c.Channels <= 2:
	case family == 1 && c.Channels >= 1 && c.Channels <= 8 && len(mapping) >= 2+c.Channels:
		c.Mapping = mapping[:2+c.Channels]
	default:
		return nil, badCodec(nameOpus, "channel layout is none of Opus")
	}
	return c, nil
}

// opusSamples is how many samples of each channel, at 48 kHz, a packet plays; 0 when it
// is damaged.
func opusSamples(packet []byte) int { return int(opus.PacketDuration2(packet)) }
