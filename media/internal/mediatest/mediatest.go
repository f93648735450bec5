// Package mediatest makes media for tests with ffmpeg, reads it with an independent MP4
// parser, and asks ffmpeg and ffprobe what they make of files that this project wrote.
package mediatest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"penstock/internal/repotest"
	"penstock/media"
	"penstock/media/flac"
)

// Clip is media as it was encoded.
type Clip struct {
	Tracks  []media.Track
	Samples []media.Sample // by decode time, tracks interleaved
	Ends    []int64        // where each track ends
}

// Arguments of ffmpeg for the codecs that tests use: two seconds, two groups of pictures.
const (
	H264 = "-f lavfi -i testsrc2=size=320x180:rate=25 -t 2 -c:v libx264 -preset veryfast -g 25 -bf 2 -pix_fmt yuv420p"
	H265 = "-f lavfi -i testsrc2=size=320x180:rate=25 -t 2 -c:v libx265 -preset veryfast -g 25 -pix_fmt yuv420p -x265-params log-level=error:keyint=25:min-keyint=25:bframes=2"
	AV1  = "-f lavfi -i testsrc2=size=320x180:rate=25 -t 1 -c:v libaom-av1 -cpu-used 8 -g 25 -pix_fmt yuv420p"
	AAC  = "-f lavfi -i sine=frequency=440:sample_rate=44100 -t 2 -c:a aac -b:a 64k"
	Opus = "-f lavfi -i sine=frequency=440:sample_rate=48000 -t 2 -c:a libopus -b:a 48k"
	Both = "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 2 " +
		"-c:v libx264 -preset veryfast -g 25 -bf 2 -pix_fmt yuv420p -c:a aac -b:a 64k"
)

// Encode makes a clip with ffmpeg.
func Encode(t testing.TB, args string) Clip {
	t.Helper()
	name := filepath.Join(t.TempDir(), "source.mp4")
	run(t, "ffmpeg", append(append([]string{"-v", "error"}, strings.Fields(args)...), "-y", name)...)
	return ReadMP4(t, name)
}

// G711 makes a clip of 2 s of a tone that needs no encoder: 20 ms a sample.
func G711(muLaw bool) Clip {
	c := Clip{Tracks: []media.Track{{ID: 1, Timescale: 8000, Codec: &media.G711{MuLaw: muLaw, SampleRate: 8000, Channels: 1}}},
		Ends: []int64{16000}}
	for i := range 100 {
		data := make([]byte, 160)
		for k := range data {
			data[k] = byte(i*7 + k*k)
		}
		c.Samples = append(c.Samples, media.Sample{Track: 1, DTS: int64(i) * 160, Sync: true, Data: data})
	}
	return c
}

// FLAC is G711 as FLAC: a frame a sample.
func FLAC(muLaw bool) Clip {
	c := G711(muLaw)
	coder, _ := flac.NewCoder(c.Tracks[0])
	var samples []media.Sample
	for _, s := range c.Samples {
		samples, _ = coder.Append(samples, nil, s)
	}
	return Clip{Tracks: []media.Track{coder.Track()}, Samples: samples, Ends: c.Ends}
}

// ReadMP4 reads a progressive or fragmented MP4 with mp4ff.
func ReadMP4(t testing.TB, name string) Clip {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("mp4ff cannot read %s: %v", name, err)
	}
	moov := f.Moov
	if f.IsFragmented() {
		moov = f.Init.Moov
	}
	var c Clip
	for _, trak := range moov.Traks {
		track := media.Track{ID: media.TrackID(trak.Tkhd.TrackID), Timescale: trak.Mdia.Mdhd.Timescale, Codec: codec(t, trak)}
		c.Tracks = append(c.Tracks, track)
		var end int64
		if f.IsFragmented() {
			end = c.fragments(t, f, track)
		} else {
			end = c.table(t, raw, trak, track)
		}
		c.Ends = append(c.Ends, end)
	}
	slices.SortStableFunc(c.Samples, func(a, b media.Sample) int {
		return int(c.time(a) - c.time(b))
	})
	return c
}

func (c *Clip) time(s media.Sample) time.Duration {
	t, _ := media.FindTrack(c.Tracks, s.Track)
	return t.Duration(s.DTS)
}

func codec(t testing.TB, trak *mp4.TrakBox) media.Codec {
	t.Helper()
	stsd := trak.Mdia.Minf.Stbl.Stsd
	var b bytes.Buffer
	name := ""
	switch {
	case stsd.AvcX != nil:
		name = "h264"
		_ = stsd.AvcX.AvcC.DecConfRec.Encode(&b)
	case stsd.HvcX != nil:
		name = "h265"
		_ = stsd.HvcX.HvcC.DecConfRec.Encode(&b)
	case stsd.Av01 != nil:
		name = "av1"
		_ = stsd.Av01.Av1C.CodecConfRec.Encode(&b)
	case stsd.Mp4a != nil:
		name = "aac"
		b.Write(stsd.Mp4a.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig)
	case stsd.Opus != nil:
		d := stsd.Opus.Dops
		return &media.Opus{Channels: int(d.OutputChannelCount), PreSkip: int(d.PreSkip)}
	default:
		kind := stsd.Children[0].Type()
		if e, ok := stsd.Children[0].(*mp4.AudioSampleEntryBox); ok && kind == "fLaC" {
			return &media.FLAC{SampleRate: int(e.SampleRate), Channels: int(e.ChannelCount)}
		}
		if kind == "ulaw" || kind == "alaw" {
			return &media.G711{MuLaw: kind == "ulaw", SampleRate: 8000, Channels: 1}
		}
		t.Fatalf("sample entry %s", kind)
	}
	c, err := media.ParseCodec(name, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fragments adds the samples of a fragmented file; it returns where the track ends.
func (c *Clip) fragments(t testing.TB, f *mp4.File, track media.Track) (end int64) {
	t.Helper()
	var trex *mp4.TrexBox
	for _, x := range f.Init.Moov.Mvex.Trexs {
		if x.TrackID == uint32(track.ID) {
			trex = x
		}
	}
	for _, s := range f.Segments {
		for _, frag := range s.Fragments {
			full, err := frag.GetFullSamples(trex)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range full {
				c.Samples = append(c.Samples, media.Sample{Track: track.ID, DTS: int64(x.DecodeTime),
					CTO: x.CompositionTimeOffset, Sync: x.Flags&0x10000 == 0, Data: x.Data})
				end = int64(x.DecodeTime) + int64(x.Dur)
			}
		}
	}
	return end
}

// table adds the samples of a progressive file.
func (c *Clip) table(t testing.TB, raw []byte, trak *mp4.TrakBox, track media.Track) (end int64) {
	t.Helper()
	stbl := trak.Mdia.Minf.Stbl
	count := trak.GetNrSamples()
	data, err := trak.GetSampleData(1, count)
	if err != nil {
		t.Fatal(err)
	}
	at := map[uint32]int64{} // next offset in a chunk
	for n := uint32(1); n <= count; n++ {
		chunk, first, err := stbl.Stsc.ChunkNrFromSampleNr(int(n))
		if err != nil {
			t.Fatal(err)
		}
		_ = first
		if _, ok := at[uint32(chunk)]; !ok {
			if stbl.Stco != nil {
				o, err := stbl.Stco.GetOffset(chunk)
				if err != nil {
					t.Fatal(err)
				}
				at[uint32(chunk)] = int64(o)
			} else {
				at[uint32(chunk)] = int64(stbl.Co64.ChunkOffset[chunk-1])
			}
		}
		off := at[uint32(chunk)]
		size := int64(stbl.Stsz.GetSampleSize(int(n)))
		at[uint32(chunk)] = off + size
		dts, dur := stbl.Stts.GetDecodeTime(n)
		s := media.Sample{Track: track.ID, DTS: int64(dts), Sync: data[n-1].Flags&0x10000 == 0, Data: raw[off : off+size]}
		if stbl.Ctts != nil {
			s.CTO = stbl.Ctts.GetCompositionTimeOffset(n)
		}
		c.Samples = append(c.Samples, s)
		end = int64(dts) + int64(dur)
	}
	return end
}

// Packet is what ffprobe says of one packet.
type Packet struct {
	Stream   int
	PTS, DTS float64 // seconds
	Key      bool
	Size     int
	Hash     string
}

// Packets asks ffprobe for the packets of a file, in file order.
func Packets(t testing.TB, name string) []Packet {
	t.Helper()
	out := run(t, "ffprobe", "-v", "error", "-show_data_hash", "md5", "-show_packets", "-of", "json", name)
	var doc struct {
		Packets []struct {
			Stream int    `json:"stream_index"`
			PTS    string `json:"pts_time"`
			DTS    string `json:"dts_time"`
			Size   string `json:"size"`
			Flags  string `json:"flags"`
			Hash   string `json:"data_hash"`
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	var ps []Packet
	for _, p := range doc.Packets {
		q := Packet{Stream: p.Stream, Key: strings.HasPrefix(p.Flags, "K"), Hash: p.Hash}
		q.PTS, _ = strconv.ParseFloat(p.PTS, 64)
		q.DTS, _ = strconv.ParseFloat(p.DTS, 64)
		q.Size, _ = strconv.Atoi(p.Size)
		ps = append(ps, q)
	}
	return ps
}

// Frames decodes a file with ffmpeg, failing the test when it reports anything at all,
// and returns the number of frames of its first stream of the kind "v" or "a".
func Frames(t testing.TB, name, kind string) int {
	t.Helper()
	ffmpeg := repotest.Need(t, "ffmpeg")
	cmd := repotest.Command(t, ffmpeg, "-v", "error", "-xerror", "-i", name, "-f", "null", "-")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("ffmpeg does not like %s: %v\n%s", filepath.Base(name), err, out)
	}
	out := run(t, "ffprobe", "-v", "error", "-count_frames", "-select_streams", kind+":0",
		"-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", name)
	n, err := strconv.Atoi(strings.Trim(strings.SplitN(string(out), "\n", 2)[0], " ,\r\n"))
	if err != nil {
		t.Fatalf("ffprobe counts %q", out)
	}
	return n
}

// Write puts b into a file of the test.
func Write(t testing.TB, name string, b []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func run(t testing.TB, tool string, args ...string) []byte {
	t.Helper()
	path := repotest.Need(t, tool)
	var errs bytes.Buffer
	cmd := repotest.Command(t, path, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, errs.String())
	}
	return out
}

// Same compares the samples of one track of two clips: their bytes, their sync flags, and
// their times, which may differ by slack and by one constant. got and want may have
// different time scales.
func Same(t testing.TB, got, want Clip, id media.TrackID, slack time.Duration) {
	t.Helper()
	gt, ok1 := media.FindTrack(got.Tracks, id)
	wt, ok2 := media.FindTrack(want.Tracks, id)
	if !ok1 || !ok2 {
		t.Fatalf("track %d is missing: got %v, want %v", id, ok1, ok2)
	}
	pick := func(ss []media.Sample) (out []media.Sample) {
		for _, s := range ss {
			if s.Track == id {
				out = append(out, s)
			}
		}
		return out
	}
	g, w := pick(got.Samples), pick(want.Samples)
	if len(g) != len(w) || len(w) == 0 {
		t.Fatalf("track %d: got %d samples, want %d", id, len(g), len(w))
	}
	shown := func(t media.Track, s media.Sample) time.Duration { return t.Duration(s.DTS + int64(s.CTO)) }
	shift := shown(gt, g[0]) - shown(wt, w[0])
	for i := range w {
		if !bytes.Equal(g[i].Data, w[i].Data) {
			t.Fatalf("track %d sample %d: got %d bytes, want other %d", id, i, len(g[i].Data), len(w[i].Data))
		}
		if g[i].Sync != w[i].Sync {
			t.Errorf("track %d sample %d: sync is %v", id, i, g[i].Sync)
		}
		if d := shown(gt, g[i]) - shown(wt, w[i]) - shift; d > slack || d < -slack {
			t.Errorf("track %d sample %d is presented %v off", id, i, d)
		}
		if i > 0 && g[i].DTS < g[i-1].DTS {
			t.Errorf("track %d sample %d: decode time %d after %d", id, i, g[i].DTS, g[i-1].DTS)
		}
	}
}

// EachCodec runs f, as a subtest of its own, with a clip of every codec that all
// containers carry.
func EachCodec(t *testing.T, f func(t *testing.T, c Clip)) {
	for name, args := range map[string]string{"h264": H264, "h265": H265, "av1": AV1, "aac": AAC, "opus": Opus, "h264+aac": Both} {
		t.Run(name, func(t *testing.T) { f(t, Encode(t, args)) })
	}
	t.Run("pcmu", func(t *testing.T) { f(t, G711(true)) })
	t.Run("pcma", func(t *testing.T) { f(t, G711(false)) })
}

// SameTracks fails unless got has want's codecs and samples; slack is what times may be
// off by.
func SameTracks(t *testing.T, got, want Clip, slack time.Duration) {
	t.Helper()
	for i, track := range want.Tracks {
		Same(t, got, want, track.ID, slack)
		if !media.EqualCodecs(got.Tracks[i].Codec, track.Codec) {
			t.Errorf("codec of track %d came back as %x, was %x", track.ID, got.Tracks[i].Codec.Private(), track.Codec.Private())
		}
	}
}

// Plays fails unless ffmpeg decodes every frame of c's first track from the file name, and
// ffprobe finds as many packets in it as c has samples. It returns the packets.
func Plays(t *testing.T, name string, c Clip) []Packet {
	t.Helper()
	kind, want := "a", 0
	if c.Tracks[0].Codec.Kind() == media.Video {
		kind = "v"
	}
	for _, s := range c.Samples {
		if s.Track == c.Tracks[0].ID {
			want++
		}
	}
	if got := Frames(t, name, kind); got != want {
		t.Errorf("ffmpeg decodes %d frames, want %d", got, want)
	}
	packets := Packets(t, name)
	if len(packets) != len(c.Samples) {
		t.Fatalf("ffprobe finds %d packets, want %d", len(packets), len(c.Samples))
	}
	return packets
}
