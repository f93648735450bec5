package playtest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"

	"penstock/internal/repotest"
	"penstock/media"
)

// Silent is H264 without sound.
var Silent = []string{"-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-an"}

// WithG711 returns s with a track of G.711 as cameras send it: a packet of 20 ms of sound
// that has every octet, from the start of s to its end.
func (s Source) WithG711(muLaw bool) Source {
	const rate, packet = 8000, 160
	out := Source{Tracks: slices.Clone(s.Tracks), Samples: slices.Clone(s.Samples), Length: s.Length}
	track := media.Track{ID: media.TrackID(len(s.Tracks) + 1), Timescale: rate, Codec: &media.G711{MuLaw: muLaw, SampleRate: rate, Channels: 1}}
	out.Tracks = append(out.Tracks, track)
	r := rand.New(rand.NewPCG(7, 11))
	for i := range int64(s.Length / (20 * time.Millisecond)) {
		data := make([]byte, packet)
		for k := range data {
			data[k] = byte(i/2 + r.Int64N(1+i%50)) // quiet and loud
		}
		out.Samples = append(out.Samples, media.Sample{Track: track.ID, DTS: i * packet, Sync: true, Data: data})
	}
	out.order()
	return out
}

// Losing returns s without the packets of G.711 that started in any of the stretches
// [from, to), given in pairs.
func (s Source) Losing(stretches ...time.Duration) Source {
	out := Source{Tracks: s.Tracks, Length: s.Length}
	out.Samples = slices.DeleteFunc(slices.Clone(s.Samples), func(x media.Sample) bool {
		track, _ := media.FindTrack(s.Tracks, x.Track)
		if _, ok := track.Codec.(*media.G711); !ok {
			return false
		}
		at := track.Duration(x.DTS)
		for i := 0; i+1 < len(stretches); i += 2 {
			if at >= stretches[i] && at < stretches[i+1] {
				return true
			}
		}
		return false
	})
	return out
}

// CompareG711 is Compare of a fragmented MP4 with a source that has G.711: its pictures
// must be want's, and its sound FLAC, a frame a packet at the packet's time, of which
// ffmpeg makes exactly the PCM that the source is.
func CompareG711(t testing.TB, file []byte, want Source) {
	t.Helper()
	got := Parse(t, file)
	if len(got.Tracks) != len(want.Tracks) {
		t.Errorf("%d tracks, want %d", len(got.Tracks), len(want.Tracks))
		return
	}
	for i, track := range want.Tracks {
		law, ok := track.Codec.(*media.G711)
		if !ok {
			continue
		}
		if f, ok := got.Tracks[i].Codec.(*media.FLAC); !ok || f.SampleRate != law.SampleRate || f.Channels != law.Channels || got.Tracks[i].Timescale != track.Timescale {
			t.Errorf("track %d is %+v, want FLAC of %+v", track.ID, got.Tracks[i], track)
			return
		}
		if had := PCM(t, file, ".mp4"); !bytes.Equal(had, want.PCM()) {
			t.Errorf("%d bytes of PCM are not the %d of the source", len(had), len(want.PCM()))
		}
		// All but the bytes is Compare's to judge.
		got.Tracks[i].Codec = law
		frames, packets := got.Of(got.Tracks[i].ID), want.Of(track.ID)
		for k := range frames[:min(len(frames), len(packets))] {
			frames[k].Data = packets[k].Data
		}
		got.Samples = slices.DeleteFunc(got.Samples, func(s media.Sample) bool { return s.Track == got.Tracks[i].ID })
		got.Samples = append(got.Samples, frames...)
	}
	Compare(t, got, want)
}

// PCM is the G.711 of s as 16-bit little-endian PCM, by a decoder that is not ours, with
// zeros where packets are missing.
func (s Source) PCM() (pcm []byte) {
	next := int64(-1)
	for _, x := range s.Samples {
		track, _ := media.FindTrack(s.Tracks, x.Track)
		law, ok := track.Codec.(*media.G711)
		if !ok {
			continue
		}
		if next >= 0 {
			pcm = append(pcm, make([]byte, 2*(x.DTS-next))...)
		}
		next = x.DTS + int64(len(x.Data))
		if law.MuLaw {
			var m g711.Mulaw
			m.Unmarshal(x.Data)
			pcm = append(pcm, m...)
		} else {
			var a g711.Alaw
			a.Unmarshal(x.Data)
			pcm = append(pcm, a...)
		}
	}
	for i := 0; i+1 < len(pcm); i += 2 {
		pcm[i], pcm[i+1] = pcm[i+1], pcm[i]
	}
	return pcm
}

// PCM has ffmpeg decode the sound of data to 16-bit little-endian PCM. Any complaint fails
// the test.
func PCM(t testing.TB, data []byte, ext string) []byte {
	t.Helper()
	ffmpeg := repotest.Need(t, "ffmpeg")
	file := filepath.Join(t.TempDir(), "served"+ext)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return PCMOf(t, ffmpeg, "-i", file)
}

// PCMOf is PCM of any ffmpeg input.
func PCMOf(t testing.TB, ffmpeg string, input ...string) []byte {
	t.Helper()
	var out, words bytes.Buffer
	args := append([]string{"-hide_banner", "-nostdin", "-v", "error", "-xerror", "-err_detect", "crccheck+explode"}, input...)
	cmd := repotest.Command(t, ffmpeg, append(args, "-map", "0:a", "-f", "s16le", "-")...)
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil || words.Len() > 0 {
		t.Fatalf("ffmpeg %v: %v\n%s", cmd.Args, err, words.String())
	}
	return out.Bytes()
}
