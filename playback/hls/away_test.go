package hls

import (
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/playback/internal/playtest"
	"penstock/streams"
)

// impatient is a clock whose timers are over at once when asked to.
type impatient struct {
	host.Clock
	hurry atomic.Bool
}

func (c *impatient) NewTimer(d time.Duration) *time.Timer {
	if c.hurry.Load() {
		d = 0
	}
	return c.Clock.NewTimer(d)
}

func TestWithoutAProducerTheAnswerSaysWhyAndWhenToAskAgain(t *testing.T) {
	h := openTheatre(t, playtest.Open(t), Config{})
	h.Hub.SetState(h.Stream.ID, streams.Offline, "no route to host")
	for _, target := range []string{"/live.m3u8", "/live.m3u8?dvr=6h", "/live.m3u8?_HLS_msn=1&_HLS_part=0"} {
		err := h.hls.ServeLivePlaylist(httptest.NewRecorder(), httptest.NewRequest("GET", target, nil), h.Stream)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no route to host") || fault.AfterOf(err) != askLater || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, again after %v, hint %q", target, err, fault.AfterOf(err), fault.HintOf(err))
		}
	}
}

func TestAFirstRequestWaitsOnlyWhereMediaIsOnItsWay(t *testing.T) {
	src := playtest.Make(t, playtest.H264, time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	p, err := h.hls.packager(h.Stream)
	if err != nil {
		t.Fatal(err)
	}
	is := func(what string, want time.Duration) {
		t.Helper()
		if got := p.hope(); got != want {
			t.Errorf("%s: it waits %v, want %v", what, got, want)
		}
	}
	is("nobody ever produced", 0)
	for status, want := range map[streams.Status]time.Duration{streams.Connecting: callWait, streams.Offline: 0, streams.DeniedBy: 0, streams.Failed: 0, streams.Idle: 0} {
		h.Hub.SetState(h.Stream.ID, status, "")
		is(string(status), want)
	}
	session := h.Publish(src.Tracks)
	is("a producer without media yet", firstWait)
	h.Clock.Set(h.Clock.Now().Add(streams.Silence + time.Second))
	is("a producer without media for long", 0)
	h.Play(session, src)
	is("live", firstWait)
	h.Clock.Set(h.Clock.Now().Add(streams.Silence + time.Second))
	is("a producer that fell silent", 0)
	h.End(session, nil)
	is("a producer that left", 0)
}

func TestThePastOfACameraThatIsAwayIsListedAndLiveGoesOnBehindIt(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 20*time.Second)
	rig := playtest.Open(t)
	clock := &impatient{Clock: rig.Clock}
	h := openTheatre(t, rig, Config{Clock: clock})
	h.Record(src)
	h.Hub.SetState(h.Stream.ID, streams.Offline, "no route to host")
	h.Clock.Set(h.Clock.Now().Add(time.Hour))
	heads := h.Heads()

	away := h.list("live.m3u8?dvr=6h")
	if len(away.Segments) != len(heads) {
		t.Fatalf("%d segments listed of %d", len(away.Segments), len(heads))
	}
	for i, s := range away.Segments {
		if !s.DateTime.Equal(heads[i].Start.Truncate(time.Millisecond)) || s.Duration.Round(time.Second) > time.Duration(away.TargetDuration)*time.Second {
			t.Errorf("segment %d begins at %v and lasts %v, want %v, at most %d s", i, s.DateTime, s.Duration, heads[i].Start, away.TargetDuration)
		}
	}
	all := h.get(away.Map.URI)
	for _, u := range segments(away) {
		all = append(all, h.get(u)...)
	}
	got := playtest.Parse(t, all)
	playtest.Compare(t, got, matching(src, got))

	// A player that reloads hears that nothing is new, and is not sent away.
	clock.hurry.Store(true)
	next := away.MediaSequence + len(away.Segments)
	if again := h.list("live.m3u8?dvr=6h&_HLS_part=0&_HLS_msn=" + strconv.Itoa(next)); !slices.Equal(segments(again), segments(away)) {
		t.Errorf("a reload lists %v", segments(again))
	}
	clock.hurry.Store(false)

	session := h.Publish(src.Tracks)
	defer h.End(session, nil)
	h.Play(session, src)
	back := h.list("live.m3u8?dvr=6h")
	for len(back.Segments) <= len(away.Segments) { // the packager takes what the Hub has
		time.Sleep(time.Millisecond)
		back = h.list("live.m3u8?dvr=6h")
	}
	if back.MediaSequence != away.MediaSequence || back.TargetDuration != away.TargetDuration {
		t.Errorf("the list began at %d with target %d, and now at %d with %d", away.MediaSequence, away.TargetDuration, back.MediaSequence, back.TargetDuration)
	}
	for i, s := range back.Segments[:len(away.Segments)+1] {
		if i < len(away.Segments) && s.URI != away.Segments[i].URI {
			t.Errorf("segment %d was %s and is %s", i, away.Segments[i].URI, s.URI)
		}
		if first := i == len(away.Segments); s.Discontinuity != first {
			t.Errorf("segment %d: discontinuity %v", i, s.Discontinuity)
		}
	}
}
