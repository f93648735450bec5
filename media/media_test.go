package media_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/mediatest"
)

// unhex reads bytes as specifications print them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Parameter sets of real encoders.
const (
	x264SPS  = "67 64 00 1f ac d9 40 50 05 bb 01 6c 80 00 00 03 00 80 00 00 1e 07 8c 18 cb" // 1280x720, 30
	x264PPS  = "68 eb e3 cb 22 c0"
	hevcVPS  = "40 01 0c 01 ff ff 01 60 00 00 03 00 90 00 00 03 00 00 03 00 78 99 98 09"
	hevcSPS  = "42 01 01 01 60 00 00 03 00 90 00 00 03 00 00 03 00 78 a0 03 c0 80 10 e5 96 66 69 24 ca e0 10 00 00 03 00 10 00 00 03 01 e0 80" // 1920x1080, 30
	hevcPPS  = "44 01 c1 72 b4 62 40"
	av1Seq   = "08 00 00 00 42 a7 bf e4 60 0d 00 40"                                        // 1920x804
	otherSPS = "67 42 c0 28 d9 00 78 02 27 e5 84 00 00 03 00 04 00 00 03 00 f0 3c 60 c9 20" // 1920x1080
)

func h264Of(t testing.TB) *media.H264 {
	return &media.H264{SPS: unhex(t, x264SPS), PPS: unhex(t, x264PPS)}
}

func h265Of(t testing.TB) *media.H265 {
	return &media.H265{VPS: unhex(t, hevcVPS), SPS: unhex(t, hevcSPS), PPS: unhex(t, hevcPPS)}
}

func codecs(t testing.TB) []media.Codec {
	many := h264Of(t)
	many.Extra = [][]byte{{0x68, 0x53, 0x8f}, {0x68, 0x7b, 0x8f}}
	return []media.Codec{
		h264Of(t), many, h265Of(t), &media.AV1{SequenceHeader: unhex(t, av1Seq)}, &media.MJPEG{W: 1920, H: 1080},
		&media.AAC{Config: []byte{0x11, 0x90}}, &media.AAC{Config: unhex(t, "12 10 56 e5 00")},
		&media.Opus{Channels: 2, PreSkip: 312}, &media.Opus{Channels: 6, Mapping: []byte{4, 2, 0, 4, 1, 2, 3, 5}},
		&media.G711{SampleRate: 8000, Channels: 1}, &media.G711{MuLaw: true, SampleRate: 16000, Channels: 2},
		&media.H264{}, &media.H265{}, &media.AV1{},
	}
}

func TestCodecsComeBackFromTheirRecords(t *testing.T) {
	for _, c := range codecs(t) {
		got, err := media.ParseCodec(c.Name(), c.Private())
		if err != nil {
			t.Errorf("%s %x: %v", c.Name(), c.Private(), err)
			continue
		}
		if !media.EqualCodecs(got, c) || got.Kind() != c.Kind() || got.MIME() != c.MIME() {
			t.Errorf("%s %x came back as %s %x", c.Name(), c.Private(), got.Name(), got.Private())
		}
	}
}

func TestCodecsSayWhatTheyAre(t *testing.T) {
	for _, c := range []struct {
		codec         media.Codec
		mime          string
		width, height int
		fps           float64
	}{
		{h264Of(t), "avc1.64001f", 1280, 720, 30},
		{h265Of(t), "hvc1.1.6.L120.90", 1920, 1080, 30},
		{&media.AV1{SequenceHeader: unhex(t, av1Seq)}, "av01.0.08M.08", 1920, 804, 0},
		{&media.MJPEG{W: 640, H: 480}, "image/jpeg", 640, 480, 0},
		{&media.H264{}, "avc1", 0, 0, 0},
		{&media.H264{SPS: []byte{0x67, 1, 2, 3}}, "avc1.010203", 0, 0, 0},
		{&media.H265{}, "hvc1", 0, 0, 0},
		{&media.AV1{}, "av01", 0, 0, 0},
	} {
		p := c.codec.(media.Picture)
		if p.MIME() != c.mime || p.Width() != c.width || p.Height() != c.height || math.Abs(p.FrameRate()-c.fps) > 0.01 {
			t.Errorf("%s: %s %dx%d %.2f, want %+v", p.Name(), p.MIME(), p.Width(), p.Height(), p.FrameRate(), c)
		}
	}
	for _, c := range []struct {
		codec          media.Codec
		mime           string
		rate, channels int
	}{
		{&media.AAC{Config: []byte{0x11, 0x90}}, "mp4a.40.2", 48000, 2},
		{&media.AAC{Config: unhex(t, "2b 92 08 00")}, "mp4a.40.5", 22050, 2},
		{&media.AAC{Config: []byte{0x11, 0xb8}}, "mp4a.40.2", 48000, 8},
		{&media.Opus{Channels: 1}, "opus", 48000, 1},
		{&media.G711{MuLaw: true, SampleRate: 8000, Channels: 1}, "ulaw", 8000, 1},
		{&media.G711{SampleRate: 8000, Channels: 1}, "alaw", 8000, 1},
		{&media.FLAC{SampleRate: 16000, Channels: 2}, "fLaC", 16000, 2},
	} {
		rate, channels := media.AudioFormat(c.codec)
		if c.codec.MIME() != c.mime || rate != c.rate || channels != c.channels {
			t.Errorf("%s: %s %d Hz %d channels, want %+v", c.codec.Name(), c.codec.MIME(), rate, channels, c)
		}
	}
}

// The records are those that ffmpeg's muxer writes for the same parameter sets.
func TestRecordsAreThoseOfAnotherMuxer(t *testing.T) {
	for name, args := range map[string]string{"h264": mediatest.H264, "h265": mediatest.H265, "av1": mediatest.AV1} {
		c := mediatest.Encode(t, args).Tracks[0].Codec
		again, err := media.ParseCodec(c.Name(), c.Private())
		if err != nil || !media.EqualCodecs(c, again) {
			t.Errorf("%s: %v", name, err)
		}
		if p := c.(media.Picture); p.Width() != 320 || p.Height() != 180 || name != "av1" && p.FrameRate() != 25 {
			t.Errorf("%s is %dx%d at %v", name, p.Width(), p.Height(), p.FrameRate())
		}
	}
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	for _, c := range codecs(t) {
		private := c.Private()
		for n := range private {
			if n == 0 && c.Kind() == media.Video && c.Name() != "mjpeg" {
				continue // not known yet
			}
			if got, err := media.ParseCodec(c.Name(), private[:n]); err == nil && !validPrefix(c, n) {
				t.Errorf("%s: the first %d bytes of %x make %x", c.Name(), n, private, got.Private())
			}
		}
	}
	if _, err := media.ParseCodec("vp9", []byte{1}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown codec: %v", err)
	}
	if _, err := media.ParseCodec("h264", make([]byte, media.PrivateMax+1)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a record of 64 KiB: %v", err)
	}
}

// validPrefix says where a record may end early: avcC before its optional end, and
// AudioSpecificConfig before the extension.
func validPrefix(c media.Codec, n int) bool {
	switch c.Name() {
	case "h264":
		return n >= len(c.Private())-4
	case "aac":
		return n >= 2
	}
	return false
}

func TestNewAACWritesItsConfig(t *testing.T) {
	c, err := media.NewAAC(mpeg4audio.AudioSpecificConfig{Type: 2, SampleRate: 44100, ChannelConfig: 2})
	if err != nil || c.SampleRate() != 44100 || c.Channels() != 2 || c.FrameSamples() != 1024 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestTracksComeBackAsTheyWere(t *testing.T) {
	var tracks []media.Track
	for i, c := range codecs(t) {
		tracks = append(tracks, media.Track{ID: media.TrackID(i + 1), Timescale: uint32(1000 * (i + 1)), Codec: c})
	}
	b := media.MarshalTracks(tracks)
	got, err := media.UnmarshalTracks(b)
	if err != nil || !media.EqualTracks(got, tracks) {
		t.Fatalf("%v: got %v", err, got)
	}
	for n := range b {
		if _, err := media.UnmarshalTracks(b[:n]); !fault.Is(err, fault.Invalid) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	if _, err := media.UnmarshalTracks(append(b, 0)); !fault.Is(err, fault.Invalid) {
		t.Errorf("one byte more: %v", err)
	}
	twice := media.MarshalTracks([]media.Track{tracks[0], tracks[0]})
	if _, err := media.UnmarshalTracks(twice); !fault.Is(err, fault.Invalid) {
		t.Errorf("one id twice: %v", err)
	}
	if media.EqualTracks(tracks, tracks[1:]) || media.EqualTracks(tracks[:1], tracks[1:2]) {
		t.Error("different tracks are equal")
	}
	if none, err := media.UnmarshalTracks(media.MarshalTracks(nil)); err != nil || len(none) != 0 {
		t.Errorf("no tracks: %v, %v", none, err)
	}
}

// The bytes on disk never change: docs/format/tracks.md.
func TestTracksRecordKeepsItsBytes(t *testing.T) {
	got := hex.EncodeToString(media.MarshalTracks([]media.Track{
		{ID: 2, Timescale: 8000, Codec: &media.G711{MuLaw: true, SampleRate: 8000, Channels: 1}}}))
	if want := "0101" + "02" + "00001f40" + "04" + "70636d75" + "00000008" + "0101010800001f40"; got != want {
		t.Errorf("record is %s, want %s", got, want)
	}
}

func TestTicksAreRoundedAndDoNotOverflow(t *testing.T) {
	v := media.Track{Timescale: 90000}
	if got := v.Ticks(100 * 365 * 24 * time.Hour); got != 100*365*24*3600*90000 {
		t.Errorf("a century is %d ticks", got)
	}
	if got := v.Duration(1); got != 11111 {
		t.Errorf("a tick is %d ns", got)
	}
	if got := v.Ticks(-v.Duration(12345)); got != -12345 {
		t.Errorf("12345 ticks back are %d", got)
	}
}

func TestNominalIsWhatTheCodecSays(t *testing.T) {
	for _, c := range []struct {
		track media.Track
		data  []byte
		want  int64
	}{
		{media.Track{Timescale: 48000, Codec: &media.AAC{Config: []byte{0x11, 0x90}}}, nil, 1024},
		{media.Track{Timescale: 90000, Codec: &media.AAC{Config: []byte{0x11, 0x90}}}, nil, 1920},
		{media.Track{Timescale: 48000, Codec: &media.Opus{Channels: 1}}, []byte{0x78}, 960},
		{media.Track{Timescale: 8000, Codec: &media.G711{SampleRate: 8000, Channels: 2}}, make([]byte, 320), 160},
		{media.Track{Timescale: 90000, Codec: h264Of(t)}, nil, 3000},
		{media.Track{Timescale: 90000, Codec: &media.H264{}}, nil, 0},
	} {
		if got := media.Nominal(c.track, c.data); got != c.want {
			t.Errorf("%s at %d: %d ticks, want %d", c.track.Codec.Name(), c.track.Timescale, got, c.want)
		}
	}
}

func FuzzParseCodec(f *testing.F) {
	for _, c := range codecs(f) {
		f.Add(c.Name(), c.Private())
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		c, err := media.ParseCodec(name, b)
		if err != nil {
			return
		}
		_ = c.MIME()
		if p, ok := c.(media.Picture); ok {
			if p.Width() < 0 || p.Height() < 0 || p.FrameRate() < 0 || math.IsNaN(p.FrameRate()) {
				t.Fatalf("%x is %dx%d at %v", b, p.Width(), p.Height(), p.FrameRate())
			}
		}
		rate, channels := media.AudioFormat(c)
		if rate < 0 || channels < 0 || c.Kind() == media.Audio && rate == 0 {
			t.Fatalf("%x plays %d Hz, %d channels", b, rate, channels)
		}
		again, err := media.ParseCodec(name, c.Private())
		if err != nil || !media.EqualCodecs(c, again) {
			t.Fatalf("%x comes back as %v, %v", c.Private(), again, err)
		}
	})
}

func FuzzUnmarshalTracks(f *testing.F) {
	var tracks []media.Track
	for i, c := range codecs(f) {
		tracks = append(tracks, media.Track{ID: media.TrackID(i + 1), Timescale: 90000, Codec: c})
	}
	f.Add(media.MarshalTracks(tracks[:3]))
	f.Add(media.MarshalTracks(tracks[5:9]))
	f.Fuzz(func(t *testing.T, b []byte) {
		tracks, err := media.UnmarshalTracks(b)
		if err != nil {
			return
		}
		again, err := media.UnmarshalTracks(media.MarshalTracks(tracks))
		if err != nil || !media.EqualTracks(tracks, again) {
			t.Fatalf("%x comes back as %v, %v", b, again, err)
		}
	})
}
