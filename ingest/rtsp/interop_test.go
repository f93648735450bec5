package rtsp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	old "github.com/aler9/gortsplib"
	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"penstock/internal/repotest"
	"penstock/media"
)

// Parameter sets of a real encoder, 1920x1080 baseline.
var (
	testSPS = []byte{0x67, 0x42, 0xc0, 0x28, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04,
		0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc9, 0x20}
	testPPS = []byte{0x68, 0xcb, 0x8c, 0xb2}
)

// pictures makes n access units, each its own, the first of ten a key frame.
func pictures(n int) [][][]byte {
	var out [][][]byte
	for i := range n {
		p := bytes.Repeat([]byte{byte(i + 1)}, 200+i*100)
		p[0], p[1] = 0x41, 0x9a
		unit := [][]byte{p}
		if i%10 == 0 {
			p[0], p[1] = 0x65, 0x88
			unit = [][]byte{testSPS, testPPS, p}
		}
		out = append(out, unit)
	}
	return out
}

// packetsOf cuts pictures into packets.
func packetsOf(t *testing.T, units [][][]byte) []*rtp.Packet {
	t.Helper()
	e, err := (&format.H264{PayloadTyp: 96, PacketizationMode: 1}).CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	var out []*rtp.Packet
	for i, u := range units {
		packets, err := e.Encode(u)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets {
			p.Timestamp += uint32(i*3600) - 9000 // it wraps on the way
		}
		out = append(out, packets...)
	}
	return out
}

// arrived waits for the pictures and compares.
func arrived(t *testing.T, hub *memHub, id string, units [][][]byte) {
	t.Helper()
	m := hub.await(t, id, "the pictures", func(m *memStream) bool { return len(m.samples(1)) >= len(units) })
	got := m.samples(1)
	for i, s := range got {
		if !bytes.Equal(s.Data, joinUnits(units[i])) || s.DTS-got[0].DTS != int64(i*3600) || s.Sync != (i%10 == 0) {
			t.Fatalf("picture %d: %d bytes at %d", i, len(s.Data), s.DTS)
		}
	}
}

// newPusher announces one H.264 track with gortsplib.
func newPusher(t *testing.T, url string, tr gortsplib.Transport, conf *tls.Config) (*gortsplib.Client, *description.Media) {
	t.Helper()
	m := &description.Media{Type: description.MediaTypeVideo,
		Formats: []format.Format{&format.H264{PayloadTyp: 96, SPS: testSPS, PPS: testPPS, PacketizationMode: 1}}}
	c := &gortsplib.Client{Transport: &tr, TLSConfig: conf}
	if err := c.StartRecording(url, &description.Session{Medias: []*description.Media{m}}); err != nil {
		t.Fatal(err)
	}
	return c, m
}

func TestGortsplibPushes(t *testing.T) {
	for name, tr := range map[string]gortsplib.Transport{"tcp": gortsplib.TransportTCP, "udp": gortsplib.TransportUDP} {
		t.Run(name, func(t *testing.T) {
			hub := newMemHub()
			s := serve(t, Config{Hub: hub})
			c, m := newPusher(t, "rtsp://"+s.Addr().String()+"/v4", tr, nil)
			defer c.Close()
			units := pictures(30)
			for _, p := range packetsOf(t, units) {
				if err := c.WritePacketRTP(m, p); err != nil {
					t.Fatal(err)
				}
			}
			arrived(t, hub, "v4", units)
		})
	}
}

func TestTheOldGortsplibPushes(t *testing.T) {
	for name, tr := range map[string]old.Transport{"tcp": old.TransportTCP, "udp": old.TransportUDP} {
		t.Run(name, func(t *testing.T) {
			hub := newMemHub()
			s := serve(t, Config{Hub: hub})
			c := old.Client{Transport: &tr}
			track := &old.TrackH264{PayloadType: 96, SPS: testSPS, PPS: testPPS, PacketizationMode: 1}
			if err := c.StartPublishing("rtsp://"+s.Addr().String()+"/v1", old.Tracks{track}); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			units := pictures(30)
			for _, p := range packetsOf(t, units) {
				if err := c.WritePacketRTP(0, p); err != nil {
					t.Fatal(err)
				}
			}
			arrived(t, hub, "v1", units)
		})
	}
}

func TestGStreamerPushes(t *testing.T) {
	tool := repotest.Need(t, "gst-launch-1.0")
	if exec.Command("gst-inspect-1.0", "rtspclientsink").Run() != nil {
		repotest.Missing(t, "GStreamer has no rtspclientsink: `make setup` installs it")
	}
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			file, want := source(t, 3, []string{"-c:v", "libx264", "-g", "25", "-bf", "0", "-preset", "veryfast", "-pix_fmt", "yuv420p"}, nil)
			hub := newMemHub()
			s := serve(t, Config{Hub: hub})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				out, err := exec.CommandContext(ctx, tool, "-q", "filesrc", "location="+file, "!", "qtdemux", "!", "h264parse", "!",
					"rtspclientsink", "protocols="+transport, "location=rtsp://"+s.Addr().String()+"/gst").CombinedOutput()
				if err != nil && ctx.Err() == nil {
					t.Errorf("gst-launch-1.0: %v\n%s", err, out)
				}
				ended <- err
			}()
			hub.await(t, "gst", "the pictures", func(m *memStream) bool { return len(m.samples(1)) >= len(want[0])-1 })
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				cancel() // 1.22 may hang behind its last packet, whatever the server
				<-ended
			}
			m := hub.await(t, "gst", "end", func(m *memStream) bool { return m.closed == 1 })
			got := m.samples(1)
			if len(got) != len(want[0]) {
				t.Fatalf("%d pictures arrived, %d were sent", len(got), len(want[0]))
			}
			for i := range got {
				if w := lastNAL(want[0][i].data); !bytes.Equal(lastNAL(got[i].Data), w) {
					t.Fatalf("picture %d differs", i) // h264parse adds parameter sets in front
				}
			}
		})
	}
}

func lastNAL(unit []byte) []byte {
	var last []byte
	for n := range media.NALs(unit) {
		last = n
	}
	return last
}

func TestG711Pushes(t *testing.T) {
	for codec, name := range map[string]string{"pcm_alaw": "pcma", "pcm_mulaw": "pcmu"} {
		hub := newMemHub()
		s := serve(t, Config{Hub: hub})
		ffmpeg(t, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000:duration=1", "-c:a", codec, "-ac", "1",
			"-f", "rtsp", "-rtsp_transport", "tcp", "rtsp://"+s.Addr().String()+"/phone")
		m := hub.await(t, "phone", "end", func(m *memStream) bool { return m.closed == 1 })
		n := 0
		for _, s := range m.samples(1) {
			n += len(s.Data)
		}
		if got := m.tracks[0].Codec.Name(); got != name || n != 8000 {
			t.Errorf("%s: %d bytes of %s", codec, n, got)
		}
	}
}

// selfSigned is a certificate for loopback.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestPushOverTLS(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub, TLSAddress: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}})
	// gortsplib asks for SRTP on rtsps://, which needs keys that this server does not
	// exchange; ffmpeg sends plain RTP inside TLS, as cameras do.
	file, want := source(t, 2, []string{"-c:v", "libx264", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p"}, nil)
	ffmpeg(t, "-i", file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", "rtsps://"+s.TLSAddr().String()+"/safe")
	m := hub.await(t, "safe", "end", func(m *memStream) bool { return m.closed == 1 })
	same(t, "h264", m.samples(1), want[0], 90000)
	if m.prod.Protocol != "rtsps" || !strings.HasPrefix(m.prod.Remote, "127.0.0.1:") {
		t.Errorf("producer %+v", m.prod)
	}
}
