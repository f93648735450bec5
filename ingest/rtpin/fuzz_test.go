package rtpin

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"penstock/media"
)

// judge is a Sink that checks what every sample must be.
type judge struct {
	t      *testing.T
	tracks []media.Track
}

func (j *judge) Write(s media.Sample) error {
	if s.Track == 0 || int(s.Track) > len(j.tracks) {
		j.t.Fatalf("a sample of track %d of %d", s.Track, len(j.tracks))
	}
	if len(s.Data) == 0 || len(s.Data) > UnitMax {
		j.t.Fatalf("a sample of %d bytes", len(s.Data))
	}
	switch name := j.tracks[s.Track-1].Codec.Name(); name {
	case "h264", "h265":
		if !media.ValidNALs(s.Data) {
			j.t.Fatalf("a sample of %s is not whole NAL units: %x", name, s.Data)
		}
	}
	return nil
}

func (j *judge) SetTracks(t []media.Track) error { j.tracks = t; return nil }
func (j *judge) Lost(_ media.TrackID, n int) {
	if n <= 0 {
		j.t.Fatalf("%d packets lost", n)
	}
}
func (j *judge) open(t []media.Track) (Sink, error) { j.tracks = t; return j, nil }

// fuzzPackets feeds data as packets with 2-byte lengths to a receiver of f. Each begins
// with a byte of flags (bit 0: marker, bit 1: skip a number, bit 2: new timestamp, bit 3:
// raw, header and all) and goes on with the payload.
func fuzzPackets(t *testing.T, f format.Format, reorder int, data []byte) {
	j := &judge{t: t}
	r, err := New(Config{Medias: []*description.Media{mediaOf(f)}, Open: j.open, Reorder: reorder})
	if err != nil {
		t.Fatal(err)
	}
	seq, ts := uint16(65530), uint32(0xffffff00)
	for n := 0; len(data) >= 3; n++ {
		size := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		p := data[2 : 2+size]
		data = data[2+size:]
		if size == 0 {
			continue
		}
		flags := p[0]
		seq++
		if flags&2 != 0 {
			seq++
		}
		if flags&4 != 0 {
			ts += 3600
		}
		packet := raw(f.PayloadType(), flags&1 != 0, seq, ts, p[1:]...)
		if flags&8 != 0 {
			packet = p[1:]
		}
		if err := r.Packet(0, packet, epoch.Add(time.Duration(n)*time.Millisecond)); err != nil {
			return
		}
	}
	r.Close()
}

// packed is packets for fuzzPackets.
func packed(packets ...[]byte) []byte {
	var b []byte
	for _, p := range packets {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
	}
	return b
}

func fuzzFormat(f *testing.F, make func() format.Format, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s, uint8(0))
		f.Add(s, uint8(16))
	}
	f.Fuzz(func(t *testing.T, data []byte, reorder uint8) { fuzzPackets(t, make(), int(reorder), data) })
}

func FuzzH264(f *testing.F) {
	fuzzFormat(f, func() format.Format { return h264Format() },
		packed([]byte{5, 0x5c, 0x85, 0x88, 1, 2}, []byte{0, 0x5c, 0x05, 3}, []byte{1, 0x5c, 0x45, 4}),
		packed(append([]byte{4, 0x18, 0, byte(len(testSPS))}, testSPS...), append([]byte{1, 0x65}, 0x88, 1)),
		packed([]byte{5, 0x41, 0x9a, 1}, []byte{7, 0x41, 0x9a, 1}, []byte{5, 0, 0, 0, 1, 0x65, 0x88, 0, 0, 1, 0x41, 0x9a}))
}

func FuzzH264WithoutParameterSets(f *testing.F) {
	fuzzFormat(f, func() format.Format { return &format.H264{PayloadTyp: 96, PacketizationMode: 1} },
		packed(append([]byte{4}, testSPS...), append([]byte{0}, testPPS...), []byte{1, 0x65, 0x88, 1}))
}

func FuzzH265(f *testing.F) {
	fuzzFormat(f, func() format.Format {
		return &format.H265{PayloadTyp: 96, VPS: testVPS5, SPS: testSPS5, PPS: testPPS5}
	},
		packed([]byte{5, 0x62, 1, 0x93, 0x80, 1}, []byte{0, 0x62, 1, 0x13, 2}, []byte{1, 0x62, 1, 0x53, 3}),
		packed([]byte{5, 0x60, 1, 0, 3, 0x02, 1, 0x80, 0, 3, 0x02, 1, 0x00}))
}

func FuzzAAC(f *testing.F) {
	fuzzFormat(f, func() format.Format {
		return &format.MPEG4Audio{PayloadTyp: 97, Config: &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC,
			SampleRate: 48000, ChannelCount: 2}, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	},
		packed([]byte{5, 0, 32, 0, 16, 0, 16, 1, 2, 3, 4}, []byte{4, 0, 16, 0, 64, 1, 2, 3}, []byte{1, 0, 16, 0, 64, 4, 5, 6, 7, 8}))
}

func FuzzOpus(f *testing.F) {
	fuzzFormat(f, func() format.Format { return &format.Opus{PayloadTyp: 98, ChannelCount: 2} },
		packed([]byte{5, 0xfc, 1, 2}, []byte{13, 0x80, 98, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xfc}))
}

func FuzzAV1(f *testing.F) {
	fuzzFormat(f, func() format.Format { return &format.AV1{PayloadTyp: 96} },
		packed([]byte{5, 0x18, 0x0a, 0x0b, 0, 0, 0, 0x42, 0xab, 0xbf, 0xc3, 0x70, 0x0b, 0xe4, 0x01}))
}

func FuzzMJPEG(f *testing.F) {
	fuzzFormat(f, func() format.Format { return &format.MJPEG{} },
		packed([]byte{5, 0, 0, 0, 0, 1, 60, 40, 30, 1, 2, 3, 4, 5, 6}))
}

func FuzzReport(f *testing.F) {
	f.Add(report(epoch, 5))
	f.Add([]byte{0x80, 200, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := New(Config{Medias: []*description.Media{mediaOf(h264Format())}, Open: (&judge{t: t}).open})
		if err != nil {
			t.Fatal(err)
		}
		r.Report(0, b, epoch)
		if err := r.Packet(0, raw(96, true, 1, 7, slice(0x65, 40, 1)...), epoch); err != nil {
			t.Fatal(err)
		}
		r.Report(0, b, epoch)
	})
}

// FuzzSDP takes a session description from the wire to a Receiver.
func FuzzSDP(f *testing.F) {
	const head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
	f.Add([]byte(head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
		"a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAKNkAeAIn5YQAAAMABAAAAwDwPGDJIA==,aMuMsg==\r\na=control:trackID=0\r\n"))
	f.Add([]byte(head + "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\n" +
		"a=fmtp:97 streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r\n"))
	f.Add([]byte(head + "m=audio 0 RTP/AVP 0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/24000/2\r\n" +
		"a=fmtp:97 profile-level-id=1;cpresent=0;config=40002620 3fc0\r\n"))
	f.Add([]byte(head + "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s sdp.SessionDescription
		var d description.Session
		if s.Unmarshal(b) != nil || d.Unmarshal(&s) != nil {
			return
		}
		j := &judge{t: t}
		r, err := New(Config{Medias: d.Medias, Open: j.open})
		if err != nil {
			return
		}
		for _, track := range r.Tracks() {
			if track.Timescale == 0 || (r.Opened() && track.Codec == nil) {
				t.Fatalf("track %+v", track)
			}
		}
	})
}
