package hls

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"penstock/internal/repotest"
	"penstock/playback/internal/playtest"
)

func TestAPlaylistOnDemandPlaysAllThatIsRecorded(t *testing.T) {
	a, b := playtest.Make(t, playtest.H264B, 5*time.Second), playtest.Make(t, playtest.Larger, 4*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Record(a)
	h.Clock.Set(h.Clock.Now().Add(time.Minute))
	h.Record(a)
	h.Record(b)
	m := h.list("vod.m3u8?start=-1h")
	heads := h.Heads()
	if len(m.Segments) != len(heads) || !m.Endlist || m.PlaylistType == nil || *m.PlaylistType != playlist.MediaPlaylistTypeVOD {
		t.Fatalf("%d segments of %d fragments, end %v", len(m.Segments), len(heads), m.Endlist)
	}
	breaks := 0
	for i, s := range m.Segments {
		if off := s.Duration - heads[i].Duration(); off > time.Millisecond || off < -time.Millisecond {
			t.Errorf("segment %d: EXTINF %v, the fragment lasts %v", i, s.Duration, heads[i].Duration())
		}
		if off := s.DateTime.Sub(heads[i].Start); off > time.Millisecond || off < -time.Millisecond {
			t.Errorf("segment %d: dated %v, the fragment began %v", i, s.DateTime, heads[i].Start)
		}
		if s.Duration.Round(time.Second) > time.Duration(m.TargetDuration)*time.Second {
			t.Errorf("segment %d lasts %v, target duration %d", i, s.Duration, m.TargetDuration)
		}
		if s.Discontinuity {
			breaks++
		}
	}
	if breaks != 2 {
		t.Errorf("%d discontinuities, want 2", breaks)
	}
	// Each stretch between discontinuities decodes, and holds the source.
	text := string(h.get("vod.m3u8?start=-1h"))
	var file, init []byte
	var got [][]byte
	flush := func() {
		if len(file) > len(init) {
			got = append(got, file)
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if uri, ok := strings.CutPrefix(line, `#EXT-X-MAP:URI="`); ok {
			flush()
			init = h.get(strings.TrimSuffix(uri, `"`))
			file = bytes.Clone(init)
		} else if line == "#EXT-X-DISCONTINUITY" {
			flush()
			file = bytes.Clone(init)
		} else if line != "" && line[0] != '#' {
			file = append(file, h.get(line)...)
		}
	}
	flush()
	if len(got) != 3 {
		t.Fatalf("%d stretches", len(got))
	}
	for i, want := range []playtest.Source{a, a, b} {
		playtest.Compare(t, playtest.Parse(t, got[i]), want)
		playtest.Frames(t, got[i], ".mp4")
	}
}

func TestAPlaylistOnDemandStartsInsideItsFirstFragmentAndIsNotSentTwice(t *testing.T) {
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Record(playtest.Make(t, playtest.H264, 6*time.Second))
	q := url.Values{"start": {playtest.Epoch.Add(2500 * time.Millisecond).Format(time.RFC3339Nano)}, "end": {playtest.Epoch.Add(4100 * time.Millisecond).Format(time.RFC3339Nano)}}
	target := "/vod.m3u8?" + q.Encode()
	res, body := playtest.Get(t, h.mux, target)
	into := playtest.Epoch.Add(2500 * time.Millisecond).Sub(h.Heads()[1].Start)
	if want := "#EXT-X-START:TIME-OFFSET=" + string(appendSeconds(nil, into)) + ",PRECISE=YES\n"; !strings.Contains(string(body), want) {
		t.Errorf("%q is not in\n%s", want, body)
	}
	if again, _ := playtest.Get(t, h.mux, target, "If-None-Match", res.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("the same ETag again: %s", again.Status)
	}
	zipped, data := playtest.Get(t, h.mux, target, "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, body) || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("gzip: %v, %d bytes, want %d", err, len(plain), len(body))
	}
	for query, want := range map[string]int{"start=x": 400, "end=x": 400, "start=-1h&end=-2h": 400, "start=1999-01-01T00:00:00Z&end=1999-01-02T00:00:00Z": 404, "start=1970-01-01T00:00:00Z": 400, "": 200} {
		if res, body := playtest.Get(t, h.mux, "/vod.m3u8?"+query); res.StatusCode != want {
			t.Errorf("%q: status %d, want %d: %.80s", query, res.StatusCode, want, body)
		}
	}
}

// FuzzDirectives asks for a live playlist with any directives: they are read or refused.
func FuzzDirectives(f *testing.F) {
	for _, q := range []string{"_HLS_msn=1", "_HLS_msn=1&_HLS_part=2", "_HLS_part=1", "_HLS_skip=YES", "_HLS_msn=9223372036854775807&_HLS_part=2147483647", "_HLS_msn=-1", "_HLS_msn=18446744073709551615"} {
		f.Add(q)
	}
	s := newStory(nil, 250*time.Millisecond, 2*time.Second)
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/live.m3u8", nil)
		r.URL.RawQuery = query
		d, err := parseDirectives(r)
		if err != nil {
			return
		}
		if d.part >= 0 && !d.block {
			t.Errorf("%q: a part without a segment", query)
		}
		if v := s.win.reload(d.msn, d.part); d.msn > 2000 && v != refuse {
			t.Errorf("%q: verdict %d", query, v)
		}
	})
}

// TestAPlainPlayerPlaysBothPlaylists has ffmpeg's HLS client, which knows no parts, play
// over HTTP.
func TestAPlainPlayerPlaysBothPlaylists(t *testing.T) {
	ffmpeg := repotest.Need(t, "ffmpeg")
	src := playtest.Make(t, playtest.H264, 8*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(src.Tracks)
	h.Play(session, src)
	h.caughtUp()
	server := httptest.NewServer(h.mux)
	defer server.Close()
	video, sound := playtest.FramesOf(t, ffmpeg, "-live_start_index", "0", "-t", "4", "-i", server.URL+"/live.m3u8?token=abc")
	if len(video) < 99 || len(sound) == 0 {
		t.Errorf("live: %d pictures in 4 s, %d blocks of sound", len(video), len(sound))
	}
	h.End(session, nil)
	video, _ = playtest.FramesOf(t, ffmpeg, "-i", server.URL+"/vod.m3u8?start=-1h&token=abc")
	if want := len(src.Of(src.Tracks[0].ID)); len(video) != want {
		t.Errorf("on demand: %d pictures, want %d", len(video), want)
	}
}
