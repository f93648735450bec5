package rtpin

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"penstock/media"
)

// Parameter sets of x264 (main, 1920x1080, reorder depth 0) and x265.
var (
	testSPS = []byte{0x67, 0x42, 0xc0, 0x28, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04,
		0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc9, 0x20}
	testPPS  = []byte{0x68, 0xcb, 0x8c, 0xb2}
	testVPS5 = []byte{0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03,
		0x00, 0x00, 0x03, 0x00, 0x78, 0x99, 0x98, 0x09}
	testSPS5 = []byte{0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
		0x00, 0x78, 0xa0, 0x03, 0xc0, 0x80, 0x10, 0xe5, 0x96, 0x66, 0x69, 0x24, 0xca, 0xe0, 0x10, 0x00, 0x00, 0x03,
		0x00, 0x10, 0x00, 0x00, 0x03, 0x01, 0xe0, 0x80}
	testPPS5 = []byte{0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40}
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// box is a Sink that keeps everything.
type box struct {
	tracks  [][]media.Track
	samples []media.Sample
	lost    int
	err     error
}

func (b *box) Write(s media.Sample) error {
	if b.err != nil {
		return b.err
	}
	for _, t := range b.tracks[len(b.tracks)-1] { // tests count from the first packet
		if t.ID == s.Track {
			s.DTS -= t.Ticks(mediaStart)
		}
	}
	b.samples = append(b.samples, s)
	return nil
}
func (b *box) SetTracks(t []media.Track) error    { b.tracks = append(b.tracks, t); return nil }
func (b *box) Lost(_ media.TrackID, n int)        { b.lost += n }
func (b *box) open(t []media.Track) (Sink, error) { b.tracks = append(b.tracks, t); return b, nil }
func (b *box) of(id media.TrackID) []media.Sample {
	var out []media.Sample
	for _, s := range b.samples {
		if s.Track == id {
			out = append(out, s)
		}
	}
	return out
}

func mediaOf(f ...format.Format) *description.Media {
	return &description.Media{Type: description.MediaTypeVideo, Formats: f}
}

func receiver(t testing.TB, reorder int, medias ...*description.Media) (*Receiver, *box) {
	t.Helper()
	b := &box{}
	r, err := New(Config{Medias: medias, Open: b.open, Reorder: reorder})
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

// raw is one packet by hand.
func raw(pt uint8, marker bool, seq uint16, ts uint32, payload ...byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, pt
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], 0xcafe)
	return append(b, payload...)
}

// feed gives packets that an encoder made, at their timestamp ts.
func feed(t testing.TB, r *Receiver, index int, ts uint32, arrival time.Time, packets []*rtp.Packet) {
	t.Helper()
	for _, p := range packets {
		p.Timestamp += ts
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Packet(index, b, arrival); err != nil {
			t.Fatal(err)
		}
	}
}

// slice is a NAL unit of n bytes with the first bits of a slice header: first of its picture.
func slice(typ byte, n int, fill byte) []byte {
	b := bytes.Repeat([]byte{fill}, n)
	b[0], b[1] = typ, 0x88
	return b
}

func au(nals ...[]byte) []byte {
	var b []byte
	for _, n := range nals {
		b = media.AppendNAL(b, n)
	}
	return b
}

func h264Format() *format.H264 {
	return &format.H264{PayloadTyp: 96, SPS: testSPS, PPS: testPPS, PacketizationMode: 1}
}
