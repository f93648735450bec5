package mkv

import (
	"encoding/binary"
	"math"
	"strconv"

	"penstock/internal/fault"
	"penstock/media"
)

// Matroska codec IDs (Matroska codec specification).
const (
	codecH264  = "V_MPEG4/ISO/AVC"
	codecH265  = "V_MPEGH/ISO/HEVC"
	codecAV1   = "V_AV1"
	codecMJPEG = "V_MJPEG"
	codecAAC   = "A_AAC"
	codecOpus  = "A_OPUS"
	codecACM   = "A_MS/ACM"
)

// WAVEFORMATEX format tags.
const (
	waveALaw  = 6
	waveMuLaw = 7
)

// codecOf is the table of codecs of Matroska, outwards: codec ID and CodecPrivate.
func codecOf(c media.Codec) (id string, private []byte, err error) {
	private = c.Private()
	switch c := c.(type) {
	case *media.H264:
		id = codecH264
	case *media.H265:
		id = codecH265
	case *media.AV1:
		id = codecAV1
	case *media.AAC:
		id = codecAAC
	case *media.Opus:
		id = codecOpus
	case *media.MJPEG:
		return codecMJPEG, nil, nil
	case *media.G711:
		return codecACM, waveFormat(c), nil
	default:
		return "", nil, fault.New(fault.Unavailable, "write Matroska", c.Name(), "Matroska has no name for this codec")
	}
	if len(private) == 0 {
		return "", nil, fault.New(fault.Invalid, "write Matroska", c.Name(), "no codec configuration")
	}
	return id, private, nil
}

// waveFormat is WAVEFORMATEX, little-endian as Windows has it.
func waveFormat(c *media.G711) []byte {
	tag := uint16(waveALaw)
	if c.MuLaw {
		tag = waveMuLaw
	}
	b := binary.LittleEndian.AppendUint16(nil, tag)
	b = binary.LittleEndian.AppendUint16(b, uint16(c.Channels))
	b = binary.LittleEndian.AppendUint32(b, uint32(c.SampleRate))
	b = binary.LittleEndian.AppendUint32(b, uint32(c.SampleRate*c.Channels))
	b = binary.LittleEndian.AppendUint16(b, uint16(c.Channels)) // bytes in each step
	b = binary.LittleEndian.AppendUint16(b, 8)                  // bits a sample
	return binary.LittleEndian.AppendUint16(b, 0)
}

// entry is a TrackEntry as it was read.
type entry struct {
	number        uint64
	codec         string
	private       []byte
	width, height uint64
	rate          float64
	channels      uint64
	encoded       bool // its blocks are compressed or encrypted
}

// parseEntry reads a TrackEntry that is in memory.
func parseEntry(b []byte) (e entry, ok bool) {
	e.channels, e.rate = 1, 8000
	ok = children(b, func(id uint32, v []byte) {
		switch id {
		case idTrackNumber:
			e.number = number(v)
		case idCodecID:
			e.codec = trimZeros(v)
		case idCodecPrivate:
			e.private = v
		case idContentEncodings:
			e.encoded = true
		case idVideo, idAudio:
			ok = children(v, func(id uint32, v []byte) {
				switch id {
				case idPixelWidth:
					e.width = number(v)
				case idPixelHeight:
					e.height = number(v)
				case idSamplingFrequency:
					e.rate = float(v)
				case idChannels:
					e.channels = number(v)
				}
			}) && ok
		}
	})
	return e, ok
}

func trimZeros(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func float(b []byte) float64 {
	switch len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

// track makes a reader's track of e; nil: a codec that is not carried. Its codec is nil
// when the configuration is to be found in band.
func (e entry) track() (*inTrack, error) {
	bad := func(why string) (*inTrack, error) {
		return nil, fault.New(fault.Invalid, "read Matroska", "track "+strconv.FormatUint(e.number, 10), why)
	}
	name, scale := "", uint32(videoScale)
	switch e.codec {
	case codecH264:
		name = "h264"
	case codecH265:
		name = "h265"
	case codecAV1:
		name = "av1"
	case codecMJPEG:
		if e.width > 0xffff || e.height > 0xffff {
			return bad("picture is larger than JPEG allows")
		}
	case codecAAC:
		name = "aac"
	case codecOpus:
		name = "opus"
	case codecACM:
	default:
		return nil, nil
	}
	if e.number < 1 || e.number > 255 {
		return bad("track number is not within 1 to 255")
	}
	if e.encoded {
		return bad("blocks are compressed or encrypted")
	}
	t := &inTrack{id: media.TrackID(e.number), name: name}
	var err error
	switch {
	case e.codec == codecMJPEG:
		t.codec = &media.MJPEG{W: int(e.width), H: int(e.height)}
	case e.codec == codecACM:
		if t.codec, err = parseWave(e.private); err != nil {
			return nil, err
		}
	case name == "h264" || name == "h265" || name == "av1":
		t.config(e.private)
	default:
		if t.codec, err = media.ParseCodec(name, e.private); err != nil {
			return nil, err
		}
	}
	if rate, _ := media.AudioFormat(t.codec); rate > 0 {
		scale = uint32(rate)
	}
	t.scale = scale
	return t, nil
}

// videoScale is the time scale that video tracks are given, RTP's.
const videoScale = 90000

// config takes the CodecPrivate of a video track. Producers leave it out, or put
// parameter sets with start codes into it; what cannot be read is found in band instead.
func (t *inTrack) config(private []byte) {
	t.lengthSize = 4
	if len(private) == 0 {
		return
	}
	if media.IsAnnexB(private) {
		t.update(media.AppendFromAnnexB(nil, private))
		return
	}
	c, err := media.ParseCodec(t.name, private)
	if err != nil {
		return
	}
	t.codec = c
	switch t.name {
	case "h264":
		t.lengthSize = int(private[4]&3) + 1
	case "h265":
		t.lengthSize = int(private[21]&3) + 1
	}
}

// parseWave reads the WAVEFORMATEX of G.711.
func parseWave(b []byte) (media.Codec, error) {
	if len(b) < 16 {
		return nil, fault.New(fault.Invalid, "read Matroska", codecACM, "WAVEFORMATEX is cut off")
	}
	tag := binary.LittleEndian.Uint16(b)
	c := &media.G711{MuLaw: tag == waveMuLaw, Channels: int(binary.LittleEndian.Uint16(b[2:])),
		SampleRate: int(binary.LittleEndian.Uint32(b[4:]))}
	if tag != waveALaw && tag != waveMuLaw {
		return nil, fault.New(fault.Invalid, "read Matroska", codecACM, "sound is neither A-law nor mu-law")
	}
	return media.ParseCodec(c.Name(), c.Private()) // which checks the numbers
}
