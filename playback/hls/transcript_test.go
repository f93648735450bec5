package hls

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"penstock/fragments"
	"penstock/media"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// story drives a cutter and a window by hand and writes down what they do.
type story struct {
	t     *testing.T
	cut   cutter
	win   *window
	text  strings.Builder
	now   time.Time // server time of the next video frame
	dts   int64
	track media.Track
	sound media.Track
}

func newStory(t *testing.T, partTarget, target time.Duration) *story {
	s := &story{t: t, win: newWindow(1000, partTarget, target, 1<<20),
		now:   time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		track: media.Track{ID: 1, Timescale: 90000, Codec: fakeCodec{media.Video}},
		sound: media.Track{ID: 2, Timescale: 48000, Codec: fakeCodec{media.Audio}}}
	s.cut = cutter{out: s, partTarget: partTarget, segmentMax: target + segmentSlack}
	return s
}

type fakeCodec struct{ kind media.Kind }

func (f fakeCodec) Name() string     { return "fake" }
func (f fakeCodec) Kind() media.Kind { return f.kind }
func (f fakeCodec) MIME() string     { return "fake" }
func (f fakeCodec) Private() []byte  { return nil }

func (s *story) begin(start time.Time, breaks bool) {
	s.win.begin(start, "aaaa", breaks)
	fmt.Fprintf(&s.text, "  segment %d begins at %s, break %v\n", s.win.current(), start.Format("05.000"), breaks)
}

func (s *story) part(samples []media.Sample, ends []int64, d time.Duration, independent bool) {
	var video, audio int
	for _, x := range samples {
		if x.Track == 1 {
			video++
		} else {
			audio++
		}
	}
	fmt.Fprintf(&s.text, "  part: %d frames, %d sounds, %v, independent %v\n", video, audio, d, independent)
	s.win.add(&part{data: make([]byte, 1000), duration: d, independent: independent})
}

func (s *story) end(d time.Duration, n fragments.Number) {
	fmt.Fprintf(&s.text, "  segment ends after %v, fragment %d\n", d, n)
	s.win.end(d, n)
}

// frames adds n frames step apart; the first is a key frame.
func (s *story) frames(n int, step time.Duration) {
	for i := range n {
		s.cut.add(media.Sample{Track: 1, DTS: s.dts, Sync: i == 0}, s.now)
		s.dts += s.track.Ticks(step)
		s.now = s.now.Add(step)
	}
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(&s.text, format+"\n", args...) }

// show writes the playlist down and has an independent parser read it.
func (s *story) show(skip bool) {
	text := strings.ReplaceAll(string(s.win.render(nil, skip)), tokenMark, "")
	for line := range strings.Lines(text) {
		s.text.WriteString("    " + line)
	}
	var m playlist.Media
	if err := m.Unmarshal([]byte(text)); err != nil {
		s.t.Errorf("gohlslib refuses the playlist: %v\n%s", err, text)
	}
}

func (s *story) check(name string) {
	s.t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(s.text.String()), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if string(want) != s.text.String() {
		s.t.Errorf("transcript %s differs; run with -update and review:\n%s", name, s.text.String())
	}
}

func TestAFragmentBecomesASegmentOfParts(t *testing.T) {
	s := newStory(t, 250*time.Millisecond, 2*time.Second)
	s.cut.tracksChanged([]media.Track{s.track}, 40*time.Millisecond)
	s.cut.fragment(0)
	s.say("the first fragment, 2 s of 25 fps")
	s.frames(50, 40*time.Millisecond)
	s.say("its end, and half of the next")
	s.cut.fragment(42)
	s.frames(25, 40*time.Millisecond)
	s.show(false)
	s.check("fragment")
}

func TestAFragmentLongerThanTheTargetIsSplit(t *testing.T) {
	s := newStory(t, 250*time.Millisecond, 2*time.Second)
	s.cut.tracksChanged([]media.Track{s.track}, 40*time.Millisecond)
	s.cut.fragment(0)
	s.say("a camera that sends a key frame every 5 s")
	s.frames(125, 40*time.Millisecond)
	s.cut.fragment(43)
	s.frames(7, 40*time.Millisecond)
	s.show(false)
	s.check("long")
}

func TestBreaksAreMarked(t *testing.T) {
	s := newStory(t, 250*time.Millisecond, 2*time.Second)
	s.cut.tracksChanged([]media.Track{s.track, s.sound}, 40*time.Millisecond)
	s.cut.fragment(0)
	s.frames(10, 40*time.Millisecond)
	s.say("the camera goes away for 10 s and comes back: media time stands still")
	s.cut.fragment(44)
	s.cut.stalled()
	s.now = s.now.Add(10 * time.Second)
	s.frames(10, 40*time.Millisecond)
	s.say("the viewer's queue ran over")
	s.cut.broken()
	s.frames(10, 40*time.Millisecond)
	s.say("another camera: new tracks")
	s.cut.tracksChanged([]media.Track{s.sound, s.track}, 40*time.Millisecond)
	s.frames(10, 40*time.Millisecond)
	s.say("media time jumps an hour ahead")
	s.dts += 3600 * 90000
	s.frames(4, 40*time.Millisecond)
	s.show(false)
	s.check("breaks")
}

func TestSoundRidesAlongAndOddFrameDistancesNeverExceedTheTarget(t *testing.T) {
	s := newStory(t, 250*time.Millisecond, 2*time.Second)
	s.cut.tracksChanged([]media.Track{s.track, s.sound}, 40*time.Millisecond)
	s.cut.fragment(0)
	s.say("a frame every 40 ms, two sounds each; then a frame 600 ms late; then 100 ms apart")
	for i := range 20 {
		s.cut.add(media.Sample{Track: 1, DTS: s.dts, Sync: i == 0}, s.now)
		s.cut.add(media.Sample{Track: 2, DTS: int64(i) * 1920, Sync: true}, s.now)
		s.cut.add(media.Sample{Track: 2, DTS: int64(i)*1920 + 960, Sync: true}, s.now)
		s.dts, s.now = s.dts+3600, s.now.Add(40*time.Millisecond)
	}
	s.dts, s.now = s.dts+54000, s.now.Add(600*time.Millisecond)
	s.frames(10, 100*time.Millisecond)
	s.check("sound")
}

func TestDeltaUpdatesAndTheEndOfTheWindow(t *testing.T) {
	s := newStory(t, 250*time.Millisecond, 2*time.Second)
	s.cut.tracksChanged([]media.Track{s.track}, 40*time.Millisecond)
	s.cut.fragment(0)
	for i := range 14 {
		s.frames(50, 40*time.Millisecond)
		s.cut.fragment(fragments.Number(100 + i))
		if i == 6 {
			s.now = s.now.Add(time.Minute) // a gap that leaves the window later
		}
	}
	s.frames(3, 40*time.Millisecond)
	s.text.Reset()
	s.say("full")
	s.show(false)
	s.say("delta")
	s.show(true)
	s.check("delta")
}

func TestMemoryStaysWithinItsLimit(t *testing.T) {
	s := newStory(t, 250*time.Millisecond, 4*time.Second)
	s.win.limit = 60_000 // 60 parts, 14 s
	s.cut.tracksChanged([]media.Track{s.track}, 40*time.Millisecond)
	for i := range 200 {
		s.frames(100, 40*time.Millisecond)
		if i%2 == 0 {
			s.cut.fragment(fragments.Number(i + 1))
		} else {
			s.cut.broken()
		}
		var held int64
		for _, x := range append(s.win.segments, s.win.open) {
			if x != nil {
				held += x.size()
			}
		}
		if held != s.win.memory || held > s.win.limit {
			t.Fatalf("segment %d: window says it holds %d bytes, it holds %d, limit %d", i, s.win.memory, held, s.win.limit)
		}
	}
	gaps := 0
	for _, x := range s.win.segments {
		if x.gap != (x.dropped && x.number == 0) {
			t.Errorf("segment %d: gap %v, in memory %v, fragment %d", x.msn, x.gap, !x.dropped, x.number)
		}
		if x.gap {
			gaps++
		}
	}
	if gaps == 0 {
		t.Error("no segment became a gap, so the limit was not reached")
	}
}

// TestReloadVerdicts is the table of RFC 8216bis §6.2.5.2.
func TestReloadVerdicts(t *testing.T) {
	s := newStory(t, 250*time.Millisecond, 2*time.Second)
	s.cut.tracksChanged([]media.Track{s.track}, 40*time.Millisecond)
	s.frames(50, 40*time.Millisecond) // segment 1000: 9 parts once it ends
	s.cut.fragment(1)
	s.frames(13, 40*time.Millisecond) // segment 1001: 2 parts
	if n, m := len(s.win.segments[0].parts), len(s.win.open.parts); n != 9 || m != 2 {
		t.Fatalf("parts: %d and %d", n, m)
	}
	for _, c := range []struct {
		msn  uint64
		part int
		want verdict
		why  string
	}{
		{0, -1, answer, "long ago"},
		{1000, -1, answer, "a complete segment"},
		{1000, 3, answer, "a part of a complete segment"},
		{1000, 9, answer, "past its last part: part 0 of the next, which is there"},
		{1001, 1, answer, "the newest part"},
		{1001, 2, wait, "the next part"},
		{1001, 13, wait, "as far ahead as one may ask"},
		{1001, 14, refuse, "twelve parts ahead of the newest"},
		{1001, -1, wait, "the whole of the open segment"},
		{1002, -1, wait, "two past the last complete segment"},
		{1002, 0, wait, "the first part of the segment after the open one"},
		{1002, 12, refuse, "too many parts ahead"},
		{1003, -1, refuse, "three past the last complete segment"},
		{1003, 0, refuse, "three past, with a part"},
		{1 << 63, 0, refuse, "absurd"},
	} {
		if got := s.win.reload(c.msn, c.part); got != c.want {
			t.Errorf("_HLS_msn=%d _HLS_part=%d (%s): verdict %d, want %d", c.msn, c.part, c.why, got, c.want)
		}
	}
	for _, c := range []struct {
		msn   uint64
		index int
		want  verdict
	}{{1000, 8, answer}, {1000, 9, missing}, {1001, 0, answer}, {1001, 2, wait}, {1001, 3, missing}, {1002, 0, missing}, {999, 0, missing}} {
		if _, got := s.win.lookup(c.msn, c.index); got != c.want {
			t.Errorf("part %d.%d: verdict %d, want %d", c.msn, c.index, got, c.want)
		}
	}
}

func TestPartTargetsKeepWholeFramesAndTheirShare(t *testing.T) {
	for _, fps := range []float64{1, 2, 3, 4, 5, 6, 8, 10, 12, 12.5, 15, 20, 24, 25, 29.97, 30, 50, 59.94, 60, 120, 46.875} {
		step := time.Duration(float64(time.Second) / fps)
		target := partTargetFor(step)
		frames := max(1, (target+time.Microsecond)/step)
		share := float64(frames*step) / float64(target)
		if target < 200*time.Millisecond || target > 267*time.Millisecond && target > step+time.Millisecond {
			t.Errorf("%v fps: part target %v", fps, target)
		}
		if share < 0.85 && fps != 6 {
			t.Errorf("%v fps: parts fill %.0f %% of the target %v", fps, 100*share, target)
		}
	}
}
