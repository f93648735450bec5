package hls

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/internal/repotest"
	"penstock/media"
	"penstock/playback/internal/playtest"
)

func TestKeyFramesOfAWindow(t *testing.T) {
	a, b := playtest.Make(t, playtest.H264B, 7*time.Second), playtest.Make(t, playtest.Larger, 5*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Record(a)
	h.Clock.Set(h.Clock.Now().Add(time.Minute))
	h.Record(b)
	heads := h.Heads()
	text := string(h.get("iframes.m3u8?start=-1h&every=0s&token=abc"))
	if !strings.Contains(text, "#EXT-X-I-FRAMES-ONLY\n") || !strings.Contains(text, "#EXT-X-ENDLIST\n") {
		t.Fatal(text)
	}
	m := h.list("iframes.m3u8?start=-1h&every=0s&token=abc")
	if len(m.Segments) != len(heads) {
		t.Fatalf("%d key frames of %d fragments\n%s", len(m.Segments), len(heads), text)
	}
	// Each plays alone, and is the first picture of its fragment, byte for byte.
	var init []byte
	i, breaks := 0, 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if uri, ok := strings.CutPrefix(line, `#EXT-X-MAP:URI="`); ok {
			init = h.get(strings.TrimSuffix(uri, `"`))
			continue
		}
		if line == "#EXT-X-DISCONTINUITY" {
			breaks++
		}
		if line == "" || line[0] == '#' {
			continue
		}
		file := append(bytes.Clone(init), h.get(line)...)
		f, err := h.Hub.Log(h.Stream).Read(t.Context(), heads[i].Number)
		if err != nil {
			t.Fatal(err)
		}
		first := f.Samples[0]
		got := playtest.Parse(t, file)
		if len(got.Tracks) != 1 || len(got.Samples) != 1 || !bytes.Equal(got.Samples[0].Data, first.Data) || got.Samples[0].DTS != first.DTS || got.Samples[0].CTO != first.CTO {
			t.Errorf("key frame %d is not its fragment's: %d tracks, %d samples", i, len(got.Tracks), len(got.Samples))
		}
		if off := m.Segments[i].Duration - heads[i].Duration(); off > time.Millisecond || off < -time.Millisecond {
			t.Errorf("key frame %d is shown %v, its fragment %v", i, m.Segments[i].Duration, heads[i].Duration())
		}
		i++
	}
	if breaks != 1 {
		t.Errorf("%d discontinuities, want 1", breaks)
	}
	// A player that knows nothing of all this shows each, and its times.
	ffmpeg := repotest.Need(t, "ffmpeg")
	server := httptest.NewServer(h.mux)
	defer server.Close()
	one := 0 // of the first run: ffmpeg does not follow a change of configuration
	for ; heads[one].Run == heads[0].Run; one++ {
	}
	window := fmt.Sprintf("/iframes.m3u8?start=-1h&every=0s&end=%d", heads[one].Start.UnixMicro())
	if video, _ := playtest.FramesOf(t, ffmpeg, "-i", server.URL+window); len(video) != one {
		t.Errorf("ffmpeg shows %d pictures of %d", len(video), one)
	}
	if m := h.list("iframes.m3u8?start=-1h&every=4s"); len(m.Segments) != 4 { // of 7 s and of 5 s: two each
		t.Errorf("%d key frames 4 s apart", len(m.Segments))
	}
	for query, want := range map[string]int{"start=-1h&every=x": 400, "start=-1h&every=-1s": 400, "start=-365d&every=1s": 400, "start=-365d&every=1h": 200,
		"start=-365d": 200, "every=10s": 400, "dvr=x": 400, "start=x": 400, "start=1999-01-01T00:00:00Z&end=1999-01-02T00:00:00Z": 404} {
		if res, body := playtest.Get(t, h.mux, "/iframes.m3u8?"+query); res.StatusCode != want {
			t.Errorf("%q: status %d, want %d: %.80s", query, res.StatusCode, want, body)
		}
	}
	n := heads[0].Number.String()
	for file, want := range map[string]int{n + "-1.m4s": 200, "init-" + n + ".mp4": 200, n + ".m4s": 404, n + "-0.m4s": 404, n + "--5.m4s": 404, n + "-x.m4s": 404,
		n + "-99999999999999999999.m4s": 404, n + "-999999999999999.m4s": 404, "1-5.m4s": 404, "x-5.m4s": 400, "init-x.mp4": 400, "init-" + n: 404, "init-" + n + ".m4s": 404} {
		if res, body := playtest.Get(t, h.mux, "/keys/"+file); res.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", file, res.StatusCode, want, body)
		}
	}
}

// TestKeyFramesAreChosen tells a picker of heads: one second each, a break, a fragment
// that begins with no key frame.
func TestKeyFramesAreChosen(t *testing.T) {
	at := pastBegin
	head := func(after time.Duration, run uint32, forced bool) fragments.Head {
		at = at.Add(after)
		h := fragments.Head{Number: fragments.Number(at.UnixMicro()), Start: at, End: at.Add(time.Second), Run: run, Forced: forced}
		if after > time.Second {
			h.Gap = fragments.CauseConnectionLost
		}
		return h
	}
	k := keyPicker{every: 3 * time.Second}
	for i := range 8 {
		k.add(head(time.Second, 1, i == 3))
	}
	k.add(head(20*time.Second, 1, true)) // a break, without a key frame: the next one is listed
	k.add(head(time.Second, 1, false))
	k.add(head(time.Second, 2, false))
	var got strings.Builder
	for _, x := range k.done() {
		fmt.Fprintf(&got, "%v+%v run %d %v\n", x.start.Sub(pastBegin), x.shown, x.run, x.breaks)
	}
	if want := "1s+4s run 1 false\n5s+3s run 1 false\n8s+1s run 1 false\n29s+1s run 1 true\n30s+1s run 2 true\n"; got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	k = keyPicker{}
	for range keysMost {
		if !k.add(head(time.Second, 1, false)) {
			t.Fatal("it is full too early")
		}
	}
	if k.add(head(time.Second, 1, false)) {
		t.Error("it takes more than may be listed")
	}
}

// TestFarApartKeyFramesAreFoundWithoutReadingAll asks for one a minute.
func TestFarApartKeyFramesAreFoundWithoutReadingAll(t *testing.T) {
	h := openTheatre(t, playtest.Open(t), Config{})
	src := playtest.Make(t, playtest.H264, 4*time.Second)
	for range 5 {
		h.Record(src)
		h.Clock.Set(h.Clock.Now().Add(90 * time.Second))
	}
	for every, want := range map[string]int{"1m": 5, "59s": 5, "2m": 3, "1h": 1} {
		m := h.list("iframes.m3u8?start=-1h&every=" + every)
		if len(m.Segments) != want {
			t.Errorf("every %s: %d key frames, want %d", every, len(m.Segments), want)
		}
		for _, s := range m.Segments {
			if s.Duration > time.Duration(m.TargetDuration)*time.Second+500*time.Millisecond {
				t.Errorf("every %s: a key frame is shown %v, target duration %d", every, s.Duration, m.TargetDuration)
			}
			h.get(s.URI)
		}
	}
}

// TestLiveKeyFramesHaveTheLiveListsNumbers compares both lists, with the past and without.
func TestLiveKeyFramesHaveTheLiveListsNumbers(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 30*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	first, rest := split(src, 8*time.Second)
	h.Record(first)
	h.Clock.Set(h.Clock.Now().Add(time.Minute))
	session := h.Publish(rest.Tracks)
	h.Play(session, rest)
	defer h.End(session, nil)
	h.caughtUp()
	for _, query := range []string{"", "?dvr=1h"} {
		all, keys := h.list("live.m3u8"+query), h.list("iframes.m3u8"+query)
		if keys.MediaSequence != all.MediaSequence || len(keys.Segments) != len(all.Segments) || *keys.DiscontinuitySequence != *all.DiscontinuitySequence || keys.Endlist {
			t.Fatalf("%q: %d key frames from %d on, %d segments from %d on", query, len(keys.Segments), keys.MediaSequence, len(all.Segments), all.MediaSequence)
		}
		had := 0
		for i, s := range keys.Segments {
			if s.Discontinuity != all.Segments[i].Discontinuity || !s.DateTime.Equal(*all.Segments[i].DateTime) {
				t.Errorf("%q: key frame %d is not of its segment", query, i)
			}
			if !s.Gap {
				h.get(s.URI)
				had++
			}
		}
		if had < len(keys.Segments)-1 {
			t.Errorf("%q: only %d of %d key frames can be had", query, had, len(keys.Segments))
		}
	}
}

func TestAMasterPlaylistOffersBoth(t *testing.T) {
	h := openTheatre(t, playtest.Open(t), Config{})
	if res, _ := playtest.Get(t, h.mux, "/master.m3u8"); res.StatusCode != 503 {
		t.Errorf("of nothing: %s", res.Status)
	}
	h.Record(playtest.Make(t, playtest.H264, 6*time.Second))
	text := string(h.get("master.m3u8?start=-1h&token=a%2Bb"))
	q := url.Values{"start": {fmt.Sprint(h.Clock.Now().Add(-time.Hour).UnixMicro())}, "end": {fmt.Sprint(h.Clock.Now().UnixMicro())}, "token": {"a+b"}}.Encode()
	for _, want := range []string{"\nvod.m3u8?" + q + "\n", `,URI="iframes.m3u8?` + q + "\"\n", "RESOLUTION=320x180", `CODECS="avc1.`, ",mp4a.40.2\""} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if text := string(h.get("master.m3u8?dvr=6h")); !strings.Contains(text, "\nlive.m3u8?dvr=6h\n") || !strings.Contains(text, `URI="iframes.m3u8?dvr=6h"`) {
		t.Error(text)
	}
	ffmpeg := repotest.Need(t, "ffmpeg")
	server := httptest.NewServer(h.mux)
	defer server.Close()
	if video, sound := playtest.FramesOf(t, ffmpeg, "-i", server.URL+"/master.m3u8?start=-1h"); len(video) != 150 || len(sound) == 0 {
		t.Errorf("ffmpeg shows %d pictures of 150, %d blocks of sound", len(video), len(sound))
	}
}

func TestWhatNoBrowserPlaysIsSaidAtTheList(t *testing.T) {
	src := playtest.Source{Tracks: []media.Track{{ID: 1, Timescale: 90000, Codec: &media.MJPEG{}}}, Length: 3 * time.Second}
	for i := range 30 {
		src.Samples = append(src.Samples, media.Sample{Track: 1, DTS: int64(i) * 9000, Sync: true, Data: []byte{0xff, 0xd8, 0xff, 0xd9}})
	}
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Record(src)
	for _, target := range []string{"vod.m3u8?start=-1h", "iframes.m3u8?start=-1h", "master.m3u8?start=-1h", "master.m3u8",
		"fragments/init-" + h.Heads()[0].Number.String() + ".mp4", "keys/init-" + h.Heads()[0].Number.String() + ".mp4"} {
		if res, body := playtest.Get(t, h.mux, "/"+target); res.StatusCode != 400 || !strings.Contains(string(body), "mjpeg") {
			t.Errorf("%s: %s: %s", target, res.Status, body)
		}
	}
	// Beside what can be played it is left out.
	h.Clock.Set(h.Clock.Now().Add(time.Minute))
	was := len(h.Heads())
	h.Record(playtest.Make(t, playtest.H264, 4*time.Second))
	if m := h.list("vod.m3u8?start=-1h"); len(m.Segments) != len(h.Heads())-was {
		t.Errorf("%d segments listed, %d can be played", len(m.Segments), len(h.Heads())-was)
	}
	h.End(h.Publish(src.Tracks), nil)
}
