package rtpin

import (
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"penstock/media"
)

// choose picks the payload format for f and what the SDP says of its configuration;
// false: it cannot be recorded. This is the one table of formats.
func (t *track) choose(f format.Format) bool {
	var err error
	switch f := f.(type) {
	case *format.H264:
		if f.PacketizationMode > 1 {
			return false // interleaved mode: nothing sends it
		}
		t.depacketizer = newH264(t, f.SPS, f.PPS)
	case *format.H265:
		if f.MaxDONDiff > 0 {
			return false // transmitted out of decoding order: nothing sends it
		}
		t.depacketizer = newH265(t, f.VPS, f.SPS, f.PPS)
	case *format.AV1:
		t.depacketizer, err = newAV1(t, f)
	case *format.MJPEG:
		t.depacketizer, err = newMJPEG(t, f)
	case *format.MPEG4Audio:
		if f.Config == nil || f.SizeLength == 0 {
			return false
		}
		t.codec, err = media.NewAAC(*f.Config)
		t.depacketizer = newAAC(t, f)
	case *format.MPEG4AudioLATM:
		if f.CPresent || f.StreamMuxConfig == nil || len(f.StreamMuxConfig.Programs) == 0 ||
			len(f.StreamMuxConfig.Programs[0].Layers) == 0 {
			return false
		}
		t.codec, err = media.NewAAC(*f.StreamMuxConfig.Programs[0].Layers[0].AudioSpecificConfig)
		if err == nil {
			t.depacketizer, err = newLATM(t, f)
		}
	case *format.Opus:
		t.codec = &media.Opus{Channels: f.ChannelCount}
		t.depacketizer = plainAudio{t}
	case *format.G711:
		t.codec = &media.G711{MuLaw: f.MULaw, SampleRate: f.SampleRate, Channels: f.ChannelCount}
		t.depacketizer = plainAudio{t}
	default:
		return false
	}
	return err == nil
}
