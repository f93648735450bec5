package hls

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
	"penstock/media"
	"penstock/playback/internal/playtest"
)

// BenchmarkPackage cuts and packages a 25 fps stream of 3 Mb/s with one sample per op.
func BenchmarkPackage(b *testing.B) {
	src := playtest.Make(b, playtest.H264, 2*time.Second)
	track := src.Tracks[0]
	data := make([]byte, 15_000)
	p := &packager{s: &Server{}, inits: map[string][]byte{}, changed: make(chan struct{})}
	p.win = newWindow(1, 250*time.Millisecond, 2*time.Second, 64<<20)
	p.cut = cutter{out: packagerOutput{p}, partTarget: p.win.partTarget, segmentMax: 2*time.Second + segmentSlack}
	p.playable = []media.Track{track}
	p.cut.tracksChanged(p.playable, 40*time.Millisecond)
	step := track.Ticks(40 * time.Millisecond)
	now := playtest.Epoch
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for i := 0; b.Loop(); i++ {
		if i%50 == 0 {
			p.cut.fragment(1)
		}
		p.cut.add(media.Sample{Track: track.ID, DTS: int64(i) * step, Sync: i%50 == 0, Data: data}, now.Add(time.Duration(i)*40*time.Millisecond))
	}
}

// BenchmarkPlaylist is one viewer's reload of an unchanged playlist.
func BenchmarkPlaylist(b *testing.B) {
	src := playtest.Make(b, playtest.H264, 8*time.Second)
	rig := playtest.Open(b)
	session := rig.Publish(src.Tracks)
	defer func() { _ = session.Close(nil) }()
	rig.Play(session, src)
	s, err := New(Config{Hub: rig.Hub, Clock: rig.Clock})
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(b.Context()) })
	for !s.started() {
		time.Sleep(time.Millisecond)
	}
	h := playtest.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.ServeLivePlaylist(w, r, rig.Stream) })
	r := httptest.NewRequest("GET", "/live.m3u8", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// TestLatencyFromWriteToViewer measures on the machine's time how long after the camera
// wrote a frame a viewer holds the part with it.
func TestLatencyFromWriteToViewer(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 6*time.Second)
	h := openTheatre(t, playtest.OpenLive(t), Config{})
	session := h.Publish(src.Tracks)
	server := httptest.NewServer(h.mux)
	defer server.Close()
	var mu sync.Mutex
	wrote := map[int64]time.Time{}
	lead := src.Tracks[0]
	var camera sync.WaitGroup
	camera.Go(func() {
		defer func() { _ = session.Close(nil) }()
		shown := time.Duration(0)
		for _, x := range src.Samples {
			track, _ := media.FindTrack(src.Tracks, x.Track)
			at := track.Duration(x.DTS)
			time.Sleep(at - shown) // a machine that is late makes a camera that is late
			shown = max(shown, at)
			if x.Track == lead.ID {
				mu.Lock()
				wrote[x.DTS] = time.Now()
				mu.Unlock()
			}
			if err := session.Write(x); err != nil {
				t.Error(err)
				return
			}
		}
	})
	time.Sleep(1500 * time.Millisecond) // a viewer comes to a running camera
	pulse, asked := hosttest.Feel(t), time.Now()
	m := h.list("live.m3u8")
	init := h.get(m.Map.URI)
	var first time.Duration
	var delays []time.Duration
	uri := parts(m)
	seen := map[string]bool{}
	for len(delays) < 60 {
		for _, u := range uri {
			if seen[u] {
				continue
			}
			seen[u] = true
			part := h.get(u)
			now := time.Now()
			if first == 0 {
				first = pulse.Took(asked)
				continue // what was there before the viewer came is not late
			}
			for _, x := range playtest.Parse(t, append(slices.Clone(init), part...)).Of(lead.ID) {
				mu.Lock()
				if at := wrote[x.DTS]; at.After(asked) {
					delays = append(delays, now.Sub(at)-pulse.Between(at, now))
				}
				mu.Unlock()
			}
		}
		next := m.MediaSequence + len(m.Segments)
		m = h.list("live.m3u8?_HLS_msn=" + strconv.Itoa(next) + "&_HLS_part=" + strconv.Itoa(len(m.Parts)))
		uri = parts(m)
	}
	camera.Wait()
	slices.Sort(delays)
	p50, p95 := delays[len(delays)/2], delays[len(delays)*95/100]
	t.Logf("first part after %v; camera to viewer p50 %v, p95 %v over %d frames", first, p50, p95, len(delays))
	// A part of a quarter of a second cannot be quicker for its first frame; the rest of
	// this bound is for a busy machine.
	if p50 > 400*time.Millisecond || first > 800*time.Millisecond {
		t.Errorf("first part after %v, p50 %v", first, p50)
	}
}
