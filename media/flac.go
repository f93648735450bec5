package media

import "encoding/binary"

// The block sizes that FLAC.Private announces, in samples of each channel (RFC 9639
// §8.2). FLACBlockMax is that of the streamable subset (§7), which every player takes.
const (
	flacBlockMin = 16
	FLACBlockMax = 4608
)

// flacChannels is how many channels FLAC has at most (RFC 9639 §9.1.3).
const flacChannels = 8

// FLAC is FLAC (RFC 9639) with 16 bits a sample. Its samples are frames. No camera sends
// it: package media/flac makes it of G.711 for those who watch, and it is never stored, so
// ParseCodec does not know it.
type FLAC struct {
	SampleRate int // Hz
	Channels   int // 1 to 8
}

// Name implements Codec.
func (*FLAC) Name() string { return "flac" }

// Kind implements Codec.
func (*FLAC) Kind() Kind { return Audio }

// MIME implements Codec: the sample entry, as the MP4 registration authority has it.
func (*FLAC) MIME() string { return "fLaC" }

// Private implements Codec: the STREAMINFO block (RFC 9639 §8.2) without its header.
// Frame sizes, the number of samples and the checksum of all are not known of what is live.
func (c *FLAC) Private() []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 34), flacBlockMin)
	b = binary.BigEndian.AppendUint16(b, FLACBlockMax)
	b = append(b, 0, 0, 0, 0, 0, 0) // smallest and largest frame
	const bits = 16
	b = binary.BigEndian.AppendUint64(b, uint64(c.SampleRate)<<44|uint64(c.Channels-1)<<41|uint64(bits-1)<<36)
	return append(b, make([]byte, 16)...)
}

// FLAC returns the codec in which c can be carried without loss; nil when FLAC does not
// have as many channels.
func (c *G711) FLAC() *FLAC {
	if c.Channels < 1 || c.Channels > flacChannels {
		return nil
	}
	return &FLAC{SampleRate: c.SampleRate, Channels: c.Channels}
}
