package talk

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"penstock/ingest/camera"
	"penstock/internal/camsim"
	"penstock/internal/fault"
	"penstock/internal/secret"
	"penstock/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heard is what a camera's loudspeaker was sent.
type heard struct {
	mu      sync.Mutex
	packets []*rtp.Packet
	news    chan struct{}
}

func newHeard() *heard { return &heard{news: make(chan struct{}, 1)} }

func (h *heard) say(p *rtp.Packet) {
	h.mu.Lock()
	h.packets = append(h.packets, p)
	h.mu.Unlock()
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// sound waits until n packets were heard, and returns all there are.
func (h *heard) sound(t *testing.T, n int) (octets []byte, packets []*rtp.Packet) {
	t.Helper()
	for {
		h.mu.Lock()
		packets = append([]*rtp.Packet(nil), h.packets...)
		h.mu.Unlock()
		if len(packets) >= n {
			break
		}
		select {
		case <-h.news:
		case <-t.Context().Done():
			t.Fatalf("%d packets were heard, want %d", len(packets), n)
		case <-time.After(time.Minute):
			t.Fatalf("%d packets were heard, want %d", len(packets), n)
		}
	}
	for _, p := range packets {
		octets = append(octets, p.Payload...)
	}
	return octets, packets
}

func clip() *camsim.Clip { return camsim.Record(camsim.NewDemo(), time.Second) }

func serve(t *testing.T, c camsim.ServerConfig) (*camsim.Server, streams.Stream) {
	t.Helper()
	if c.Material == nil {
		c.Material = clip()
	}
	s, err := camsim.Serve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, streams.Stream{ID: "front", Name: "front-door", Source: &streams.Source{URL: s.URL(0), Username: c.Username, Password: secret.New(c.Password), Transport: camera.Auto}}
}

// hand is a clock whose hands are moved by hand; its timers are the machine's.
type hand struct{ ahead atomic.Int64 }

// Now stands still until it is moved.
func (h *hand) Now() time.Time { return time.Unix(1000, h.ahead.Load()) }

// NewTimer is the machine's.
func (h *hand) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// speech is n frames, each unlike the others.
func speech(n int) []byte {
	b := make([]byte, n*Frame)
	for i := range b {
		b[i] = byte(i/Frame + i)
	}
	return b
}

func TestACameraHearsWhatIsSaid(t *testing.T) {
	site := httptest.NewTLSServer(nil) // it has a certificate for tests
	defer site.Close()
	certificate := tls.Config{Certificates: site.TLS.Certificates}
	for _, c := range []struct {
		name   string
		server camsim.ServerConfig
		codec  string
	}{
		{name: "over TCP", server: camsim.ServerConfig{Back: camsim.PCMU, Auth: camsim.Digest, Username: "admin", Password: "p@ss:/#?"}, codec: "PCMU"},
		{name: "A-law", server: camsim.ServerConfig{Back: camsim.PCMA}, codec: "PCMA"},
		{name: "over UDP", server: camsim.ServerConfig{Back: camsim.PCMU, Faults: camsim.Faults{RefuseTCP: true}}, codec: "PCMU"},
		{name: "over TLS", server: camsim.ServerConfig{Back: camsim.PCMU, TLS: &certificate, Auth: camsim.Basic, Username: "u", Password: "p"}, codec: "PCMU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHeard()
			c.server.Speaker = h.say
			s, st := serve(t, c.server)
			if c.server.TLS != nil {
				st.Source.URL += "#certificate=any"
			}
			i := New(Config{Clock: &hand{}})
			if i.Known(st) != nil {
				t.Error("known before it was asked")
			}
			call, err := i.Call(t.Context(), st, "anna")
			if err != nil {
				t.Fatal(err)
			}
			if v := call.Voice(); v.Codec != c.codec || v.Rate != 8000 {
				t.Errorf("voice %+v", v)
			}
			if v := i.Known(st); v == nil || v.Codec != c.codec {
				t.Errorf("known after the call: %v", v)
			}
			said := speech(10)
			for rest := said; len(rest) > 0; { // of sizes that are no frame's
				n := min(len(rest), 333)
				if err := call.Say(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := call.Say([]byte{1, 2, 3}); err != nil {
				t.Fatal(err)
			}
			call.Close()
			call.Close()
			octets, packets := h.sound(t, 11)
			silence := byte(0xff)
			if c.codec == "PCMA" {
				silence = 0xd5
			}
			want := append(append([]byte(nil), said...), 1, 2, 3)
			want = append(want, bytes.Repeat([]byte{silence}, Frame-3)...)
			if !bytes.Equal(octets, want) {
				t.Errorf("%d octets were heard, want %d: the same", len(octets), len(want))
			}
			for n, p := range packets {
				if len(p.Payload) != Frame || p.Marker != (n == 0) || p.SequenceNumber != packets[0].SequenceNumber+uint16(n) || p.Timestamp != packets[0].Timestamp+uint32(n*Frame) {
					t.Errorf("packet %d: %+v, %d octets", n, p.Header, len(p.Payload))
				}
			}
			if sent, dropped := call.Sent(); sent != 11 || dropped != 0 || call.Err() != nil {
				t.Errorf("sent %d, dropped %d, %v", sent, dropped, call.Err())
			}
			if s.Talks() != 1 || s.Plays() != 0 {
				t.Errorf("%d talks, %d plays: the connection is for the voice alone", s.Talks(), s.Plays())
			}
			if _, _, ok := i.Talking(st); ok {
				t.Error("still busy")
			}
		})
	}
}

func TestAPauseMovesTheTimestampsOn(t *testing.T) {
	h, clock := newHeard(), &hand{}
	_, st := serve(t, camsim.ServerConfig{Back: camsim.PCMU, Speaker: h.say})
	call, err := New(Config{Clock: clock}).Call(t.Context(), st, "anna")
	if err != nil {
		t.Fatal(err)
	}
	for _, silent := range []time.Duration{5 * time.Second, 20 * time.Millisecond, 2 * time.Second, 90 * time.Millisecond} {
		clock.ahead.Add(int64(silent))
		if err := call.Say(speech(1)); err != nil {
			t.Fatal(err)
		}
	}
	call.Close()
	_, packets := h.sound(t, 4)
	for n, want := range []struct {
		marker bool
		ticks  uint32
	}{{true, 0}, {false, 160}, {true, 160 + 2*8000}, {false, 320 + 2*8000}} {
		if p := packets[n]; p.Marker != want.marker || p.Timestamp-packets[0].Timestamp != want.ticks {
			t.Errorf("packet %d: marker %v, %d ticks after the first, want %v and %d", n, p.Marker, p.Timestamp-packets[0].Timestamp, want.marker, want.ticks)
		}
	}
}

func TestOnePersonTalksToACamera(t *testing.T) {
	_, st := serve(t, camsim.ServerConfig{Back: camsim.PCMU})
	i := New(Config{})
	call, err := i.Call(t.Context(), st, "anna")
	if err != nil {
		t.Fatal(err)
	}
	if who, since, ok := i.Talking(st); !ok || who != "anna" || since.IsZero() {
		t.Errorf("%q %v %v", who, since, ok)
	}
	_, err = i.Call(t.Context(), st, "ben")
	if !fault.Is(err, fault.InUse) || !strings.Contains(err.Error(), "anna talks to it since") || fault.HintOf(err) == "" {
		t.Errorf("the second hears %v", err)
	}
	call.Close()
	again, err := i.Call(t.Context(), st, "ben")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestCallsHaveAnEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		conf Config
		end  func(call *Call, cancel context.CancelCauseFunc, s *camsim.Server)
		kind fault.Kind
		text string
	}{
		{name: "longest", conf: Config{Longest: time.Millisecond}, kind: fault.Expired, text: "lasts at most"},
		{name: "idle", conf: Config{Idle: time.Millisecond}, kind: fault.Expired, text: "nothing was said"},
		{name: "revoked", kind: fault.Denied, text: "taken back", end: func(_ *Call, cancel context.CancelCauseFunc, _ *camsim.Server) {
			cancel(fault.New(fault.Denied, "talk", "front", "taken back"))
		}},
		{name: "the camera hangs up", kind: fault.Unavailable, text: "ended the connection", end: func(_ *Call, _ context.CancelCauseFunc, s *camsim.Server) { s.Close() }},
		{name: "too large", kind: fault.Invalid, text: "961 octets", end: func(call *Call, _ context.CancelCauseFunc, _ *camsim.Server) {
			_ = call.Say(make([]byte, FrameMax+1))
		}},
		{name: "nothing in it", kind: fault.Invalid, text: "0 octets", end: func(call *Call, _ context.CancelCauseFunc, _ *camsim.Server) { _ = call.Say(nil) }},
		{name: "too fast", kind: fault.Throttled, text: "faster", end: func(call *Call, _ context.CancelCauseFunc, _ *camsim.Server) {
			for call.Say(make([]byte, FrameMax)) == nil {
			}
		}},
		{name: "too many", kind: fault.Throttled, text: "faster", end: func(call *Call, _ context.CancelCauseFunc, _ *camsim.Server) {
			for call.Say([]byte{0}) == nil {
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, st := serve(t, camsim.ServerConfig{Back: camsim.PCMU})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			i := New(c.conf)
			call, err := i.Call(ctx, st, "anna")
			if err != nil {
				t.Fatal(err)
			}
			if c.end != nil {
				c.end(call, cancel, s)
			}
			<-call.Done()
			if err := call.Err(); !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("ended with %v, want %v with %q", err, c.kind, c.text)
			}
			if c.name != "revoked" && fault.HintOf(call.Err()) == "" {
				t.Error("no next step")
			}
			call.Close()
			if _, _, ok := i.Talking(st); ok {
				t.Error("still busy")
			}
		})
	}
}

func TestLateSoundIsDroppedFromItsBeginning(t *testing.T) {
	h := newHeard()
	_, st := serve(t, camsim.ServerConfig{Back: camsim.PCMU, Speaker: h.say})
	call, err := New(Config{}).Call(t.Context(), st, "anna")
	if err != nil {
		t.Fatal(err)
	}
	const frames = 100
	said := speech(frames)
	for rest := said; len(rest) > 0; rest = rest[FrameMax:] {
		if len(rest) < FrameMax {
			rest = append(rest, make([]byte, FrameMax-len(rest))...)
		}
		if err := call.Say(rest[:FrameMax]); err != nil {
			t.Fatal(err)
		}
	}
	call.Close()
	sent, dropped := call.Sent()
	if all := (len(said) + FrameMax - 1) / FrameMax * FrameMax / Frame; sent+dropped != all || dropped == 0 || sent < queueMost-8 {
		t.Errorf("%d sent and %d dropped of %d", sent, dropped, all)
	}
	octets, _ := h.sound(t, sent)
	if want := said[(frames-5)*Frame:]; !bytes.Contains(octets, want) {
		t.Error("the newest was not heard")
	}
}

func TestCamerasThatDoNotListenSayWhy(t *testing.T) {
	for _, c := range []struct {
		name   string
		server camsim.ServerConfig
		source bool
		kind   fault.Kind
		cause  camera.Cause
	}{
		{"551", camsim.ServerConfig{Faults: camsim.Faults{RefuseRequire: 551}}, true, fault.Unavailable, camera.NoBackChannel},
		{"none", camsim.ServerConfig{}, true, fault.Unavailable, camera.NoBackChannel},
		{"codec", camsim.ServerConfig{Back: camsim.G726}, true, fault.Unavailable, camera.BackChannelCodec},
		{"busy", camsim.ServerConfig{Back: camsim.PCMU, Faults: camsim.Faults{BackBusy: true}}, true, fault.Unavailable, camera.Busy},
		{"pushed", camsim.ServerConfig{}, false, fault.Invalid, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, st := serve(t, c.server)
			if !c.source {
				st.Source = nil
			}
			i := New(Config{})
			_, err := i.Call(t.Context(), st, "anna")
			if !fault.Is(err, c.kind) || fault.HintOf(err) == "" {
				t.Errorf("got %v, hint %q", err, fault.HintOf(err))
			}
			if tr := (*camera.Trouble)(nil); c.cause != 0 && (!errors.As(err, &tr) || tr.Cause != c.cause) {
				t.Errorf("got %v, want cause %v", err, c.cause)
			}
			if _, _, ok := i.Talking(st); ok {
				t.Error("still busy")
			}
			if i.Known(st) != nil {
				t.Error("known")
			}
		})
	}
}

func TestOffersAreRemembered(t *testing.T) {
	s, st := serve(t, camsim.ServerConfig{Back: camsim.PCMA})
	i := New(Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if v, err := i.Ask(t.Context(), st); err != nil || v.Codec != "PCMA" {
				t.Errorf("%+v %v", v, err)
			}
		})
	}
	wg.Wait()
	s.Close()
	if v, err := i.Ask(t.Context(), st); err != nil || v.Codec != "PCMA" {
		t.Errorf("asked again: %+v %v", v, err)
	}
	if v := i.Known(st); v == nil || v.Codec != "PCMA" {
		t.Errorf("known: %v", v)
	}
	elsewhere := *st.Source
	elsewhere.Username = "other"
	st.Source = &elsewhere
	if i.Known(st) != nil {
		t.Error("known of another source")
	}
	if _, err := i.Ask(t.Context(), st); !fault.Is(err, fault.Unavailable) {
		t.Errorf("another source was not asked: %v", err)
	}
	// A camera that could not be asked is left alone for a while.
	if _, err := i.Ask(t.Context(), st); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	st.ID = "another"
	if _, err := i.Ask(ctx, st); err == nil {
		t.Error("asked by somebody who left")
	}
}

func TestMeter(t *testing.T) {
	now := time.Unix(1000, 0)
	m := newMeter(now)
	// An hour of speech, 20 ms at a time, passes.
	for range 3600 * 50 {
		now = now.Add(step)
		if !m.take(now, Frame) {
			t.Fatal("speech is refused")
		}
	}
	// What a network held back for 8 s passes at once, 16 s of it does not.
	for range 8 * 50 {
		if !m.take(now, Frame) {
			t.Fatal("8 s at once are refused")
		}
	}
	n := 0
	for m.take(now, Frame) {
		n++
	}
	if n > 8*50 {
		t.Errorf("%d more frames pass", n)
	}
}
