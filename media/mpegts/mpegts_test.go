package mpegts_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/mediatest"
	"penstock/media/mpegts"
)

func write(t testing.TB, c mediatest.Clip) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := mpegts.NewWriter(&b, c.Tracks)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Samples {
		if err := w.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func read(t testing.TB, r io.Reader) (mediatest.Clip, *mpegts.Reader) {
	t.Helper()
	rd, err := mpegts.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	c := mediatest.Clip{Tracks: rd.Tracks()}
	for {
		s, _, err := rd.Next()
		if err == io.EOF {
			return c, rd
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Samples = append(c.Samples, s)
	}
}

// asSent is what a reader of our stream finds: parameter sets are in band before sync
// samples that lack them.
func asSent(c mediatest.Clip) mediatest.Clip {
	out := mediatest.Clip{Tracks: c.Tracks}
	for _, s := range c.Samples {
		t, _ := media.FindTrack(c.Tracks, s.Track)
		p, ok := t.Codec.(interface{ ParameterSets() [][]byte })
		if ok && s.Sync {
			var au []byte
			for _, n := range p.ParameterSets() {
				au = media.AppendNAL(au, n)
			}
			s.Data = append(au, s.Data...)
		}
		out.Samples = append(out.Samples, s)
	}
	return out
}

func TestEveryCodecComesBackAsItWas(t *testing.T) {
	for name, args := range map[string]string{"h264": mediatest.H264, "h265": mediatest.H265,
		"aac": mediatest.AAC, "opus": mediatest.Opus, "h264+aac": mediatest.Both} {
		t.Run(name, func(t *testing.T) {
			c := mediatest.Encode(t, args)
			b := write(t, c)
			got, rd := read(t, bytes.NewReader(b))
			if rd.DecodeErrors() > 0 {
				t.Errorf("%d decode errors", rd.DecodeErrors())
			}
			want := asSent(c)
			for i, tr := range c.Tracks {
				mediatest.Same(t, got, want, tr.ID, 23*time.Microsecond)
				if g := got.Tracks[i].Codec; tr.Codec.Kind() == media.Video && !media.EqualCodecs(g, tr.Codec) {
					t.Errorf("codec of track %d came back as %x, was %x", tr.ID, g.Private(), tr.Codec.Private())
				}
			}
			kind, frames := "a", 0
			if c.Tracks[0].Codec.Kind() == media.Video {
				kind = "v"
			}
			for _, s := range c.Samples {
				if s.Track == c.Tracks[0].ID {
					frames++
				}
			}
			file := mediatest.Write(t, "out.ts", b)
			if n := mediatest.Frames(t, file, kind); n != frames {
				t.Errorf("ffmpeg decodes %d frames, want %d", n, frames)
			}
			slow, _ := read(t, iotest.OneByteReader(bytes.NewReader(b)))
			if len(slow.Samples) != len(got.Samples) {
				t.Errorf("byte by byte: %d samples, at once: %d", len(slow.Samples), len(got.Samples))
			}
		})
	}
}

func TestDecodeTimesSurvive(t *testing.T) {
	c := mediatest.Encode(t, mediatest.H264)
	got, _ := read(t, bytes.NewReader(write(t, c)))
	for i, s := range got.Samples {
		want := c.Tracks[0].Duration(c.Samples[i].DTS).Seconds()*90000 + 90000
		if d := float64(s.DTS) - want; d > 1 || d < -1 {
			t.Errorf("sample %d is decoded at %d, want %v", i, s.DTS, want)
		}
	}
}

// A recording that runs for 26 hours wraps the 33 bits of a transport stream.
func TestTimesRunOnThroughTheWrap(t *testing.T) {
	c := mediatest.Encode(t, mediatest.H264)
	tr := c.Tracks[0]
	wrap := int64(1<<33) * int64(tr.Timescale) / 90000
	for i := range c.Samples {
		c.Samples[i].DTS += wrap - tr.Ticks(2*time.Second)
	}
	got, _ := read(t, bytes.NewReader(write(t, c)))
	mediatest.Same(t, got, asSent(c), 1, 23*time.Microsecond)
}

func TestGarbageAndStuffingAreSkipped(t *testing.T) {
	c := mediatest.Encode(t, mediatest.H264)
	clean := write(t, c)
	var dirty []byte
	null := make([]byte, 188)
	copy(null, []byte{0x47, 0x1f, 0xff, 0x10})
	dirty = append(dirty, "not a packet"...)
	for i := 0; i < len(clean); i += 188 {
		dirty = append(append(dirty, null...), clean[i:i+188]...)
	}
	dirty = append(dirty, clean[:100]...) // cut off
	got, _ := read(t, bytes.NewReader(dirty))
	mediatest.Same(t, got, asSent(c), 1, 23*time.Microsecond)
}

func TestNewParameterSetsAreAnnounced(t *testing.T) {
	a := mediatest.Encode(t, mediatest.H264)
	b := mediatest.Encode(t, "-f lavfi -i testsrc2=size=160x90:rate=25 -t 1 -c:v libx264 -preset veryfast -g 25 -bf 0 -pix_fmt yuv420p")
	joined := mediatest.Clip{Tracks: a.Tracks, Samples: asSent(a).Samples}
	for _, s := range asSent(b).Samples {
		s.DTS += a.Ends[0]
		joined.Samples = append(joined.Samples, s)
	}
	rd, err := mpegts.NewReader(bytes.NewReader(write(t, joined)))
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	for n := 0; ; n++ {
		s, changed, err := rd.Next()
		if err != nil {
			break
		}
		if changed {
			changes++
			if w := rd.Tracks()[0].Codec.(media.Picture).Width(); w != 160 || !s.Sync || n != len(a.Samples) {
				t.Errorf("sample %d changes the width to %d", n, w)
			}
		}
	}
	if changes != 1 {
		t.Errorf("%d changes", changes)
	}
}

func TestLimitsEndTheStream(t *testing.T) {
	if _, err := mpegts.NewReader(bytes.NewReader(nil)); !fault.Is(err, fault.Invalid) {
		t.Errorf("an empty stream: %v", err)
	}
	if _, err := mpegts.NewReader(noise{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a stream of noise without end: %v", err)
	}
	c := mediatest.Encode(t, mediatest.H264)
	whole := write(t, c)
	endless := io.MultiReader(bytes.NewReader(whole), &continuation{})
	rd, err := mpegts.NewReader(endless)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = rd.Next()
	}
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("an access unit without end: %v", err)
	}
	broken := errors.New("broken")
	if rd, err = mpegts.NewReader(io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken))); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = rd.Next()
	}
	if !errors.Is(err, broken) {
		t.Errorf("a reader that breaks: %v", err)
	}
}

// noise is bytes that are no transport stream.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0x46
	}
	return len(p), nil
}

// continuation is packets of stream 256 that go on for ever.
type continuation struct{ n byte }

func (c *continuation) Read(p []byte) (int, error) {
	if len(p) < 188 {
		return 0, io.ErrShortBuffer
	}
	clear(p[:188])
	copy(p, []byte{0x47, 0x01, 0x00, 0x10 | c.n&0xf})
	c.n++
	return 188, nil
}

func TestRefusesWhatItCannotSay(t *testing.T) {
	if _, err := mpegts.NewWriter(io.Discard, mediatest.G711(true).Tracks); !fault.Is(err, fault.Unavailable) {
		t.Errorf("G.711: %v", err)
	}
	if _, err := mpegts.NewWriter(io.Discard, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("no tracks: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	pat := make([]byte, 188)
	copy(pat, []byte{0x47, 0x40, 0, 0x10, 0, 0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 0x04, 0xb2})
	f.Add(pat)
	f.Fuzz(func(t *testing.T, b []byte) {
		rd, err := mpegts.NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		total := 0
		for {
			s, _, err := rd.Next()
			if err != nil {
				break
			}
			total += len(s.Data)
			if _, ok := media.FindTrack(rd.Tracks(), s.Track); !ok {
				t.Fatalf("a sample is of track %d, which was not announced", s.Track)
			}
		}
		if total > 3*len(b) {
			t.Fatalf("%d bytes of stream made %d of samples", len(b), total)
		}
	})
}
