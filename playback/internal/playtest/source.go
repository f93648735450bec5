// Package playtest is what the tests of playback share: media made by ffmpeg and read
// with an independent parser, a Hub with a real store in a temporary folder, and ways
// to compare what is served with what went in.
package playtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"penstock/internal/repotest"
	"penstock/media"
)

// Source is encoded media in order of arrival.
type Source struct {
	Tracks  []media.Track
	Samples []media.Sample
	Length  time.Duration // of the first track
}

// The kinds of sources that Make makes, as ffmpeg arguments.
var (
	// H264 is baseline-like video with AAC: no reordering, a key frame a second.
	H264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-c:a", "aac", "-ac", "1"}
	// H264B has two B-frames between others, and AAC.
	H264B = []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-sc_threshold", "0", "-c:a", "aac", "-ac", "1"}
	// H265 has B-frames and no sound.
	H265 = []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:bframes=2:keyint=25:min-keyint=25:open-gop=0", "-tag:v", "hvc1", "-an"}
	// Sound is AAC alone.
	Sound = []string{"-vn", "-c:a", "aac", "-ac", "1"}
	// Larger is H264 with another picture size: another configuration.
	Larger = append(slices.Clone(H264), "-s", "480x270")
)

// Make encodes d of a test picture with moving parts and a tone.
func Make(t testing.TB, kind []string, d time.Duration) Source {
	t.Helper()
	ffmpeg := repotest.Need(t, "ffmpeg")
	seconds := strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
	file := filepath.Join(t.TempDir(), "source.mp4")
	args := []string{"-hide_banner", "-loglevel", "error", "-y",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", seconds}
	args = append(args, kind...)
	args = append(args, "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov+default_base_moof", file)
	if out, err := exec.Command(ffmpeg, args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(t, data)
}

// Parse reads a fragmented MP4 with mp4ff, an implementation that is not ours.
func Parse(t testing.TB, data []byte) Source {
	t.Helper()
	f, err := mp4.DecodeFile(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("mp4ff: %v", err)
	}
	if f.Init == nil {
		t.Fatal("mp4ff finds no initialization section")
	}
	var s Source
	trex := map[uint32]*mp4.TrexBox{}
	for _, x := range f.Init.Moov.Mvex.Trexs {
		trex[x.TrackID] = x
	}
	for _, trak := range f.Init.Moov.Traks {
		s.Tracks = append(s.Tracks, media.Track{ID: media.TrackID(trak.Tkhd.TrackID),
			Timescale: trak.Mdia.Mdhd.Timescale, Codec: codecOf(t, trak.Mdia.Minf.Stbl.Stsd)})
	}
	ends := map[media.TrackID]int64{}
	for _, seg := range f.Segments {
		for _, frag := range seg.Fragments {
			for _, traf := range frag.Moof.Trafs {
				id := traf.Tfhd.TrackID
				base := traf.Tfdt.BaseMediaDecodeTime()
				for _, trun := range traf.Truns {
					trun.AddSampleDefaultValues(traf.Tfhd, trex[id])
					from := uint64(trun.DataOffset) + frag.Moof.StartPos - frag.Mdat.PayloadAbsoluteOffset()
					for _, x := range trun.GetFullSamples(uint32(from), base, frag.Mdat) {
						s.Samples = append(s.Samples, media.Sample{Track: media.TrackID(id), DTS: int64(x.DecodeTime),
							CTO: x.CompositionTimeOffset, Sync: x.Flags&0x10000 == 0, Data: x.Data})
						base += uint64(x.Dur)
						ends[media.TrackID(id)] = int64(base)
					}
				}
			}
		}
	}
	s.order()
	if len(s.Tracks) > 0 {
		s.Length = s.Tracks[0].Duration(ends[s.Tracks[0].ID])
	}
	return s
}

// order puts the samples in the order in which they would arrive.
func (s *Source) order() {
	at := func(x media.Sample) time.Duration {
		t, _ := media.FindTrack(s.Tracks, x.Track)
		return t.Duration(x.DTS)
	}
	slices.SortStableFunc(s.Samples, func(a, b media.Sample) int { return int(at(a) - at(b)) })
}

func codecOf(t testing.TB, stsd *mp4.StsdBox) media.Codec {
	t.Helper()
	var name string
	var private bytes.Buffer
	var err error
	switch {
	case stsd.AvcX != nil:
		name, err = "h264", stsd.AvcX.AvcC.DecConfRec.Encode(&private)
	case stsd.HvcX != nil:
		name, err = "h265", stsd.HvcX.HvcC.DecConfRec.Encode(&private)
	case stsd.Mp4a != nil:
		name = "aac"
		private.Write(stsd.Mp4a.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig)
	default:
		if e, ok := stsd.Children[0].(*mp4.AudioSampleEntryBox); ok && e.Type() == "fLaC" {
			return &media.FLAC{SampleRate: int(e.SampleRate), Channels: int(e.ChannelCount)}
		}
		t.Fatalf("sample entry that playtest does not know")
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := media.ParseCodec(name, private.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Of returns the samples of one track.
func (s Source) Of(id media.TrackID) []media.Sample {
	var out []media.Sample
	for _, x := range s.Samples {
		if x.Track == id {
			out = append(out, x)
		}
	}
	return out
}

// Shifted returns s with all media times moved by d.
func (s Source) Shifted(d time.Duration) Source {
	out := Source{Tracks: s.Tracks, Samples: slices.Clone(s.Samples), Length: s.Length}
	for i, x := range out.Samples {
		t, _ := media.FindTrack(s.Tracks, x.Track)
		out.Samples[i].DTS += t.Ticks(d)
	}
	return out
}

// Compare fails the test unless got has want's samples, byte for byte and tick for tick;
// media times may differ by one constant, the same for all tracks within a millisecond.
func Compare(t testing.TB, got, want Source) {
	t.Helper()
	if !slices.EqualFunc(got.Tracks, want.Tracks, func(a, b media.Track) bool { return media.EqualCodecs(a.Codec, b.Codec) }) {
		t.Errorf("tracks are %v, want %v", got.Tracks, want.Tracks)
		return
	}
	var shift time.Duration
	for i, track := range want.Tracks {
		w, g := want.Of(track.ID), got.Of(got.Tracks[i].ID)
		if len(w) != len(g) {
			t.Errorf("track %d: %d samples, want %d", track.ID, len(g), len(w))
			continue
		}
		if len(w) == 0 {
			continue
		}
		d := g[0].DTS - w[0].DTS
		if i == 0 {
			shift = track.Duration(d)
		} else if off := track.Duration(d) - shift; off > time.Millisecond || off < -time.Millisecond {
			t.Errorf("track %d is %v out of step", track.ID, off)
		}
		for k := range w {
			if g[k].DTS-d != w[k].DTS || g[k].CTO != w[k].CTO || g[k].Sync != w[k].Sync || !bytes.Equal(g[k].Data, w[k].Data) {
				t.Errorf("track %d sample %d: dts %d cto %d sync %v %d bytes, want dts %d cto %d sync %v %d bytes", track.ID, k,
					g[k].DTS-d, g[k].CTO, g[k].Sync, len(g[k].Data), w[k].DTS, w[k].CTO, w[k].Sync, len(w[k].Data))
				break
			}
		}
	}
}
