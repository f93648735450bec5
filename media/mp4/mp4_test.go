package mp4_test

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	oracle "github.com/Eyevinn/mp4ff/mp4"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/mediatest"
	"penstock/media/mp4"
)

// file writes a whole clip.
func file(t testing.TB, c mediatest.Clip) []byte {
	t.Helper()
	samples := make([]mp4.Sample, len(c.Samples))
	for i, s := range c.Samples {
		samples[i] = mp4.Sample{Track: s.Track, DTS: s.DTS, CTO: s.CTO, Sync: s.Sync, Size: uint32(len(s.Data))}
	}
	f, err := mp4.New(c.Tracks, samples, c.Ends)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(f.Header())
	for _, s := range c.Samples {
		b = append(b, s.Data...)
	}
	if int64(len(b)) != f.Size() || f.DataSize() != int64(len(b)-len(f.Header())) {
		t.Errorf("file has %d bytes, Size says %d and DataSize %d", len(b), f.Size(), f.DataSize())
	}
	return b
}

func TestEveryCodecComesBackAsItWas(t *testing.T) {
	mediatest.EachCodec(t, roundTrip)
	t.Run("flac", func(t *testing.T) { roundTrip(t, mediatest.FLAC(true)) })
}

func roundTrip(t *testing.T, c mediatest.Clip) {
	name := mediatest.Write(t, "out.mp4", file(t, c))
	got := mediatest.ReadMP4(t, name)
	mediatest.SameTracks(t, got, c, 0)
	if !slices.Equal(got.Ends, c.Ends) {
		t.Errorf("the tracks end at %d, want %d", got.Ends, c.Ends)
	}
	mediatest.Plays(t, name, c)
}

// A clip cut from the middle of a recording: decode times are large, sound starts 250 ms
// after the picture, and the picture has B-frames.
func TestTracksKeepTheirDistance(t *testing.T) {
	c := mediatest.Encode(t, mediatest.Both)
	v, a := c.Tracks[0], c.Tracks[1]
	if v.Codec.Kind() != media.Video {
		v, a = a, v
	}
	for i := range c.Samples {
		s := &c.Samples[i]
		if s.Track == v.ID {
			s.DTS += v.Ticks(10 * time.Hour)
		} else {
			s.DTS += a.Ticks(10*time.Hour + 250*time.Millisecond)
		}
	}
	c.Ends = nil
	name := mediatest.Write(t, "out.mp4", file(t, c))
	first := map[int]float64{}
	for _, p := range mediatest.Packets(t, name) {
		if at, ok := first[p.Stream]; !ok || p.PTS < at {
			first[p.Stream] = p.PTS
		}
	}
	// The source's video is presented two frames after it is decoded.
	var shown time.Duration = math.MaxInt64
	for _, s := range c.Samples {
		if s.Track == v.ID {
			shown = min(shown, v.Duration(s.DTS+int64(s.CTO)))
		}
	}
	want := (10*time.Hour + 250*time.Millisecond - shown).Seconds()
	if d := first[1] - first[0] - want; d > 0.001 || d < -0.001 {
		t.Errorf("sound starts %.4f s after the picture, want %.4f", first[1]-first[0], want)
	}
	if first[0] != 0 {
		t.Errorf("picture starts at %v", first[0])
	}
	mediatest.Frames(t, name, "v")
}

func TestNegativeOffsetsAreMovedUp(t *testing.T) {
	c := mediatest.Encode(t, mediatest.H264)
	want := mediatest.ReadMP4(t, mediatest.Write(t, "a.mp4", file(t, c)))
	for i := range c.Samples { // presentation before decoding, as an encoder with DTS = PTS order writes it
		c.Samples[i].CTO -= 4 * 512
	}
	name := mediatest.Write(t, "out.mp4", file(t, c))
	mediatest.Same(t, mediatest.ReadMP4(t, name), want, 1, 0)
	ps := mediatest.Packets(t, name)
	if ps[0].PTS != 0 {
		t.Errorf("first picture is presented at %v", ps[0].PTS)
	}
	mediatest.Frames(t, name, "v")
}

func track() media.Track {
	return media.Track{ID: 1, Timescale: 90000, Codec: &media.H264{SPS: []byte{0x67, 66, 0, 30}, PPS: []byte{0x68, 1}}}
}

func TestGapIsALongerSample(t *testing.T) {
	f, err := mp4.New([]media.Track{track()}, []mp4.Sample{{Track: 1, Size: 1, Sync: true}, {Track: 1, DTS: 3000, Size: 1},
		{Track: 1, DTS: 903000, Size: 1, Sync: true}}, []int64{906000})
	if err != nil {
		t.Fatal(err)
	}
	stts := parse(t, f).Traks[0].Mdia.Minf.Stbl.Stts
	if got := []uint32{stts.GetDur(1), stts.GetDur(2), stts.GetDur(3)}; got[0] != 3000 || got[1] != 900000 || got[2] != 3000 {
		t.Errorf("samples last %v", got)
	}
}

func parse(t *testing.T, f *mp4.File) *oracle.MoovBox {
	t.Helper()
	got, err := oracle.DecodeFile(bytes.NewReader(f.Header()), oracle.WithDecodeMode(oracle.DecModeLazyMdat))
	if err != nil {
		t.Fatal(err)
	}
	return got.Moov
}

// Nothing of the media is needed to lay out a file of 12 GB.
func TestLargeFilesCountIn64Bits(t *testing.T) {
	samples := make([]mp4.Sample, 1000)
	for i := range samples {
		samples[i] = mp4.Sample{Track: 1, DTS: int64(i) * 3600, Sync: i%25 == 0, Size: 12 << 20}
	}
	f, err := mp4.New([]media.Track{track()}, samples, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.DataSize() != 1000*12<<20 {
		t.Errorf("media has %d bytes", f.DataSize())
	}
	stbl := parse(t, f).Traks[0].Mdia.Minf.Stbl
	if stbl.Co64 == nil || stbl.Stco != nil {
		t.Fatal("offsets are not in 64 bits")
	}
	for i, off := range stbl.Co64.ChunkOffset {
		if want := uint64(len(f.Header())) + uint64(i)*256*12<<20; off != want {
			t.Errorf("chunk %d is at %d, want %d", i, off, want)
		}
	}
	small, err := mp4.New([]media.Track{track()}, samples[:300], nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := parse(t, small).Traks[0].Mdia.Minf.Stbl; s.Stco == nil || s.Stco.ChunkOffset[0] != uint32(len(small.Header())) {
		t.Error("a file below 4 GiB has no 32-bit offsets")
	}
}

func TestRefusesWhatItCannotSay(t *testing.T) {
	for name, c := range map[string]struct {
		tracks  []media.Track
		samples []mp4.Sample
		kind    fault.Kind
	}{
		"no samples":               {[]media.Track{track()}, nil, fault.Invalid},
		"a sample of no track":     {[]media.Track{track()}, []mp4.Sample{{Track: 2}}, fault.Invalid},
		"a decode time that falls": {[]media.Track{track()}, []mp4.Sample{{Track: 1, DTS: 1}, {Track: 1}}, fault.Invalid},
		"Motion JPEG":              {[]media.Track{{ID: 1, Timescale: 1, Codec: &media.MJPEG{}}}, []mp4.Sample{{Track: 1}}, fault.Unavailable},
	} {
		if _, err := mp4.New(c.tracks, c.samples, nil); fault.KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkHeaderOf100kSamples(b *testing.B) {
	samples := make([]mp4.Sample, 100_000)
	for i := range samples {
		samples[i] = mp4.Sample{Track: 1, DTS: int64(i) * 3600, CTO: int32(i%3) * 3600, Sync: i%50 == 0, Size: 20000}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mp4.New([]media.Track{track()}, samples, nil); err != nil {
			b.Fatal(err)
		}
	}
}
