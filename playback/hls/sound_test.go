package hls

import (
	"bytes"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"penstock/internal/repotest"
	"penstock/media"
	"penstock/playback/internal/playtest"
)

func TestG711IsHeardInLivePlaylistsSampleBySample(t *testing.T) {
	for _, muLaw := range []bool{false, true} {
		t.Run("mu-law "+strconv.FormatBool(muLaw), func(t *testing.T) {
			src := playtest.Make(t, playtest.Silent, 9*time.Second).WithG711(muLaw)
			before, after := split(src, 5200*time.Millisecond)
			h := openTheatre(t, playtest.Open(t), Config{})
			session := h.Publish(src.Tracks)
			defer h.End(session, nil)
			h.Play(session, before)
			h.list("live.m3u8")
			h.Play(session, after)
			m := h.caughtUp()
			checkTargets(t, m)
			for _, all := range [][]byte{h.fetch(m, parts(m)), h.fetch(m, segments(m))} {
				got := playtest.Parse(t, all)
				playtest.CompareG711(t, all, matching(src, got))
				playtest.Frames(t, all, ".mp4")
			}
			m = h.list("live.m3u8?dvr=1h")
			all := h.fetch(m, segments(m))
			playtest.CompareG711(t, all, matching(src, playtest.Parse(t, all)))
		})
	}
}

func TestG711IsHeardOnDemandSampleBySample(t *testing.T) {
	src := playtest.Make(t, playtest.H264B, 7*time.Second)
	src = playtest.Source{Tracks: src.Tracks[:1], Samples: src.Of(src.Tracks[0].ID), Length: src.Length}.WithG711(false)
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Record(src.Shifted(100 * time.Hour))
	m := h.list("vod.m3u8?start=-1h")
	all := h.fetch(m, segments(m))
	playtest.CompareG711(t, all, src)
	server := httptest.NewServer(h.mux)
	defer server.Close()
	ffmpeg := repotest.Need(t, "ffmpeg")
	if got := playtest.PCMOf(t, ffmpeg, "-i", server.URL+"/vod.m3u8?start=-1h"); !bytes.Equal(got, src.PCM()) {
		t.Errorf("ffmpeg's HLS client makes %d bytes of PCM that are not the %d of the source", len(got), len(src.PCM()))
	}
}

// Browsers play frames one after another: where packets are missing the next would come
// too early, and sound would run away from its pictures.
func TestLostG711IsSilence(t *testing.T) {
	src := playtest.Make(t, playtest.Silent, 9*time.Second).WithG711(true).
		Losing(500*time.Millisecond, 520*time.Millisecond, 3*time.Second, 3700*time.Millisecond, 5*time.Second, 5060*time.Millisecond)
	before, after := split(src, 2500*time.Millisecond)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(src.Tracks)
	h.Play(session, before)
	h.list("live.m3u8")
	h.Play(session, after)
	m := h.caughtUp()
	want := src.PCM()
	live := append(segments(m), parts(m)[len(parts(m))-len(m.Parts):]...)
	if got := playtest.PCM(t, h.fetch(m, live), ".mp4"); len(got) < 16_000*8 || !bytes.HasPrefix(want, got) {
		t.Errorf("live: %d bytes of PCM are not the first of the source's %d", len(got), len(want))
	}
	h.End(session, nil)
	m = h.list("vod.m3u8?start=-1h")
	if got := playtest.PCM(t, h.fetch(m, segments(m)), ".mp4"); !bytes.Equal(got, want) {
		t.Errorf("on demand: %d bytes of PCM are not the source's %d", len(got), len(want))
	}
}

func TestG711AloneIsAStream(t *testing.T) {
	all := playtest.Make(t, playtest.Silent, 7*time.Second).WithG711(true)
	src := playtest.Source{Tracks: all.Tracks[1:], Samples: all.Of(2), Length: all.Length}
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Record(src)
	m := h.list("vod.m3u8?start=-1h")
	playtest.CompareG711(t, h.fetch(m, segments(m)), src)
}

// A camera that comes back with the other law has another decoder, and the same tracks to
// a player.
func TestACameraThatChangesItsLawIsHeardByTheNewOne(t *testing.T) {
	video := playtest.Make(t, playtest.Silent, 4*time.Second)
	a, b := video.WithG711(false), video.WithG711(true)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(a.Tracks)
	before, after := split(a, 2*time.Second)
	h.Play(session, before)
	h.list("live.m3u8")
	h.Play(session, after)
	h.caughtUp()
	h.End(session, nil)
	session = h.Publish(b.Tracks)
	defer h.End(session, nil)
	h.Play(session, b)
	m := h.caughtUp()
	inits := bytes.Count(h.get("live.m3u8"), []byte("#EXT-X-MAP:"))
	var heard [2][]byte
	run, breaks := 0, 0
	file := bytes.NewBuffer(h.get(m.Map.URI))
	flush := func() {
		got := playtest.Parse(t, file.Bytes())
		want := matching([]playtest.Source{a, b}[run], got)
		playtest.CompareG711(t, file.Bytes(), want)
		heard[run] = want.PCM()
		file = bytes.NewBuffer(h.get(m.Map.URI))
	}
	for i, s := range m.Segments {
		if s.Discontinuity && i > 0 {
			flush()
			run, breaks = 1, breaks+1
		}
		file.Write(h.get(s.URI))
	}
	for _, p := range m.Parts {
		file.Write(h.get(p.URI))
	}
	flush()
	if breaks != 1 || inits != 1 {
		t.Errorf("%d breaks, %d initialization sections; want one of each", breaks, inits)
	}
	if most := 16_000 * 4; len(heard[0]) < most-2*8_000 || len(heard[1]) < most-2*8_000 {
		t.Errorf("%d and %d bytes of PCM were heard, of %d each", len(heard[0]), len(heard[1]), most)
	}
}

// BenchmarkSound packages a second of G.711 beside 25 pictures per op.
func BenchmarkSound(b *testing.B) {
	src := playtest.Make(b, playtest.Silent, time.Second).WithG711(false)
	for _, c := range []struct {
		name   string
		tracks []media.Track
	}{{"with sound", src.Tracks}, {"without", src.Tracks[:1]}} {
		b.Run(c.name, func(b *testing.B) {
			p := &packager{s: &Server{}, inits: map[string][]byte{}, changed: make(chan struct{})}
			p.win = newWindow(1, 200*time.Millisecond, 2*time.Second, 64<<20)
			p.cut = cutter{out: packagerOutput{p}, partTarget: p.win.partTarget, segmentMax: 2*time.Second + segmentSlack}
			if err := p.tracks(c.tracks); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.cut.fragment(1)
				for _, s := range src.Samples {
					track, _ := media.FindTrack(src.Tracks, s.Track)
					s.DTS += int64(i) * int64(track.Timescale)
					p.cut.add(s, playtest.Epoch.Add(track.Duration(s.DTS)))
				}
			}
		})
	}
}
