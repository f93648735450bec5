package media

import (
	"bytes"
	"strconv"

	"penstock/internal/fault"
)

// PrivateMax bounds a codec's configuration record, parameter sets included. Real ones
// are below 1 KiB; a hostile one must not be carried around with every fragment.
const PrivateMax = 64 << 10

// Picture is what video codecs tell beyond Codec: all of this package's do.
type Picture interface {
	Codec
	// Width and Height are in pixels after cropping, 0 when the configuration cannot be read.
	Width() int
	Height() int
	// FrameRate is what the configuration claims, in pictures a second; 0: it claims none.
	FrameRate() float64
}

// ParseCodec makes a Codec from its name and configuration record, as Codec.Name and
// Codec.Private return them. It keeps a copy of private. Video with an empty record is a
// codec whose configuration is not known yet: it can be stored, not played. fault.Invalid:
// the name is not known or the record is damaged.
func ParseCodec(name string, private []byte) (Codec, error) {
	if len(private) > PrivateMax {
		return nil, badCodec(name, "configuration of "+strconv.Itoa(len(private))+" bytes is longer than any real one")
	}
	if len(private) == 0 {
		switch name {
		case nameH264:
			return &H264{}, nil
		case nameH265:
			return &H265{}, nil
		case nameAV1:
			return &AV1{}, nil
		}
	}
	private = bytes.Clone(private)
	switch name {
	case nameH264:
		return parseAVCC(private)
	case nameH265:
		return parseHVCC(private)
	case nameAV1:
		return parseAV1C(private)
	case nameMJPEG:
		return parseMJPEG(private)
	case nameAAC:
		return parseAAC(private)
	case nameOpus:
		return parseOpusHead(private)
	case namePCMA, namePCMU:
		return parseG711(name, private)
	}
	return nil, badCodec(name, "unknown codec")
}

// The names of codecs. They are stored: they never change.
const (
	nameH264  = "h264"
	nameH265  = "h265"
	nameAV1   = "av1"
	nameMJPEG = "mjpeg"
	nameAAC   = "aac"
	nameOpus  = "opus"
	namePCMA  = "pcma"
	namePCMU  = "pcmu"
)

// EqualCodecs reports whether a and b are the same codec with the same configuration.
func EqualCodecs(a, b Codec) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && a.Name() == b.Name() && bytes.Equal(a.Private(), b.Private())
}

// AudioFormat returns the sampling rate in Hz and the number of channels of an audio
// codec, 0 and 0 for any other.
func AudioFormat(c Codec) (rate, channels int) {
	switch c := c.(type) {
	case *AAC:
		return c.SampleRate(), c.Channels()
	case *Opus:
		return opusRate, c.Channels
	case *G711:
		return c.SampleRate, c.Channels
	case *FLAC:
		return c.SampleRate, c.Channels
	}
	return 0, 0
}

func badCodec(name, why string) error {
	return fault.New(fault.Invalid, "read codec configuration", name, why)
}

// sane guards a rate that comes from the wire: NaN, infinities and nonsense are 0.
func sane(rate float64) float64 {
	if rate > 0 && rate <= 1000 {
		return rate
	}
	return 0
}

// pixels guards a size that comes from the wire. 16384 is the widest of H.265 level 6.2
// and twice 8K; what lies beyond is a cropping that underflowed.
func pixels(n int) int {
	if n < 0 || n > 16384 {
		return 0
	}
	return n
}

// Nominal is how long one sample of t lasts by its codec alone, in ticks: an audio frame,
// or the frame rate that the configuration of video claims; 0 when that is not known.
func Nominal(t Track, data []byte) int64 {
	scale := func(n, rate int) int64 {
		if rate <= 0 {
			return 0
		}
		return (int64(n)*int64(t.Timescale) + int64(rate)/2) / int64(rate)
	}
	switch c := t.Codec.(type) {
	case *AAC:
		return scale(c.FrameSamples(), c.SampleRate())
	case *Opus:
		return scale(opusSamples(data), opusRate)
	case *G711:
		return scale(len(data)/max(c.Channels, 1), c.SampleRate)
	case Picture:
		if r := c.FrameRate(); r > 0 {
			return int64(float64(t.Timescale)/r + 0.5)
		}
	}
	return 0
}
