package live

import (
	"strings"
	"testing"
	"time"

	"penstock/playback/internal/playtest"
)

func TestG711IsHeardOverASocketSampleBySample(t *testing.T) {
	for name, muLaw := range map[string]bool{"A-law": false, "mu-law": true} {
		t.Run(name, func(t *testing.T) {
			src := playtest.Make(t, playtest.Silent, 3*time.Second).WithG711(muLaw)
			rig := playtest.Open(t)
			session := rig.Publish(src.Tracks)
			defer rig.End(session, nil)
			c, quiet := open(t, rig, Config{}, ""), open(t, rig, Config{}, "?audio=0")
			c.read(c.heard("state", 0))
			quiet.read(quiet.heard("state", 0))
			for rig.Hub.State(rig.Stream.ID).Viewers < 2 {
				time.Sleep(time.Millisecond)
			}
			rig.Play(session, src)
			c.read(c.has(0, len(src.Of(1))))
			quiet.read(quiet.has(0, len(src.Of(1))))
			got := playtest.Parse(t, c.file[0])
			if len(got.Tracks) != 2 {
				t.Fatalf("%d tracks", len(got.Tracks))
			}
			sound := got.Of(2)
			if len(sound) < 140 {
				t.Fatalf("%d frames of sound in 3 s", len(sound))
			}
			want := playtest.Source{Tracks: src.Tracks, Samples: append(src.Of(1), src.Of(2)[:len(sound)]...)}
			playtest.CompareG711(t, c.file[0], want)
			for _, m := range c.text {
				if m.Type == "init" && !strings.HasSuffix(m.MIME, `,fLaC"`) {
					t.Errorf("the type is %s", m.MIME)
				}
			}
			if got := playtest.Parse(t, quiet.file[0]); len(got.Tracks) != 1 {
				t.Errorf("%d tracks without sound", len(got.Tracks))
			}
		})
	}
}
