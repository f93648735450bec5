package mkv_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/mediatest"
	"penstock/media/mkv"
)

// write writes a clip as clusters of n samples, with tags between them.
func write(t testing.TB, c mediatest.Clip, n int, offset time.Duration) []byte {
	t.Helper()
	b, err := mkv.AppendHeader(nil, c.Tracks)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(c.Samples); at += n {
		b = mkv.AppendTags(b, []mkv.Tag{{"AWS_KINESISVIDEO_FRAGMENT_NUMBER", "1"}, {"empty", ""}})
		if b, err = mkv.AppendCluster(b, c.Tracks, c.Samples[at:min(at+n, len(c.Samples))], offset); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestEveryCodecComesBackAsItWas(t *testing.T) {
	mediatest.EachCodec(t, roundTrip)
}

func roundTrip(t *testing.T, c mediatest.Clip) {
	b := write(t, c, 25, 0)
	events, err := readAll(t, bytes.NewReader(b))
	if err != io.EOF {
		t.Fatalf("stream ends with %v", err)
	}
	mediatest.SameTracks(t, clip(t, events), c, time.Millisecond)
	ps := mediatest.Plays(t, mediatest.Write(t, "out.mkv", b), c)
	for i, s := range c.Samples {
		if ps[i].Size != len(s.Data) || ps[i].Key != s.Sync {
			t.Errorf("packet %d: ffprobe says %d bytes, key %v; want %d, %v", i, ps[i].Size, ps[i].Key, len(s.Data), s.Sync)
		}
	}
}

func TestTimesAreAbsoluteWithAnOffset(t *testing.T) {
	c := mediatest.G711(false)
	epoch := time.Duration(1795210398712) * time.Millisecond
	events, err := readAll(t, bytes.NewReader(write(t, c, 1000, epoch)))
	if err != io.EOF {
		t.Fatal(err)
	}
	var kinds []mkv.EventKind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
		if e.Kind == mkv.EventCluster && e.Time != epoch {
			t.Errorf("cluster is at %v", e.Time)
		}
		if e.Kind == mkv.EventSample {
			if want := c.Tracks[0].Ticks(epoch) + c.Samples[len(kinds)-5].DTS; e.Sample.DTS != want {
				t.Errorf("sample is at %d, want %d", e.Sample.DTS, want)
			}
		}
	}
	if got := string(kindNames(kinds[:5])); got != "TGGCS" {
		t.Errorf("stream begins %s", got)
	}
}

func kindNames(kinds []mkv.EventKind) (out []byte) {
	for _, k := range kinds {
		out = append(out, "?TCSG"[k])
	}
	return out
}

func TestLongFragmentsAreSeveralClusters(t *testing.T) {
	c := mediatest.G711(false)
	for i := range c.Samples {
		c.Samples[i].DTS = int64(i) * 8000 // a second apart
	}
	events, err := readAll(t, bytes.NewReader(write(t, c, 1000, 0)))
	if err != io.EOF {
		t.Fatal(err)
	}
	clusters := 0
	for _, e := range events {
		if e.Kind == mkv.EventCluster {
			clusters++
		}
	}
	if clusters != 4 {
		t.Errorf("100 s are %d clusters, want 4", clusters)
	}
	mediatest.Same(t, clip(t, events), c, 1, 0)
}

func TestSecondHeaderBeginsAnew(t *testing.T) {
	a, b := mediatest.G711(false), mediatest.G711(true)
	stream := append(write(t, a, 50, 0), write(t, b, 50, 0)...)
	events, err := readAll(t, bytes.NewReader(stream))
	if err != io.EOF {
		t.Fatal(err)
	}
	var names []string
	for _, e := range events {
		if e.Kind == mkv.EventTracks {
			names = append(names, e.Tracks[0].Codec.Name())
		}
	}
	if len(names) != 2 || names[0] != "pcma" || names[1] != "pcmu" {
		t.Errorf("tracks were announced as %v", names)
	}
}

// A producer that changes its picture size sends new parameter sets in band.
func TestNewParameterSetsAreAnnounced(t *testing.T) {
	a := mediatest.Encode(t, mediatest.H264)
	small := "-f lavfi -i testsrc2=size=160x90:rate=25 -t 1 -c:v libx264 -preset veryfast -g 25 -bf 0 -pix_fmt yuv420p"
	b := mediatest.Encode(t, small)
	h := b.Tracks[0].Codec.(*media.H264)
	var sets []byte
	for _, n := range h.ParameterSets() {
		sets = media.AppendNAL(sets, n)
	}
	for i, s := range b.Samples {
		s.DTS += a.Ends[0]
		if i == 0 {
			s.Data = append(sets, s.Data...)
		}
		a.Samples = append(a.Samples, s)
	}
	events, err := readAll(t, bytes.NewReader(write(t, a, 25, 0)))
	if err != io.EOF {
		t.Fatal(err)
	}
	seen := 0
	for i, e := range events {
		if e.Kind != mkv.EventTracks {
			continue
		}
		if seen++; seen == 2 {
			if w := e.Tracks[0].Codec.(media.Picture).Width(); w != 160 {
				t.Errorf("new picture is %d wide", w)
			}
			if next := events[i+1]; next.Kind != mkv.EventSample || !next.Sample.Sync {
				t.Error("the announcement is not followed by its sync sample")
			}
		}
	}
	if seen != 2 {
		t.Errorf("tracks were announced %d times", seen)
	}
}

func TestRefusesWhatItCannotSay(t *testing.T) {
	if _, err := mkv.AppendHeader(nil, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("no tracks: %v", err)
	}
	if _, err := mkv.AppendHeader(nil, []media.Track{{ID: 1, Timescale: 1, Codec: &media.H265{}}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("H.265 without parameter sets: %v", err)
	}
	c := mediatest.G711(true)
	if _, err := mkv.AppendCluster(nil, c.Tracks, c.Samples, -time.Second); !fault.Is(err, fault.Invalid) {
		t.Errorf("a time before zero: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(write(f, mediatest.G711(true), 25, 0)[:2000])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := mkv.NewReader(bytes.NewReader(b))
		for {
			e, err := r.Next()
			if err != nil {
				return
			}
			if e.Kind == mkv.EventTracks {
				got, err := media.UnmarshalTracks(media.MarshalTracks(e.Tracks))
				if err != nil || !media.EqualTracks(got, e.Tracks) {
					t.Fatalf("tracks %v come back as %v, %v", e.Tracks, got, err)
				}
			}
			if len(e.Sample.Data) > len(b)*2 {
				t.Fatalf("%d bytes of stream made a sample of %d", len(b), len(e.Sample.Data))
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	raw := write(b, mediatest.G711(true), 25, 0)
	big := mediatest.Clip{Tracks: mediatest.G711(true).Tracks}
	for i := range 100 {
		big.Samples = append(big.Samples, media.Sample{Track: 1, DTS: int64(i) * 320, Data: make([]byte, 20000)})
	}
	raw = append(raw, write(b, big, 50, 0)...)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		r := mkv.NewReader(bytes.NewReader(raw))
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
