package probe

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/ingest/camera"
	"penstock/internal/camsim"
	"penstock/internal/host"
	"penstock/internal/secret"
	"penstock/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what ends by itself: no machine stands still for so long.
const patience = time.Minute

// hasty is a clock that waits only a moment for what will not come.
type hasty struct{ host.System }

func (hasty) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d / 60) }

func serve(t *testing.T, c camsim.ServerConfig) *camsim.Server {
	t.Helper()
	s, err := camsim.Serve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func probe(t *testing.T, c Config, r Request) Report {
	t.Helper()
	var told []Step
	rep, err := New(c).Probe(t.Context(), r, func(s Step) { told = append(told, s) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != len(rep.Steps) {
		t.Errorf("%d steps told, %d reported", len(told), len(rep.Steps))
	}
	for i, s := range rep.Steps {
		if i < len(told) && told[i] != s {
			t.Errorf("step %d was told as %+v, reported as %+v", i, told[i], s)
		}
		if !s.OK && s.Try == "" {
			t.Errorf("%s broke, and there is no next step: %s", s.Step, s.Detail)
		}
		if s.Detail == "" {
			t.Errorf("%s says nothing", s.Step)
		}
		t.Logf("%-16s %-5v %s | %s", s.Step, s.OK, s.Detail, s.Try)
	}
	return rep
}

func last(r Report) Step { return r.Steps[len(r.Steps)-1] }

func find(t *testing.T, r Report, rung string) Step {
	t.Helper()
	for _, s := range r.Steps {
		if s.Step == rung {
			return s
		}
	}
	t.Fatalf("no step %q", rung)
	return Step{}
}

func TestLadderOfAGoodCamera(t *testing.T) {
	t.Parallel()
	s := serve(t, camsim.ServerConfig{Auth: camsim.Digest, Username: "u", Password: "p@ss/word", Faults: camsim.Faults{ClockOffset: 500 * time.Millisecond}})
	jpeg := []byte("jpeg")
	rep := probe(t, Config{Rung: patience, Watch: patience, Voice: patience, Picture: func(_ context.Context, tr media.Track, k media.Sample) ([]byte, error) {
		if !k.Sync || len(k.Data) == 0 || tr.Codec.Name() != "h264" {
			return nil, errors.New("no key frame")
		}
		return jpeg, nil
	}}, Request{URL: s.URL(0), Username: "u", Password: secret.New("p@ss/word")})
	want := []string{Resolves, Reached, Answers, SignedIn, Described, SetUp, Packets, KeyFrame, ClockRung, Picture, TwoWay}
	var got []string
	for _, st := range rep.Steps {
		got = append(got, st.Step)
		if !st.OK {
			t.Errorf("%s: %s", st.Step, st.Detail)
		}
	}
	if strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("rungs %v", got)
	}
	if !rep.OK || string(rep.JPEG) != "jpeg" || rep.Transport != camera.TCP || len(rep.Tracks) != 1 {
		t.Errorf("report %+v", rep)
	}
	if rep.KeyInterval < 1900*time.Millisecond || rep.KeyInterval > 2100*time.Millisecond {
		t.Errorf("key frames every %v, want 2 s", rep.KeyInterval)
	}
	if !rep.HasClock || rep.ClockOffset < 300*time.Millisecond || rep.ClockOffset > 600*time.Millisecond {
		t.Errorf("clock offset %v, want 0.5 s", rep.ClockOffset)
	}
	for _, st := range rep.Steps {
		if strings.Contains(st.Detail+st.Try+rep.URL, "p@ss") {
			t.Errorf("%s tells the password", st.Step)
		}
	}
}

func TestEachBrokenRungSaysWhatToDo(t *testing.T) {
	clip := camsim.Record(camsim.NewDemo(), 4*time.Second)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	closed := "rtsp://" + l.Addr().String() + "/"
	unknown := func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
	for _, c := range []struct {
		name, url  string
		sim        *camsim.ServerConfig
		user, pass string
		tp         camera.Transport
		rung, try  string
	}{
		{name: "not an address", url: "http://x/", rung: Resolves, try: "rtsp://"},
		{name: "unknown name", url: "rtsp://no-such-camera.invalid/", rung: Resolves, try: "IP address"},
		{name: "port closed", url: closed, rung: Reached, try: "RTSP on"},
		{name: "wrong password", sim: &camsim.ServerConfig{Auth: camsim.Basic, Username: "a", Password: "b"}, user: "a", pass: "c", rung: SignedIn, try: "check both"},
		{name: "no password", sim: &camsim.ServerConfig{Auth: camsim.Digest, Username: "a", Password: "b"}, rung: SignedIn, try: "account"},
		{name: "wrong path", sim: &camsim.ServerConfig{Faults: camsim.Faults{OnlyPath: "x"}}, rung: Described, try: "Hikvision"},
		{name: "UDP refused", sim: &camsim.ServerConfig{Faults: camsim.Faults{RefuseUDP: true}}, tp: camera.UDP, rung: SetUp, try: "auto"},
		{name: "UDP blocked", sim: &camsim.ServerConfig{Faults: camsim.Faults{Mute: true}}, tp: camera.UDP, rung: Packets, try: "tcp"},
		{name: "nothing sent", sim: &camsim.ServerConfig{Faults: camsim.Faults{Mute: true}}, rung: Packets, try: "restart"},
		{name: "hangs up", sim: &camsim.ServerConfig{Faults: camsim.Faults{DropEvery: time.Nanosecond}}, rung: Packets, try: "restart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.sim != nil {
				c.sim.Material = clip
				c.url = serve(t, *c.sim).URL(0)
			}
			conf := Config{Rung: patience, Resolve: unknown}
			if c.sim != nil && c.sim.Faults.Mute {
				conf.Clock = hasty{}
			}
			rep := probe(t, conf, Request{URL: c.url, Username: c.user, Password: secret.New(c.pass), Transport: c.tp})
			if s := last(rep); rep.OK || s.OK || s.Step != c.rung || !strings.Contains(s.Try, c.try) {
				t.Errorf("ended at %+v, want %s with %q", s, c.rung, c.try)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	clip := camsim.Record(camsim.NewDemo(), 4*time.Second)
	t.Run("clock far off", func(t *testing.T) {
		t.Parallel()
		s := serve(t, camsim.ServerConfig{Material: clip, Faults: camsim.Faults{ClockOffset: -time.Hour}})
		rep := probe(t, Config{}, Request{URL: s.URL(0)})
		if st := find(t, rep, ClockRung); !rep.OK || st.OK || !strings.Contains(st.Try, "NTP") || !strings.Contains(st.Detail, "behind") {
			t.Errorf("%+v", st)
		}
	})
	t.Run("no sender reports", func(t *testing.T) {
		t.Parallel()
		s := serve(t, camsim.ServerConfig{Material: clip, Faults: camsim.Faults{NoSenderReports: true}})
		rep := probe(t, Config{}, Request{URL: s.URL(0)})
		if st := find(t, rep, ClockRung); !rep.OK || !st.OK || rep.HasClock {
			t.Errorf("%+v", st)
		}
	})
	t.Run("one key frame only", func(t *testing.T) {
		t.Parallel()
		s := serve(t, camsim.ServerConfig{Material: clip, Faults: camsim.Faults{NoKeyFrames: true}})
		rep := probe(t, Config{Watch: 8 * time.Second}, Request{URL: s.URL(0)})
		if st := find(t, rep, KeyFrame); !rep.OK || !strings.Contains(st.Try, "key frame interval") {
			t.Errorf("%+v", st)
		}
	})
	t.Run("no key frame at all", func(t *testing.T) {
		t.Parallel()
		s := serve(t, camsim.ServerConfig{Material: clip, Faults: camsim.Faults{NoKeyFrames: true, MidGOP: true}})
		rep := probe(t, Config{Watch: 4 * time.Second}, Request{URL: s.URL(0)})
		st := find(t, rep, KeyFrame)
		if rep.OK || st.OK || !strings.Contains(st.Try, "key frame interval") {
			t.Errorf("%+v", st)
		}
	})
}

func TestGivingUpEndsTheProbe(t *testing.T) {
	s := serve(t, camsim.ServerConfig{Faults: camsim.Faults{Mute: true}})
	ctx, cancel := context.WithCancel(t.Context())
	rep, err := New(Config{}).Probe(ctx, Request{URL: s.URL(0)}, func(st Step) {
		if st.Step == SetUp {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || rep.OK {
		t.Errorf("got %v", err)
	}
}

func TestWhetherACameraListensIsNeverAFailure(t *testing.T) {
	clip := camsim.Record(camsim.NewDemo(), 4*time.Second)
	for _, c := range []struct {
		name   string
		server camsim.ServerConfig
		want   string
		voice  string
	}{
		{"PCMU", camsim.ServerConfig{Back: camsim.PCMU, Auth: camsim.Digest, Username: "u", Password: "p@ss/word"}, "PCMU, 8 kHz", "PCMU"},
		{"PCMA", camsim.ServerConfig{Back: camsim.PCMA}, "PCMA, 8 kHz", "PCMA"},
		{"none", camsim.ServerConfig{}, "not offered", ""},
		{"551", camsim.ServerConfig{Back: camsim.PCMU, Faults: camsim.Faults{RefuseRequire: 551}}, "not offered", ""},
		{"400", camsim.ServerConfig{Back: camsim.PCMU, Faults: camsim.Faults{RefuseRequire: 400}}, "not offered", ""},
		{"503", camsim.ServerConfig{Back: camsim.PCMU, Faults: camsim.Faults{RefuseRequire: 503}}, "not known: the camera has no room", ""},
		{"codec", camsim.ServerConfig{Back: camsim.G726}, "takes only G726", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.server.Material = clip
			s := serve(t, c.server)
			rep := probe(t, Config{Rung: patience, Voice: patience}, Request{URL: s.URL(0), Username: c.server.Username, Password: secret.New(c.server.Password)})
			step := last(rep)
			if !rep.OK || step.Step != TwoWay || !step.OK || !strings.Contains(step.Detail, c.want) {
				t.Errorf("ok %v, last step %+v, want %q", rep.OK, step, c.want)
			}
			if got := rep.Voice; (got == nil) != (c.voice == "") || got != nil && got.Codec != c.voice {
				t.Errorf("voice %+v, want %q", got, c.voice)
			}
			find(t, rep, Picture)
		})
	}
}
