package mkv_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/mediatest"
	"penstock/media/mkv"
)

// expected is what another parser found in a file.
type expected struct {
	Headers  int `json:"ebml_headers"`
	Clusters []struct {
		Timecode int64
		Blocks   map[string]int
	}
	Tracks []struct {
		Number int
		Codec  string `json:"codec_id"`
		Width  int
		Height int
	}
	Tags [][]string
}

func readAll(t testing.TB, r io.Reader) ([]mkv.Event, error) {
	t.Helper()
	rd := mkv.NewReader(r)
	var out []mkv.Event
	for {
		e, err := rd.Next()
		if err != nil {
			if _, again := rd.Next(); again != err {
				t.Errorf("error %v is followed by %v", err, again)
			}
			if n := rd.Damaged(); n > 0 {
				t.Errorf("%d blocks are damaged", n)
			}
			return out, err
		}
		out = append(out, e)
	}
}

func TestCapturesAreReadAsAnotherParserReadsThem(t *testing.T) {
	raw, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]expected
	if err := json.Unmarshal(raw, &all); err != nil || len(all) < 8 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	for name, want := range all {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			events, err := readAll(t, bytes.NewReader(b))
			slow, err2 := readAll(t, iotest.OneByteReader(bytes.NewReader(b)))
			if fmt.Sprint(err) != fmt.Sprint(err2) || len(slow) != len(events) {
				t.Errorf("byte by byte: %d events, %v; at once: %d, %v", len(slow), err2, len(events), err)
			}
			compare(t, events, want)
		})
	}
}

func compare(t *testing.T, events []mkv.Event, want expected) {
	t.Helper()
	cluster, tags, headers := -1, 0, 0
	blocks := map[string]int{}
	check := func() {
		if cluster >= 0 && fmt.Sprint(blocks) != fmt.Sprint(want.Clusters[cluster].Blocks) {
			t.Errorf("cluster %d has blocks %v, want %v", cluster, blocks, want.Clusters[cluster].Blocks)
		}
		blocks = map[string]int{}
	}
	last := map[media.TrackID]int64{}
	for _, e := range events {
		switch e.Kind {
		case mkv.EventTracks:
			headers++
			for i, tr := range e.Tracks {
				w := want.Tracks[i]
				if int(tr.ID) != w.Number {
					t.Errorf("track %d has number %d, want %d", i, tr.ID, w.Number)
				}
				if p, ok := tr.Codec.(media.Picture); ok && w.Width > 0 && (p.Width() != w.Width || p.Height() != w.Height) {
					t.Errorf("picture is %dx%d, want %dx%d", p.Width(), p.Height(), w.Width, w.Height)
				}
			}
		case mkv.EventCluster:
			check()
			if cluster++; cluster >= len(want.Clusters) {
				t.Fatalf("more than %d clusters", len(want.Clusters))
			}
			if got := e.Time.Milliseconds(); got != want.Clusters[cluster].Timecode {
				t.Errorf("cluster %d has timecode %d, want %d", cluster, got, want.Clusters[cluster].Timecode)
			}
		case mkv.EventSample:
			blocks[fmt.Sprint(e.Sample.Track)]++
			if at, ok := last[e.Sample.Track]; ok && e.Sample.DTS <= at && headers == 1 {
				t.Errorf("decode time %d follows %d", e.Sample.DTS, at)
			}
			last[e.Sample.Track] = e.Sample.DTS
		case mkv.EventTag:
			if tags >= len(want.Tags) || e.Tag.Name != want.Tags[tags][0] {
				t.Fatalf("tag %d is %v", tags, e.Tag)
			}
			if w := want.Tags[tags][1]; e.Tag.Value != w && e.Tag.Value+"\x00\x00" != w {
				t.Errorf("tag %s is %q, want %q", e.Tag.Name, e.Tag.Value, w)
			}
			tags++
		}
	}
	check()
	// The same AWS tag ends each fragment; expected.json lists it once.
	if cluster+1 != len(want.Clusters) || tags < len(want.Tags) {
		t.Errorf("%d clusters and %d tags, want %d and %d", cluster+1, tags, len(want.Clusters), len(want.Tags))
	}
	if len(want.Tracks) > 0 && headers != want.Headers {
		t.Errorf("tracks were announced %d times, want %d", headers, want.Headers)
	}
}

// HEVC without CodecPrivate, parameter sets or Video element, as one producer really
// sends it: all pictures are kept, the codec has no configuration, and who wants to
// play it is told so.
func TestVideoWithoutAnyConfigurationIsKept(t *testing.T) {
	b, err := os.ReadFile("testdata/captures/kvssink-h265-annexb-no-cpd-session1.mkv")
	if err != nil {
		t.Fatal(err)
	}
	events, err := readAll(t, bytes.NewReader(b))
	if err != io.EOF {
		t.Errorf("stream ends with %v", err)
	}
	c := clip(t, events)
	h, ok := c.Tracks[0].Codec.(*media.H265)
	if !ok || h.SPS != nil || h.MIME() != "hvc1" {
		t.Fatalf("tracks are %v", c.Tracks)
	}
	for _, s := range c.Samples {
		if !media.ValidNALs(s.Data) {
			t.Fatal("a sample is not NAL units with lengths")
		}
	}
	if len(c.Samples) != 26 || !c.Samples[0].Sync || c.Samples[1].Sync {
		t.Errorf("%d samples, the first two sync: %v, %v", len(c.Samples), c.Samples[0].Sync, c.Samples[1].Sync)
	}
	if _, err := mkv.AppendHeader(nil, c.Tracks); !fault.Is(err, fault.Invalid) {
		t.Errorf("writing it: %v", err)
	}
}

// Annex B blocks whose first picture brings the parameter sets: the usual case.
func TestAnnexBWithoutPrivatePlays(t *testing.T) {
	for name, args := range map[string]string{"h264": mediatest.H264, "h265": mediatest.H265} {
		want := mediatest.Encode(t, args)
		in := mediatest.Clip{Tracks: want.Tracks}
		sets := want.Tracks[0].Codec.(interface{ ParameterSets() [][]byte }).ParameterSets()
		for i, s := range want.Samples {
			if s.Sync {
				var au []byte
				for _, n := range sets {
					au = media.AppendNAL(au, n)
				}
				s.Data = append(au, s.Data...)
				want.Samples[i] = s
			}
			s.Data = media.AppendAnnexB(nil, s.Data)
			in.Samples = append(in.Samples, s)
		}
		raw := write(t, in, 25, 0)
		// The size of CodecPrivate stays; its ID becomes Void's with a longer size.
		at := bytes.Index(raw, []byte{0x63, 0xa2})
		size, head := int(raw[at+2]&0x7f), 3
		if raw[at+2]&0x80 == 0 {
			size, head = int(raw[at+2]&0x3f)<<8|int(raw[at+3]), 4
		}
		raw[at], raw[at+1], raw[at+2] = 0xec, 0x40|byte((size+head-3)>>8), byte(size+head-3)
		events, err := readAll(t, bytes.NewReader(raw))
		if err != io.EOF {
			t.Fatalf("%s: %v", name, err)
		}
		got := clip(t, events)
		mediatest.Same(t, got, want, 1, time.Millisecond)
		if p := got.Tracks[0].Codec.(media.Picture); p.Width() != 320 {
			t.Errorf("%s: picture is %d wide", name, p.Width())
		}
		cto := false
		for _, s := range got.Samples {
			cto = cto || s.CTO != 0
		}
		if !cto {
			t.Errorf("%s: B-frames have no composition offsets", name)
		}
	}
}

// clip gathers the samples behind the first tracks.
func clip(t testing.TB, events []mkv.Event) (c mediatest.Clip) {
	t.Helper()
	for _, e := range events {
		switch e.Kind {
		case mkv.EventTracks:
			if c.Tracks == nil {
				c.Tracks = e.Tracks
			}
		case mkv.EventSample:
			c.Samples = append(c.Samples, e.Sample)
		}
	}
	if c.Tracks == nil {
		t.Fatal("no tracks")
	}
	return c
}

func TestHostileLengthsEndTheStream(t *testing.T) {
	header, err := mkv.AppendHeader(nil, mediatest.G711(true).Tracks)
	if err != nil {
		t.Fatal(err)
	}
	huge := []byte{0x01, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for name, tail := range map[string][]byte{
		"a block of 35 petabytes": append([]byte{0xa3}, huge...),
		"a tag of them":           append([]byte{0x67, 0xc8}, huge...),
		"tracks of them":          append([]byte{0x16, 0x54, 0xae, 0x6b}, huge...),
		"an id of none":           {0x00, 0x00},
		"a block without size":    {0xa3, 0xff},
		"a timecode of 9 bytes":   {0xe7, 0x89, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		"a timecode of year 10^9": {0xe7, 0x88, 0xff, 2, 3, 4, 5, 6, 7, 8},
		"a block below its head":  {0xa3, 0x82, 0x81, 0},
	} {
		start := time.Now()
		_, err := readAll(t, io.MultiReader(bytes.NewReader(header), bytes.NewReader(tail), neverEnding{}))
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%s took %v", name, d)
		}
	}
	if _, err := readAll(t, bytes.NewReader([]byte("GET / HTTP/1.1\r\n"))); !fault.Is(err, fault.Invalid) {
		t.Errorf("what is not Matroska: %v", err)
	}
	if _, err := readAll(t, bytes.NewReader(header[:20])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a header cut off: %v", err)
	}
}

// neverEnding is zeros for ever.
type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
