package rtpin

import (
	"strconv"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"penstock/media"
)

// nothing is a Sink that forgets.
type nothing struct{}

func (nothing) Write(media.Sample) error      { return nil }
func (nothing) SetTracks([]media.Track) error { return nil }
func (nothing) Lost(media.TrackID, int)       {}

// BenchmarkH264FUA is the cost of a packet of a fragmented picture: 1400 bytes, eleven
// packets to a picture, as a camera of 3 Mbit/s and 25 pictures a second sends.
// The small packets show what is left when the copy and the memory for it are not counted.
func BenchmarkH264FUA(b *testing.B) {
	for _, size := range []int{1400, 50} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { fragments(b, size) })
	}
}

func fragments(b *testing.B, size int) {
	r, err := New(Config{Medias: []*description.Media{mediaOf(h264Format())},
		Open: func([]media.Track) (Sink, error) { return nothing{}, nil }})
	if err != nil {
		b.Fatal(err)
	}
	var packets [11][]byte
	for i := range packets {
		p := make([]byte, size)
		p[0], p[1], p[2] = 0x5c, 0x01, 0x88
		if i == 0 {
			p[1] = 0x81
		}
		if i == 10 {
			p[1] = 0x41
		}
		packets[i] = raw(96, i == 10, 0, 0, p...)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p := packets[i%11]
		p[2], p[3] = byte(i>>8), byte(i)
		ts := uint32(i/11) * 3600
		p[4], p[5], p[6], p[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
		if err := r.Packet(0, p, epoch); err != nil {
			b.Fatal(err)
		}
		i++
	}
	if r.Stats().Damaged > 0 {
		b.Fatalf("%+v", r.Stats())
	}
}
