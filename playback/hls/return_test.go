package hls

import (
	"testing"
	"time"

	"penstock/playback/internal/playtest"
)

// A viewer comes while a camera is silent: what the packager has seen of it then is all
// there is of that session.
func TestACameraThatReturnsToAPackagerWhichSawItsLastIsShown(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 4*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{})
	session := h.Publish(src.Tracks)
	h.Play(session, src.Shifted(time.Hour))
	h.list("live.m3u8")
	h.End(session, nil)
	h.Clock.Set(h.Clock.Now().Add(20 * time.Second))
	session = h.Publish(src.Tracks)
	defer h.End(session, nil)
	h.Play(session, src) // an hour earlier in media time
	m := h.caughtUp()
	if last := m.Segments[len(m.Segments)-1]; last.DateTime.Before(playtest.Epoch.Add(20 * time.Second)) {
		t.Errorf("the newest segment is of %v", last.DateTime)
	}
}

// hls.js keeps what it knows of discontinuities in an array that it walks from 0.
func TestDiscontinuityNumbersAreSmallAndGoOn(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 4*time.Second)
	h := openTheatre(t, playtest.Open(t), Config{Idle: 40 * time.Millisecond})
	number := func() int {
		t.Helper()
		m := h.list("live.m3u8")
		if m.DiscontinuitySequence == nil {
			t.Fatal("no discontinuity sequence")
		}
		return *m.DiscontinuitySequence
	}
	session := h.Publish(src.Tracks)
	h.Play(session, src)
	first := number()
	if want := int(playtest.Epoch.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).Hours()); first != want {
		t.Errorf("begins at %d, want %d", first, want)
	}
	h.caughtUp()
	h.End(session, nil)
	session = h.Publish(src.Tracks)
	defer h.End(session, nil)
	h.Play(session, src)
	h.caughtUp() // with a break
	h.Clock.Set(h.Clock.Now().Add(time.Second))
	for h.hls.waitingFor(h.Stream.ID) >= 0 {
		time.Sleep(time.Millisecond)
	}
	// Packagers that ended meanwhile listed the break too.
	if again := number(); again < first+1 || again > first+5 {
		t.Errorf("a new packager begins at %d, the first one ended at %d", again, first+1)
	}
}
