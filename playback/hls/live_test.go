package hls

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"penstock/media"
	"penstock/playback"
	"penstock/playback/export"
	"penstock/playback/internal/playtest"
)

// theatre serves one stream's HLS as package web would.
type theatre struct {
	*playtest.Rig
	hls *Server
	mux *http.ServeMux
}

func openTheatre(t *testing.T, rig *playtest.Rig, c Config) *theatre {
	t.Helper()
	c.Hub = rig.Hub
	if rig.Clock != nil && c.Clock == nil {
		c.Clock = rig.Clock
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ex, err := export.New(export.Config{Hub: rig.Hub, Clock: c.Clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	for !s.started() {
		time.Sleep(time.Millisecond)
	}
	mux := http.NewServeMux()
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request) error) {
		mux.Handle(pattern, playtest.Handler(f))
	}
	handle("GET /live.m3u8", func(w http.ResponseWriter, r *http.Request) error { return s.ServeLivePlaylist(w, r, rig.Stream) })
	handle("GET /live/{file}", func(w http.ResponseWriter, r *http.Request) error {
		return s.ServeLiveFile(w, r, rig.Stream, r.PathValue("file"))
	})
	handle("GET /vod.m3u8", func(w http.ResponseWriter, r *http.Request) error { return s.ServeVOD(w, r, rig.Stream) })
	handle("GET /iframes.m3u8", func(w http.ResponseWriter, r *http.Request) error { return s.ServeKeys(w, r, rig.Stream) })
	handle("GET /master.m3u8", func(w http.ResponseWriter, r *http.Request) error { return s.ServeMaster(w, r, rig.Stream) })
	handle("GET /keys/{file}", func(w http.ResponseWriter, r *http.Request) error {
		return ex.ServeKey(w, r, rig.Stream, r.PathValue("file"))
	})
	handle("GET /fragments/{file}", func(w http.ResponseWriter, r *http.Request) error {
		return ex.ServeFragment(w, r, rig.Stream, r.PathValue("file"))
	})
	return &theatre{rig, s, mux}
}

// get fetches a URL relative to the playlists, which must answer 200.
func (h *theatre) get(target string) []byte {
	h.T.Helper()
	res, body := playtest.Get(h.T, h.mux, "/"+target)
	if res.StatusCode != http.StatusOK {
		h.T.Fatalf("GET %s: %s: %s", target, res.Status, body)
	}
	return body
}

// list fetches a playlist and has gohlslib read it.
func (h *theatre) list(target string) *playlist.Media {
	h.T.Helper()
	body := h.get(target)
	var m playlist.Media
	if err := m.Unmarshal(body); err != nil {
		h.T.Fatalf("gohlslib refuses %s: %v\n%s", target, err, body)
	}
	return &m
}

// caughtUp fetches the live playlist once it reaches the rig's time but for a part.
func (h *theatre) caughtUp() *playlist.Media {
	h.T.Helper()
	for {
		m := h.list("live.m3u8")
		var end time.Time
		for _, s := range m.Segments {
			end = s.DateTime.Add(s.Duration)
		}
		for _, p := range m.Parts {
			end = end.Add(p.Duration)
		}
		if h.Clock.Now().Sub(end) < 350*time.Millisecond {
			return m
		}
		if h.T.Failed() {
			return m
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// parts are the URIs of all listed parts, those of the open segment last.
func parts(m *playlist.Media) (uris []string) {
	for _, s := range m.Segments {
		for _, p := range s.Parts {
			uris = append(uris, p.URI)
		}
	}
	for _, p := range m.Parts {
		uris = append(uris, p.URI)
	}
	return uris
}

// fetch joins the initialization section and media.
func (h *theatre) fetch(m *playlist.Media, uris []string) []byte {
	h.T.Helper()
	var b bytes.Buffer
	b.Write(h.get(m.Map.URI))
	for _, u := range uris {
		b.Write(h.get(u))
	}
	return b.Bytes()
}

func segments(m *playlist.Media) (uris []string) {
	for _, s := range m.Segments {
		uris = append(uris, s.URI)
	}
	return uris
}

// split cuts a source after d.
func split(s playtest.Source, d time.Duration) (a, b playtest.Source) {
	a, b = playtest.Source{Tracks: s.Tracks, Length: d}, playtest.Source{Tracks: s.Tracks, Length: s.Length - d}
	for _, x := range s.Samples {
		t, _ := media.FindTrack(s.Tracks, x.Track)
		if t.Duration(x.DTS) < d {
			a.Samples = append(a.Samples, x)
		} else {
			b.Samples = append(b.Samples, x)
		}
	}
	return a, b
}

// matching returns the samples of src that got should have: as many of each track, from
// got's first on.
func matching(src, got playtest.Source) playtest.Source {
	out := playtest.Source{Tracks: src.Tracks}
	for i, t := range src.Tracks {
		have := got.Of(got.Tracks[i].ID)
		all := src.Of(t.ID)
		for len(all) > 0 && len(have) > 0 && all[0].DTS < have[0].DTS {
			all = all[1:]
		}
		out.Samples = append(out.Samples, all[:min(len(have), len(all))]...)
	}
	return out
}

// started reports whether Run runs.
func (s *Server) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx != nil
}

// waitingFor counts requests that wait for a stream's packager; -1: there is none.
func (s *Server) waitingFor(id string) int {
	s.mu.Lock()
	p := s.packagers[id]
	s.mu.Unlock()
	if p == nil {
		return -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

func TestPartsAndSegmentsCarryTheSourceSampleBySample(t *testing.T) {
	for name, kind := range map[string][]string{"h264": playtest.H264, "b-frames": playtest.H264B, "h265": playtest.H265, "sound": playtest.Sound} {
		t.Run(name, func(t *testing.T) {
			src := playtest.Make(t, kind, 9*time.Second)
			before, after := split(src, 5200*time.Millisecond)
			h := openTheatre(t, playtest.Open(t), Config{})
			session := h.Publish(src.Tracks)
			defer h.End(session, nil)
			h.Play(session, before)
			first := h.list("live.m3u8")
			if got := playtest.Parse(t, h.fetch(first, segments(first))); len(got.Samples) == 0 {
				t.Fatal("no samples before the live edge")
			}
			h.Play(session, after)
			m := h.caughtUp()
			checkTargets(t, m)

			all := h.fetch(m, parts(m))
			got := playtest.Parse(t, all)
			playtest.Compare(t, got, matching(src, got))
			lead := src.Tracks[playback.Lead(src.Tracks)]
			last := got.Of(lead.ID)
			if late := lead.Duration(src.Samples[len(src.Samples)-1].DTS - last[len(last)-1].DTS); lead.ID == src.Samples[len(src.Samples)-1].Track && late > 300*time.Millisecond {
				t.Errorf("the newest part ends %v before the newest sample", late)
			}
			playtest.Frames(t, all, ".mp4")

			all = h.fetch(m, segments(m))
			got = playtest.Parse(t, all)
			playtest.Compare(t, got, matching(src, got))
			playtest.Frames(t, all, ".mp4")
			if t.Failed() {
				t.Logf("%s", h.get("live.m3u8"))
			}
		})
	}
}

func checkTargets(t *testing.T, m *playlist.Media) {
	t.Helper()
	if m.ServerControl == nil || !m.ServerControl.CanBlockReload || m.PartInf == nil {
		t.Fatal("not a low-latency playlist")
	}
	target := m.PartInf.PartTarget
	if target < 200*time.Millisecond || target > 267*time.Millisecond {
		t.Errorf("part target %v", target)
	}
	if hold := *m.ServerControl.PartHoldBack; hold < 3*target {
		t.Errorf("PART-HOLD-BACK %v is less than three part targets of %v", hold, target)
	}
	for _, s := range m.Segments {
		if s.Duration.Round(time.Second) > time.Duration(m.TargetDuration)*time.Second {
			t.Errorf("segment %s lasts %v, target duration is %d s", s.URI, s.Duration, m.TargetDuration)
		}
		var sum time.Duration
		for _, p := range s.Parts {
			if sum += p.Duration; p.Duration > target {
				t.Errorf("part %s lasts %v, target is %v", p.URI, p.Duration, target)
			}
		}
		if off := sum - s.Duration; len(s.Parts) > 0 && (off > 50*time.Millisecond || off < -50*time.Millisecond) {
			t.Errorf("parts of %s last %v, the segment %v", s.URI, sum, s.Duration)
		}
	}
}

func TestABlockingReloadReturnsWithThePartThatWasAskedFor(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 8*time.Second)
	before, after := split(src, 5*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(src.Tracks)
	defer h.End(session, nil)
	h.Play(session, before)
	m := h.caughtUp()
	next, index := m.MediaSequence+len(m.Segments), len(m.Parts)
	done := make(chan *playlist.Media, 1)
	hint := make(chan []byte, 1)
	go func() {
		q := url.Values{"_HLS_msn": {strconv.Itoa(next)}, "_HLS_part": {strconv.Itoa(index)}}
		done <- h.list("live.m3u8?" + q.Encode())
	}()
	go func() { hint <- h.get(m.PreloadHint.URI) }()
	// An unfinished part is published when no more frames come: then they need not wait.
	for h.hls.waitingFor(h.Stream.ID) < 2 && len(done)+len(hint) < 2 {
		time.Sleep(time.Millisecond)
	}
	h.Play(session, after)
	got := <-done
	if have := got.MediaSequence + len(got.Segments); have < next || have == next && len(got.Parts) <= index {
		t.Errorf("asked for part %d of %d, got a playlist up to part %d of %d", index, next, len(got.Parts), have)
	}
	data := <-hint
	if now := h.get(m.PreloadHint.URI); !bytes.Equal(data, now) {
		t.Error("the part that was hinted at is not the part that came")
	}
	for _, c := range []struct {
		query string
		want  int
	}{
		{"_HLS_msn=99999999999", 400}, {"_HLS_part=1", 400}, {"_HLS_msn=x", 400}, {"_HLS_msn=-1", 400},
		{"_HLS_msn=" + strconv.Itoa(next) + "&_HLS_part=x", 400}, {"_HLS_msn=0", 200}, {"_HLS_skip=YES", 200}, {"_HLS_skip=v2", 200}, {"_HLS_skip=no", 200},
	} {
		if res, _ := playtest.Get(t, h.mux, "/live.m3u8?"+c.query); res.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", c.query, res.StatusCode, c.want)
		}
	}
	for _, file := range []string{"live/1.0.m4s", "live/x.m4s", "live/init-zzz.mp4", "live/1.m4s", "live/1.2.3.m4s", "live/-1.0.m4s"} {
		if res, _ := playtest.Get(t, h.mux, "/"+file); res.StatusCode != 404 {
			t.Errorf("%s: status %d, want 404", file, res.StatusCode)
		}
	}
}

func TestABlockedRequestEndsWithTheViewerOrItsLimit(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 3*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(src.Tracks)
	defer h.End(session, nil)
	h.Play(session, src)
	m := h.caughtUp()
	ctx, cancel := context.WithCancel(context.Background())
	r := httptest.NewRequest("GET", "/live.m3u8?_HLS_msn="+strconv.Itoa(m.MediaSequence+len(m.Segments)+1), nil).WithContext(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.mux.ServeHTTP(httptest.NewRecorder(), r)
	}()
	for h.hls.waitingFor(h.Stream.ID) < 1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
}

func TestTheTokenOfThePlaylistIsInAllItsURLs(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 5*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(src.Tracks)
	h.Play(session, src)
	live := string(h.get("live.m3u8?token=a%22%0Ab"))
	h.End(session, nil)
	vod := string(h.get("vod.m3u8?start=-1h&token=a%22%0Ab"))
	for name, text := range map[string]string{"live": live, "vod": vod} {
		urls := strings.Count(text, ".m4s") + strings.Count(text, ".mp4")
		if n := strings.Count(text, "?token=a%22%0Ab"); n != urls || n == 0 {
			t.Errorf("%s: %d URLs, %d with the token\n%s", name, urls, n, text)
		}
	}
}

func TestAPackagerEndsWhenNobodyAsksAndItsNumbersGoOn(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 4*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{Idle: 40 * time.Millisecond})
	session := h.Publish(src.Tracks)
	defer h.End(session, nil)
	h.Play(session, src)
	m := h.list("live.m3u8")
	h.Clock.Set(h.Clock.Now().Add(time.Second))
	for h.hls.waitingFor(h.Stream.ID) >= 0 {
		time.Sleep(time.Millisecond)
	}
	if n := h.list("live.m3u8"); n.MediaSequence < m.MediaSequence+len(m.Segments) {
		t.Errorf("a new packager begins at %d, the last one listed %d segments from %d", n.MediaSequence, len(m.Segments), m.MediaSequence)
	}
}

func TestConfigurationChangesAndReturnsAreDiscontinuities(t *testing.T) {
	a, b := playtest.Make(t, playtest.H264, 4*time.Second), playtest.Make(t, playtest.Larger, 4*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(a.Tracks)
	h.Play(session, a)
	h.caughtUp()
	if err := session.SetTracks(b.Tracks); err != nil {
		t.Fatal(err)
	}
	h.Play(session, b.Shifted(4*time.Second))
	h.End(session, nil)
	h.Clock.Set(h.Clock.Now().Add(20 * time.Second))
	session = h.Publish(b.Tracks)
	defer h.End(session, nil)
	h.Play(session, b)
	h.caughtUp()
	text := string(h.get("live.m3u8"))
	if n := strings.Count(text, "#EXT-X-DISCONTINUITY\n"); n != 2 {
		t.Errorf("%d discontinuities, want 2:\n%s", n, text)
	}
	if n := strings.Count(text, "#EXT-X-MAP"); n != 2 {
		t.Errorf("%d initialization sections, want 2:\n%s", n, text)
	}
	// Each run plays with its own initialization section.
	var file bytes.Buffer
	var init []byte
	played := 0
	flush := func() {
		if file.Len() > len(init) {
			video, _ := playtest.Frames(t, file.Bytes(), ".mp4")
			played += len(video)
		}
		file.Reset()
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if uri, ok := strings.CutPrefix(line, `#EXT-X-MAP:URI="`); ok {
			flush()
			init = h.get(strings.TrimSuffix(uri, `"`))
			file.Reset()
			file.Write(init)
		} else if line == "#EXT-X-DISCONTINUITY" {
			flush()
			file.Write(init)
		} else if line != "" && line[0] != '#' {
			file.Write(h.get(line))
		}
	}
	flush()
	if played < 250 || played > 300 {
		t.Errorf("%d pictures play, want about 300 less the open segment", played)
	}
}

func TestMetricsAndLimitsOfPackagers(t *testing.T) {
	h := openTheatre(t, playtest.Open(t), Config{Packagers: 1, Metrics: playback.NewMetrics(nil)})
	if _, err := h.hls.packager(h.Stream); err != nil {
		t.Fatal(err)
	}
	other := h.Stream
	other.ID = "other"
	if _, err := h.hls.packager(other); playtest.Status(err) != 429 {
		t.Errorf("a second packager: %v, want throttled", err)
	}
}

func TestALivePlaylistReachesBackIntoTheRecording(t *testing.T) {
	first := playtest.Make(t, playtest.H264, 20*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Record(first)
	h.Clock.Set(h.Clock.Now().Add(5 * time.Minute)) // nothing for a while: outside of the window
	session := h.Publish(first.Tracks)
	defer h.End(session, nil)
	h.Play(session, first)
	short, long := h.list("live.m3u8"), h.list("live.m3u8?dvr=1h&token=abc")
	if n := len(long.Segments) - len(short.Segments); n < 8 {
		t.Fatalf("%d segments more than the %d of the live list", n, len(short.Segments))
	}
	if !short.Segments[0].DateTime.Equal(*long.Segments[short.MediaSequence-long.MediaSequence].DateTime) {
		t.Error("the two lists number segments differently")
	}
	heads, gaps := h.Heads(), 0
	if !long.Segments[0].DateTime.Equal(heads[0].Start.Truncate(time.Millisecond)) {
		t.Errorf("the list begins at %v, the recording at %v", long.Segments[0].DateTime, heads[0].Start)
	}
	for _, s := range long.Segments {
		if s.Discontinuity {
			gaps++
		}
		if len(h.get(s.URI)) == 0 {
			t.Errorf("%s is empty", s.URI)
		}
	}
	if gaps != 1 {
		t.Errorf("%d discontinuities, want 1", gaps)
	}
	if text := string(h.get("live.m3u8?dvr=1h&token=abc")); strings.Contains(text, tokenMark) || strings.Count(text, "?token=abc") < len(long.Segments) {
		t.Errorf("tokens are missing:\n%s", text)
	}
	if _, err := h.hls.packager(h.Stream); err != nil {
		t.Fatal(err)
	}
	skipped := h.list("live.m3u8?dvr=1h&_HLS_skip=YES")
	if skipped.Skip == nil || skipped.Skip.SkippedSegments+len(skipped.Segments) < len(long.Segments) {
		t.Errorf("a delta update skips %+v and lists %d of %d", skipped.Skip, len(skipped.Segments), len(long.Segments))
	}
}
