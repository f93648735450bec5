package media

import (
	"strconv"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

// AAC is MPEG-4 audio (ISO/IEC 14496-3). Its samples are raw access units, no ADTS.
type AAC struct {
	// Config is the AudioSpecificConfig (§1.6.2.1) as the sender wrote it, extensions included.
	Config []byte
}

// NewAAC makes a codec from a parsed configuration. fault.Invalid: it cannot be written.
func NewAAC(config mpeg4audio.AudioSpecificConfig) (*AAC, error) {
	b, err := config.Marshal()
	if err != nil {
		return nil, badCodec(nameAAC, err.Error())
	}
	return &AAC{Config: b}, nil
}

// Name implements Codec.
func (*AAC) Name() string { return nameAAC }

// Kind implements Codec.
func (*AAC) Kind() Kind { return Audio }

// MIME implements Codec: "mp4a.40.2", the last number being the audio object type.
func (c *AAC) MIME() string {
	kind := 2
	if len(c.Config) > 0 && c.Config[0]>>3 != 0 {
		kind = int(c.Config[0] >> 3)
	}
	return "mp4a.40." + strconv.Itoa(kind)
}

// Private implements Codec: the AudioSpecificConfig.
func (c *AAC) Private() []byte { return c.Config }

func (c *AAC) parse() (mpeg4audio.AudioSpecificConfig, bool) {
	var a mpeg4audio.AudioSpecificConfig
	return a, a.Unmarshal(c.Config) == nil
}

// SampleRate is that of the core coder in Hz (spectral band replication plays at twice
// that), 0 when the configuration cannot be read.
func (c *AAC) SampleRate() int {
	a, _ := c.parse()
	return a.SampleRate
}

// Channels is the number of channels, 0 when the configuration leaves it to the stream.
func (c *AAC) Channels() int {
	a, _ := c.parse()
	switch n := int(a.ChannelConfig); {
	case n == 7:
		return 8
	case n < 7:
		return n
	}
	return 0
}

// FrameSamples is how many samples of each channel one access unit holds, 1024 or 960.
func (c *AAC) FrameSamples() int {
	if a, _ := c.parse(); a.FrameLengthFlag {
		return 960
	}
	return mpeg4audio.SamplesPerAccessUnit
}

// parseAAC keeps b.
func parseAAC(b []byte) (Codec, error) {
	c := &AAC{Config: b}
	if a, ok := c.parse(); !ok || a.SampleRate <= 0 {
		return nil, badCodec(nameAAC, "AudioSpecificConfig cannot be read")
	}
	return c, nil
}
