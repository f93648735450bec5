package fmp4_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/fmp4"
	"penstock/media/internal/mediatest"
)

// parts writes a clip as an initialization section and parts of n samples.
func parts(t testing.TB, c mediatest.Clip, n int) []byte {
	t.Helper()
	b, err := fmp4.Init(c.Tracks)
	if err != nil {
		t.Fatal(err)
	}
	for seq, at := uint32(1), 0; at < len(c.Samples); seq, at = seq+1, at+n {
		end := min(at+n, len(c.Samples))
		if b, err = fmp4.AppendPart(b, seq, c.Tracks, c.Samples[at:end], nexts(c, end)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// nexts is where each track goes on behind the first n samples.
func nexts(c mediatest.Clip, n int) []int64 {
	ends := append([]int64(nil), c.Ends...)
	for i, t := range c.Tracks {
		for _, s := range c.Samples[n:] {
			if s.Track == t.ID {
				ends[i] = s.DTS
				break
			}
		}
	}
	return ends
}

func TestEveryCodecComesBackAsItWas(t *testing.T) {
	mediatest.EachCodec(t, roundTrip)
	t.Run("flac", func(t *testing.T) { roundTrip(t, mediatest.FLAC(false)) })
}

func roundTrip(t *testing.T, c mediatest.Clip) {
	for _, n := range []int{1, 7, 1000} {
		file := mediatest.Write(t, fmt.Sprintf("in-parts-of-%d.mp4", n), parts(t, c, n))
		got := mediatest.ReadMP4(t, file)
		mediatest.SameTracks(t, got, c, 0)
		if !slices.Equal(got.Ends, c.Ends) {
			t.Errorf("in parts of %d: the tracks end at %d, want %d", n, got.Ends, c.Ends)
		}
		mediatest.Plays(t, file, c)
	}
}

func video() media.Track {
	return media.Track{ID: 1, Timescale: 90000, Codec: &media.H264{SPS: []byte{0x67, 66, 0, 30}, PPS: []byte{0x68, 1}}}
}

func TestCompositionOffsetsMayBeNegative(t *testing.T) {
	samples := []media.Sample{{Track: 1, DTS: 1 << 40, CTO: -3000, Sync: true, Data: []byte{1}}, {Track: 1, DTS: 1<<40 + 3000, CTO: math.MinInt32, Data: []byte{2}}}
	b, err := fmp4.Part(9, []media.Track{video()}, samples, []int64{1<<40 + 6000})
	if err != nil {
		t.Fatal(err)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	frag := f.Segments[0].Fragments[0]
	got, err := frag.GetFullSamples(nil)
	if err != nil {
		t.Fatal(err)
	}
	if frag.Moof.Mfhd.SequenceNumber != 9 || got[0].DecodeTime != 1<<40 || got[0].CompositionTimeOffset != -3000 ||
		got[1].CompositionTimeOffset != math.MinInt32 || got[1].Dur != 3000 {
		t.Errorf("got %+v", got)
	}
}

func TestLastSampleLastsWithoutEnds(t *testing.T) {
	aac := media.Track{ID: 2, Timescale: 48000, Codec: &media.AAC{Config: []byte{0x11, 0x90}}}
	for name, c := range map[string]struct {
		track   media.Track
		samples []media.Sample
		want    uint32
	}{
		"as the one before":     {video(), []media.Sample{{Track: 1, Data: []byte{1}}, {Track: 1, DTS: 3600, Data: []byte{1}}}, 3600},
		"as a guess":            {video(), []media.Sample{{Track: 1, Data: []byte{1}}}, 3000},
		"as an audio frame":     {aac, []media.Sample{{Track: 2, Data: []byte{1}}}, 1024},
		"as a frame, not a gap": {aac, []media.Sample{{Track: 2, Data: []byte{1}}, {Track: 2, DTS: 9999, Data: []byte{1}}}, 1024},
	} {
		b, err := fmp4.Part(1, []media.Track{c.track}, c.samples, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := mp4.DecodeFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Segments[0].Fragments[0].GetFullSamples(nil)
		if err != nil || got[len(got)-1].Dur != c.want {
			t.Errorf("%s: %v lasts %d, want %d", name, err, got[len(got)-1].Dur, c.want)
		}
	}
}

func TestPartLeavesOtherTracksOut(t *testing.T) {
	c := []media.Sample{{Track: 1, Data: []byte{1, 2}, Sync: true}, {Track: 2, Data: []byte{3}}, {Track: 1, DTS: 10, Data: []byte{4}}}
	b, err := fmp4.Part(1, []media.Track{video()}, c, []int64{20})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b, []byte{'m', 'd', 'a', 't', 1, 2, 4}) {
		t.Errorf("mdat is %q", b[len(b)-16:])
	}
	if b, err := fmp4.Part(1, []media.Track{{ID: 7, Timescale: 1, Codec: video().Codec}}, c, nil); err != nil || len(b) != 0 {
		t.Errorf("a part of a track without samples is %d bytes, %v", len(b), err)
	}
}

func TestPartRefusesWhatItCannotSay(t *testing.T) {
	for name, samples := range map[string][]media.Sample{
		"a decode time that falls": {{Track: 1, DTS: 5}, {Track: 1, DTS: 4}},
		"a negative decode time":   {{Track: 1, DTS: -1}},
	} {
		if _, err := fmp4.Part(1, []media.Track{video()}, samples, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := fmp4.Init([]media.Track{{ID: 1, Timescale: 90000, Codec: &media.MJPEG{W: 1, H: 1}}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Motion JPEG: %v", err)
	}
	if _, err := fmp4.Init([]media.Track{{ID: 1, Timescale: 90000, Codec: &media.H264{}}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("H.264 without parameter sets: %v", err)
	}
	if _, err := fmp4.Init(nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("no tracks: %v", err)
	}
}

func TestPartAllocatesNothing(t *testing.T) {
	tracks, samples := second()
	dst := make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := fmp4.AppendPart(dst[:0], 1, tracks, samples, []int64{90000, 48000}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a part costs %v allocations", n)
	}
}

// second is one second of 4 Mbit/s video and sound.
func second() ([]media.Track, []media.Sample) {
	tracks := []media.Track{video(), {ID: 2, Timescale: 48000, Codec: &media.AAC{Config: []byte{0x11, 0x90}}}}
	var samples []media.Sample
	for i := range 25 {
		samples = append(samples, media.Sample{Track: 1, DTS: int64(i) * 3600, Sync: i == 0, Data: make([]byte, 20000)},
			media.Sample{Track: 2, DTS: int64(i) * 1920, Sync: true, Data: make([]byte, 300)},
			media.Sample{Track: 2, DTS: int64(i)*1920 + 960, Sync: true, Data: make([]byte, 300)})
	}
	return tracks, samples
}

func BenchmarkAppendPartOfOneSecond(b *testing.B) {
	tracks, samples := second()
	dst := make([]byte, 0, 1<<20)
	b.SetBytes(25*20000 + 50*300)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = fmp4.AppendPart(dst[:0], 1, tracks, samples, []int64{90000, 48000})
	}
}

func BenchmarkAppendPartOfOneFrame(b *testing.B) {
	tracks, samples := second()
	dst := make([]byte, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = fmp4.AppendPart(dst[:0], 1, tracks, samples[3:4], []int64{7200, 0})
	}
}
