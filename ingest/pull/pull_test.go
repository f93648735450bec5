package pull

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/internal/camsim"
	"penstock/internal/host/hosttest"
	"penstock/internal/repotest"
	"penstock/media"
	"penstock/streams"
)

// flat is what a video sample must hold: NAL units with lengths, without what belongs
// to the transport (access unit delimiters) or is kept apart (parameter sets).
func flat(nals [][]byte, codec camsim.Codec) []byte {
	var out []byte
	for _, n := range nals {
		switch typ := n[0] & 0x1F; {
		case codec == camsim.H264 && (typ == 7 || typ == 8 || typ == 9):
			continue
		case codec == camsim.H265 && n[0]>>1&0x3F >= 32 && n[0]>>1&0x3F <= 35:
			continue
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(n)))
		out = append(out, n...)
	}
	return out
}

// split undoes the lengths.
func split(b []byte) (out [][]byte) {
	for len(b) >= 4 {
		n := binary.BigEndian.Uint32(b)
		out = append(out, b[4:4+n])
		b = b[4+n:]
	}
	return out
}

// compare checks that samples are the clip's units one after the other: bytes, order,
// decode and composition times, key frames.
func compare(t *testing.T, clip *camsim.Clip, s *sessionRecord) {
	t.Helper()
	for index, track := range clip.Streams {
		var got []media.Sample
		for _, m := range s.samples {
			if int(m.Track) == index+1 {
				got = append(got, m)
			}
		}
		var want []camsim.Unit
		reel := clip.Reel(0)
		for len(want) < 2*len(clip.Units)+len(got) {
			if u := reel.Next(); u.Track == index {
				want = append(want, u)
			}
		}
		if len(got) == 0 {
			t.Errorf("track %d: nothing came", index)
			continue
		}
		at := align(track, want, got[0])
		if at < 0 {
			t.Errorf("track %d: the first sample is none of the camera's", index)
			continue
		}
		for i, m := range got {
			u := want[at+i]
			if !bytes.Equal(payload(track, m), payloadOf(track, u)) {
				t.Fatalf("track %d: sample %d of %d differs from the camera's", index, i, len(got))
			}
			if d, w := m.DTS-got[0].DTS, u.DTS-want[at].DTS; d != w {
				t.Errorf("track %d, sample %d: decode time %d after the first, want %d", index, i, d, w)
			}
			if w := u.PTS - u.DTS - (want[at].PTS - want[at].DTS); int64(m.CTO)-int64(got[0].CTO) != w {
				t.Errorf("track %d, sample %d: composition offset %d, want %d", index, i, m.CTO-got[0].CTO, w)
			}
			if m.Sync != (u.Sync || track.Codec == camsim.AAC) {
				t.Errorf("track %d, sample %d: sync is %v", index, i, m.Sync)
			}
		}
	}
}

func payload(t camsim.Track, m media.Sample) []byte {
	if t.Codec == camsim.AAC {
		return m.Data
	}
	return flat(split(m.Data), t.Codec)
}

func payloadOf(t camsim.Track, u camsim.Unit) []byte {
	if t.Codec == camsim.AAC {
		return u.Frame
	}
	return flat(u.NALs, t.Codec)
}

func align(t camsim.Track, want []camsim.Unit, first media.Sample) int {
	for i, u := range want {
		if bytes.Equal(payload(t, first), payloadOf(t, u)) {
			return i
		}
	}
	return -1
}

// film makes an .mp4 with ffmpeg.
func film(t *testing.T, args ...string) *camsim.Clip {
	t.Helper()
	ffmpeg := repotest.Need(t, "ffmpeg")
	name := filepath.Join(t.TempDir(), "film.mp4")
	args = append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "4"}, args...)
	if out, err := repotest.Command(t, ffmpeg, append(args, name)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	c, err := camsim.Load(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatArrivesIsWhatTheCameraSent(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"H.264 and AAC", []string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-c:a", "aac"}},
		{"H.264 with B frames", []string{"-map", "0:v", "-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "2"}},
		{"H.265 with B frames", []string{"-map", "0:v", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=25:bframes=2:log-level=error", "-tag:v", "hvc1"}},
	} {
		clip := film(t, c.args...)
		for _, tp := range []streams.Transport{streams.TCP, streams.UDP} {
			t.Run(c.name+" over "+string(tp), func(t *testing.T) {
				t.Parallel()
				s := cameras(t, camsim.ServerConfig{Material: clip})
				r := start(t, Config{})
				r.add("a", s.URL(0), "", "", tp)
				r.hub.wait(t, "100 samples", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count >= 100 })
				r.changes <- streams.Change{Kind: streams.Deleted, Stream: streams.Stream{ID: "a"}}
				r.hub.wait(t, "the session's end", func() bool { return r.hub.sessions[0].closed })
				rec := r.hub.sessions[0]
				if rec.lost != 0 {
					t.Errorf("%d packets lost", rec.lost)
				}
				compare(t, clip, rec)
			})
		}
	}
}

func shortClip() *camsim.Clip { return camsim.Record(camsim.NewDemo(), 4*time.Second) }

func TestParameterSetsInBandOnly(t *testing.T) {
	t.Parallel()
	clip := shortClip()
	s := cameras(t, camsim.ServerConfig{Material: clip, Faults: camsim.Faults{InBandOnly: true}})
	r := start(t, Config{})
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "30 samples", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count >= 30 })
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	compare(t, clip, r.hub.sessions[0])
}

func TestCodecChangeMidStreamKeepsTheSession(t *testing.T) {
	t.Parallel()
	second := film(t, "-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-bsf:v", "dump_extra=freq=keyframe")
	s := cameras(t, camsim.ServerConfig{Material: shortClip(), Second: second, Faults: camsim.Faults{ChangeAfter: time.Second}})
	r := start(t, Config{})
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "other tracks", func() bool { return len(r.hub.sessions) > 0 && len(r.hub.sessions[0].tracks) > 1 })
	r.hub.wait(t, "samples after the change", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count > 60 })
}

func TestCameraThatDropsIsCalledBackAtOnce(t *testing.T) {
	t.Parallel()
	s := cameras(t, camsim.ServerConfig{Material: shortClip(), Faults: camsim.Faults{DropEvery: 5 * time.Second}})
	r := start(t, Config{})
	pulse := hosttest.Feel(t)
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "three sessions", func() bool { return len(r.hub.sessions) == 3 && r.hub.sessions[2].count > 0 })
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	best := time.Hour
	for i, a := range r.hub.sessions[:2] {
		b := r.hub.sessions[i+1]
		gap := b.first.Sub(a.last) - pulse.Between(a.last, b.first)
		best = min(best, gap)
		t.Logf("gap %d: %v; %d packets lost, first sample is a key frame: %v", i, gap, b.lost, b.samples[0].Sync)
		var end streams.Ending
		if !a.closed || !errors.As(a.cause, &end) || end.Cause != fragments.CauseConnectionLost {
			t.Errorf("session %d ended with %v", i, a.cause)
		}
		if !b.samples[0].Sync || b.lost > 0 {
			t.Errorf("session %d did not begin with the first key frame", i+1)
		}
	}
	// It takes 30 ms on a machine of its own; on one that is shared, only the call that was
	// put off says something about us.
	if best > firstWait {
		t.Errorf("media paused for %v: as long as before a second call", best)
	}
	for _, state := range r.hub.told {
		if !strings.HasPrefix(state, string(streams.Connecting)) {
			t.Errorf("the camera was not called at once: %q", r.hub.told)
			break
		}
	}
	if s.Plays() != 3 {
		t.Errorf("%d sessions for 3 pieces of media", s.Plays())
	}
}

func TestCameraComesBackWithinThreeSecondsOfAnswering(t *testing.T) {
	t.Parallel()
	s := cameras(t, camsim.ServerConfig{Material: shortClip()})
	addr := s.Addr().String()
	knocked := make(chan struct{}, 100)
	r := start(t, Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			knocked <- struct{}{}
		}
		return c, err
	}})
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "media", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count > 0 })
	s.Close()
	r.hub.wait(t, "offline", func() bool { return strings.HasPrefix(r.hub.states["a"], "offline: ") })
	if got := r.state("a"); !strings.Contains(got, "refuses connections") || !strings.Contains(got, "switch RTSP on") {
		t.Errorf("state %q", got)
	}
	for range 5 { // the outage lasts five tries
		<-knocked
	}
	back := cameras(t, camsim.ServerConfig{Listen: addr, Material: shortClip()})
	pulse, since := hosttest.Feel(t), time.Now()
	r.hub.wait(t, "media again", func() bool { return len(r.hub.sessions) == 2 && r.hub.sessions[1].count > 0 })
	if d := pulse.Took(since); d > 3*time.Second {
		t.Errorf("back after %v", d)
	} else {
		t.Logf("back after %v", d)
	}
	if back.Plays() != 1 {
		t.Errorf("%d sessions", back.Plays())
	}
}

func TestHalfOpenConnectionIsFound(t *testing.T) {
	t.Parallel()
	s := cameras(t, camsim.ServerConfig{Material: shortClip(), Faults: camsim.Faults{SilentAfter: time.Second}})
	r := start(t, Config{})
	pulse := hosttest.Feel(t)
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "a second session", func() bool { return len(r.hub.sessions) == 2 })
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	a := r.hub.sessions[0]
	late := pulse.Between(a.last, r.hub.sessions[1].at)
	found := r.hub.sessions[1].at.Sub(a.last) - late
	t.Logf("found after %v and the %v that the machine was late", found, late)
	if found > 10*time.Second {
		t.Errorf("found after %v", found)
	}
	// A machine that stands still may find that a request had no answer in time either.
	var end streams.Ending
	if !errors.As(a.cause, &end) || end.Cause != fragments.CauseSilent && (end.Cause != fragments.CauseConnectionLost || late < time.Second) {
		t.Errorf("ended with %v", a.cause)
	}
}

func TestRefusedPasswordIsNotTriedAgainSoon(t *testing.T) {
	t.Parallel()
	s := cameras(t, camsim.ServerConfig{Material: shortClip(), Auth: camsim.Digest, Username: "u", Password: "p"})
	r := start(t, Config{})
	r.add("a", s.URL(0), "u", "wrong", streams.Auto)
	r.hub.wait(t, "denied", func() bool { return strings.HasPrefix(r.hub.states["a"], "denied: ") })
	if got := r.state("a"); !strings.Contains(got, `user "u"`) || strings.Contains(got, "wrong,") {
		t.Errorf("state %q", got)
	}
	// A new password is tried at once, not when the old one would have been.
	pulse, since := hosttest.Feel(t), time.Now()
	r.changes <- streams.Change{Kind: streams.Updated, Stream: streams.Stream{ID: "a", Name: "a", Source: sourceOf(s.URL(0), "u", "p")}}
	r.hub.wait(t, "media", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count > 0 })
	if d := pulse.Took(since); d > deniedWait/2 {
		t.Errorf("it was tried after %v", d)
	}
}

func TestMutedCameraIsReportedAndTriedTheOtherWay(t *testing.T) {
	t.Parallel()
	s := cameras(t, camsim.ServerConfig{Material: shortClip(), Faults: camsim.Faults{Mute: true}})
	r := start(t, Config{Silence: time.Second})
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "offline", func() bool {
		return strings.HasPrefix(r.hub.states["a"], "offline: ") && strings.Contains(r.hub.states["a"], "sends nothing")
	})
	if s.Plays() < 2 {
		t.Errorf("%d sessions", s.Plays())
	}
}

func TestStreamHeldByAnotherIsReported(t *testing.T) {
	s := cameras(t, camsim.ServerConfig{Material: shortClip()})
	r := start(t, Config{})
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "media", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count > 0 })
	r.hub.change(func() { r.hub.refuse = errors.New("held"); close(r.hub.sessions[0].done) })
	r.hub.wait(t, "the session's end", func() bool { return r.hub.sessions[0].closed })
	r.hub.wait(t, "the reason", func() bool { return strings.Contains(r.hub.states["a"], "another producer") })
}

func TestSourceThatIsNoAddressFails(t *testing.T) {
	r := start(t, Config{})
	r.add("a", "http://nope/", "", "", streams.Auto)
	r.hub.wait(t, "error", func() bool { return strings.Contains(r.hub.states["a"], "rtsp://") })
	r.changes <- streams.Change{Kind: streams.Updated, Stream: streams.Stream{ID: "a", Name: "a"}}
}

func TestSlotsAreFreedByCamerasThatHang(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := cameras(t, camsim.ServerConfig{Material: shortClip()})
	r := start(t, Config{Handshakes: 1})
	pulse, since := hosttest.Feel(t), time.Now()
	for i := range 3 {
		r.add(fmt.Sprint("hangs", i), "rtsp://"+l.Addr().String()+"/", "", "", streams.Auto)
	}
	r.add("good", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "media", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count > 0 })
	if d := pulse.Took(since); d > 10*time.Second { // three that hang are given up after fifteen
		t.Errorf("media after %v", d)
	}
}

func TestEveryDialGoesThroughTheConfig(t *testing.T) {
	s := cameras(t, camsim.ServerConfig{Material: shortClip()})
	refused := errors.New("address not allowed")
	r := start(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }})
	r.add("a", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "offline", func() bool { return strings.Contains(r.hub.states["a"], "not allowed") })
	if s.Plays() != 0 {
		t.Error("a connection went past Config.Dial")
	}
}

func sourceOf(url, user, pass string) *streams.Source {
	c := streams.Source{URL: url, Username: user, Transport: streams.Auto}
	_ = c.Password.UnmarshalText([]byte(pass))
	return &c
}
