package camsim

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aler9/gortsplib/pkg/mpeg4audio"
	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"penstock/internal/repotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReelBeginsAtAKeyFrameAndRepeats(t *testing.T) {
	c := Record(NewDemo(), 4*time.Second)
	if len(c.Units) != 100 {
		t.Fatalf("%d units, want 100", len(c.Units))
	}
	r := c.Reel(7 * time.Second) // 3 s into the second round: its key frame is at 2 s
	first := r.Next()
	if !first.Sync || first.DTS != 6*videoClock {
		t.Errorf("began at %d, key frame %v", first.DTS, first.Sync)
	}
	for range 49 {
		r.Next()
	}
	if again := r.Next(); again.DTS != 8*videoClock || !bytes.Equal(again.NALs[len(again.NALs)-1], c.Units[0].NALs[len(c.Units[0].NALs)-1]) {
		t.Errorf("the third round began at %d", again.DTS)
	}
}

func annexB(units []Unit) []byte {
	var b []byte
	for _, u := range units {
		for _, n := range u.NALs {
			b = append(append(b, 0, 0, 0, 1), n...)
		}
	}
	return b
}

func TestElementaryStreamIsReadBack(t *testing.T) {
	c := Record(NewDemo(), 2*time.Second)
	got, err := AnnexB(annexB(c.Units), H264, 25)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Units) != len(c.Units) || got.Length != c.Length {
		t.Fatalf("%d units of %v, want %d of %v", len(got.Units), got.Length, len(c.Units), c.Length)
	}
	for i, u := range got.Units {
		if w := c.Units[i]; u.Sync != w.Sync || u.DTS != w.DTS || !bytes.Equal(annexB([]Unit{u}), annexB([]Unit{w})) {
			t.Fatalf("unit %d differs", i)
		}
	}
}

func TestFilesThatCannotBeFilmed(t *testing.T) {
	ffmpeg := repotest.Need(t, "ffmpeg")
	name := filepath.Join(t.TempDir(), "b.h264")
	out, err := repotest.Command(t, ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=25", "-t", "1", "-c:v", "libx264", "-bf", "2", name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := Load(name, 25); !errors.Is(err, ErrBFrames) {
		t.Errorf("B frames: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "e.h265")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{empty, "missing.mp4", "x.avi"} {
		if _, err := Load(bad, 25); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// recorder is a server that takes a push, on the newer library.
type recorder struct {
	mu    sync.Mutex
	units chan [][]byte
	desc  *description.Session
}

// OnAnnounce takes what is announced.
func (r *recorder) OnAnnounce(c *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	r.mu.Lock()
	r.desc = c.Description
	r.mu.Unlock()
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSetup agrees.
func (r *recorder) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil, nil
}

// OnRecord takes units apart.
func (r *recorder) OnRecord(c *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var f *format.H264
	m := r.desc.FindFormat(&f)
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	c.Session.OnPacketRTP(m, f, func(p *rtp.Packet) {
		if u, err := dec.Decode(p); err == nil {
			select {
			case r.units <- u:
			default:
			}
		}
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// The library's encoders send the last packet of a unit that fills it exactly without its payload.
func TestUnitsThatFillTheirPacketsArePackedWhole(t *testing.T) {
	aac := &mpeg4audio.Config{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelCount: 2}
	config, err := aac.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		track      Track
		head, each int
	}{{Track{Codec: H264, Clock: videoClock}, 1, 2}, {Track{Codec: H265, Clock: videoClock}, 2, 3}, {Track{Codec: AAC, Clock: 48000, Audio: config}, 0, 4}} {
		p, err := newPacker(c.track)
		if err != nil {
			t.Fatal(err)
		}
		full := payloadMax - c.each
		for _, n := range []int{full, 2*full - 1, 2 * full, 2*full + 1, 3 * full, 2 * (full - 1), 2 * full * (full - 1)} {
			unit := bytes.Repeat([]byte{0x42}, c.head+n)
			packets, err := p.pack(Unit{NALs: [][]byte{unit}, Frame: unit}, 0)
			if err != nil {
				t.Fatal(err)
			}
			sent := 0
			for _, k := range packets {
				sent += len(k.Payload) - c.each
			}
			if len(packets) > 1 && sent != n {
				t.Errorf("%v: %d of %d octets are sent in %d packets", c.track.Codec, sent, n, len(packets))
			}
		}
	}
}

func TestPushArrivesWhole(t *testing.T) {
	for name, udp := range map[string]bool{"over TCP": false, "over UDP": true} {
		t.Run(name, func(t *testing.T) {
			rec := &recorder{units: make(chan [][]byte, 200)}
			port, err := freePair("127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			var addr net.Addr
			srv := &gortsplib.Server{Handler: rec, RTSPAddress: "127.0.0.1:0", UDPRTPAddress: join(port), UDPRTCPAddress: join(port + 1),
				Listen: func(network, address string) (net.Listener, error) {
					l, err := net.Listen(network, address)
					if err == nil {
						addr = l.Addr()
					}
					return l, err
				}}
			if err := srv.Start(); err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			clip := Record(NewDemo(), 2*time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- Push(ctx, PushConfig{URL: "rtsp://" + addr.String() + "/x", UDP: udp, Material: clip})
			}()
			for i := range 30 {
				select {
				case u := <-rec.units:
					if got, want := annexB([]Unit{{NALs: u}}), annexB(clip.Units[i:i+1]); !bytes.Equal(got, want) {
						t.Fatalf("unit %d differs", i)
					}
				case err := <-ended:
					t.Fatalf("ended: %v", err)
				}
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPushToNobodySaysSo(t *testing.T) {
	err := Push(t.Context(), PushConfig{URL: "rtsp://127.0.0.1:1/x"})
	if err == nil || !strings.Contains(err.Error(), "push to rtsp://127.0.0.1:1/x: ") {
		t.Errorf("got %v", err)
	}
}

func TestServerClosesTwice(t *testing.T) {
	s, err := Serve(ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close() // the old library reports its own closing as an error
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", s.Addr().String()); err == nil {
		c.Close()
		t.Error("it still answers")
	}
}

func join(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
