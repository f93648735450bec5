package rtsp

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/media"
)

// minutes notes what a Grant's owner hears.
type minutes struct {
	open
	heard chan string
}

func (m minutes) Authenticate(ctx context.Context, a Ask) (Grant, error) {
	g, err := m.open.Authenticate(ctx, a)
	g.Begin = func() { m.heard <- "begin " + a.Action.String() }
	g.Release = func() { m.heard <- "release" }
	return g, err
}

func TestMediaBeginsAtPlayAndAtRecord(t *testing.T) {
	hub := newMemHub()
	session := &memSession{h: hub, id: "door", done: make(chan struct{})}
	hub.mu.Lock()
	hub.shelf["door"] = &memStream{session: session, tracks: []media.Track{{ID: 1, Timescale: 90000,
		Codec: &media.H264{SPS: testSPS, PPS: testPPS}}}}
	hub.mu.Unlock()
	_ = session.Write(media.Sample{Track: 1, Sync: true, Data: joinUnits([][]byte{{0x65, 0x88, 1}})})
	m := minutes{heard: make(chan string, 10)}
	s := serve(t, Config{Hub: hub, Authenticator: m})
	hears := func(what string, want ...string) {
		t.Helper()
		for _, w := range want {
			select {
			case got := <-m.heard:
				if got != w {
					t.Errorf("%s: %q, want %q", what, got, w)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s: nothing, want %q", what, w)
			}
		}
		if len(m.heard) > 0 {
			t.Errorf("%s: %q too", what, <-m.heard)
		}
	}
	reader := dial(t, s, "door")
	reader.ask("DESCRIBE", reader.base, "")
	hears("DESCRIBE", "release")
	reader.ask("SETUP", reader.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	hears("SETUP")
	if code, why, _ := reader.ask("PLAY", reader.base, ""); code != 200 {
		t.Fatalf("%d %s", code, why)
	}
	hears("PLAY", "begin play")
	_ = reader.c.Close()
	hears("the reader left", "release")

	shy := dial(t, s, "yard")
	shy.ask("ANNOUNCE", shy.base, testSDP, sdpType)
	shy.ask("SETUP", shy.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
	hears("ANNOUNCE and SETUP")
	_ = shy.c.Close()
	hears("it left", "release")

	producer := dial(t, s, "yard")
	producer.record()
	hears("RECORD", "begin push")
	_ = producer.c.Close()
	hears("the producer left", "release")
}

// TestAProducerWithoutMediaIsSpokenOf has one say nothing, and one leave the parameter
// sets out: the stream says what it waits for, and what was wrong.
func TestAProducerWithoutMediaIsSpokenOf(t *testing.T) {
	bare := strings.Replace(testSDP, "sprop-parameter-sets=Z0LAKNkAeAIn5YQAAAMABAAAAwDwPGDJIA==,aMuMsg==", "", 1)
	for name, c := range map[string]struct {
		pictures uint16
		want     string
	}{"silent": {0, "closed without TEARDOWN"}, "bare": {3, "without parameter sets"}} {
		t.Run(name, func(t *testing.T) {
			hub := newMemHub()
			s := serve(t, Config{Hub: hub})
			told := func(want ...string) {
				t.Helper()
				for {
					hub.mu.Lock()
					have, change := slices.Clone(hub.told), hub.change
					hub.mu.Unlock()
					if len(have) >= len(want) {
						for i, w := range want {
							if !strings.Contains(have[i], w) || !strings.HasPrefix(have[i], "yard ") {
								t.Errorf("the hub heard %q, want %q", have[i], w)
							}
						}
						return
					}
					select {
					case <-change:
					case <-time.After(time.Minute):
						t.Fatalf("the hub heard %q, want %q", have, want)
					}
				}
			}
			w := dial(t, s, "yard")
			w.ask("ANNOUNCE", w.base, bare, sdpType)
			w.ask("SETUP", w.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
			if code, why, _ := w.ask("RECORD", w.base, ""); code != 200 {
				t.Fatalf("%d %s", code, why)
			}
			told("connecting: connected by rtsp from 127.0.0.1:")
			for i := range c.pictures {
				w.picture(i, uint32(i)*3600)
			}
			_ = w.c.Close()
			told("connecting", "idle: rtsp from 127.0.0.1:")
			hub.mu.Lock()
			defer hub.mu.Unlock()
			if last := hub.told[len(hub.told)-1]; len(hub.told) != 2 || !strings.Contains(last, c.want) {
				t.Errorf("the hub heard %q, want %q", hub.told, c.want)
			}
		})
	}
}
