package rtsp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"penstock/internal/repotest"
	"penstock/media"
)

// ffmpeg runs it to its end and fails the test with what it said.
func ffmpeg(t *testing.T, args ...string) {
	t.Helper()
	tool := repotest.Need(t, "ffmpeg")
	out, err := repotest.Command(t, tool, append([]string{"-nostdin", "-hide_banner", "-loglevel", "warning"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// wanted is one sample of the file that was pushed.
type wanted struct {
	data     []byte
	dts, pts float64 // seconds
}

// source makes a file with ffmpeg and returns its samples by track, video first.
func source(t *testing.T, seconds int, video, audio []string) (string, [][]wanted) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "source.mp4")
	args := []string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x240:rate=25:duration=%d", seconds)}
	if audio != nil {
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:sample_rate=48000:duration=%d", seconds))
	}
	args = append(append(args, video...), audio...)
	ffmpeg(t, append(args, "-y", file)...)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := mp4.DecodeFile(f)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]wanted
	for _, trak := range m.Moov.Traks {
		stbl := trak.Mdia.Minf.Stbl
		scale := float64(trak.Mdia.Mdhd.Timescale)
		var list []wanted
		for nr := uint32(1); nr <= stbl.Stsz.SampleNumber; nr++ {
			shift := int32(0)
			if stbl.Ctts != nil {
				shift = stbl.Ctts.GetCompositionTimeOffset(nr)
			}
			ranges, err := trak.GetRangesForSampleInterval(nr, nr)
			if err != nil {
				t.Fatal(err)
			}
			data := make([]byte, ranges[0].Size)
			if _, err := f.ReadAt(data, int64(ranges[0].Offset)); err != nil {
				t.Fatal(err)
			}
			dts, _ := stbl.Stts.GetDecodeTime(nr)
			list = append(list, wanted{data, float64(dts) / scale,
				(float64(dts) + float64(shift)) / scale})
		}
		out = append(out, list)
	}
	return file, out
}

// same compares what arrived with what was sent: count, bytes and times. The file may
// start at any time; all tracks share their shift to within slack seconds.
func same(t *testing.T, name string, got []media.Sample, want []wanted, scale float64) {
	t.Helper()
	// ffmpeg gathers AAC frames into packets and forgets the last packet at its end.
	if len(got) != len(want) && (name != "aac" || len(got) != len(want)-1) {
		t.Errorf("%s: %d samples arrived, %d were sent", name, len(got), len(want))
	}
	n := min(len(got), len(want))
	if n == 0 {
		return
	}
	shift := float64(got[0].DTS+int64(got[0].CTO))/scale - want[0].pts
	for i := range n {
		if !bytes.Equal(got[i].Data, want[i].data) {
			t.Fatalf("%s: sample %d differs: %d bytes, want %d", name, i, len(got[i].Data), len(want[i].data))
		}
		pts := float64(got[i].DTS+int64(got[i].CTO))/scale - shift
		if d := pts - want[i].pts; d > 0.002 || d < -0.002 {
			t.Fatalf("%s: sample %d is shown at %.4f, want %.4f", name, i, pts, want[i].pts)
		}
		if got[i].CTO < 0 {
			t.Fatalf("%s: sample %d is decoded %d ticks after it is shown", name, i, -got[i].CTO)
		}
		if i > 0 && got[i].DTS <= got[i-1].DTS {
			t.Fatalf("%s: sample %d is decoded at %d, the one before it at %d", name, i, got[i].DTS, got[i-1].DTS)
		}
	}
}

func TestFFmpegPush(t *testing.T) {
	x264 := []string{"-c:v", "libx264", "-g", "50", "-preset", "veryfast", "-b:v", "1M", "-pix_fmt", "yuv420p"}
	noB := append(x264, "-bf", "0")
	withB := append(x264, "-bf", "3", "-b_strategy", "0", "-x264-params", "b-pyramid=normal")
	x265 := []string{"-c:v", "libx265", "-g", "50", "-preset", "ultrafast", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"}
	aac := []string{"-c:a", "aac"}
	for _, c := range []struct {
		name         string
		video, audio []string
		codecs       []string
	}{
		{"h264 without B frames, aac", noB, aac, []string{"h264", "aac"}},
		{"h264 with B frames, opus", withB, []string{"-c:a", "libopus"}, []string{"h264", "opus"}},
		{"h265 with B frames, aac", x265, aac, []string{"h265", "aac"}},
		{"h264 alone", noB, nil, []string{"h264"}},
	} {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(c.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				file, want := source(t, 4, c.video, c.audio)
				hub := newMemHub()
				s := serve(t, Config{Hub: hub})
				ffmpeg(t, "-re", "-i", file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", transport,
					"rtsp://"+s.Addr().String()+"/door")
				got := hub.await(t, "door", "end", func(m *memStream) bool { return m.closed == 1 })
				if got.cause != nil {
					t.Errorf("a TEARDOWN ended the session with %v", got.cause)
				}
				if got.lost > 0 {
					t.Errorf("%d packets lost", got.lost)
				}
				for i, codec := range c.codecs {
					if name := got.tracks[i].Codec.Name(); name != codec {
						t.Fatalf("track %d is %s, want %s", i+1, name, codec)
					}
					same(t, codec, got.samples(media.TrackID(i+1)), want[i], float64(got.tracks[i].Timescale))
				}
			})
		}
	}
}
