package rtsp

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
)

// reader is a gortsplib client that takes the pictures of a stream.
type reader struct {
	*gortsplib.Client
	units chan [][]byte
}

// openReader sets a reader up, without PLAY.
func openReader(t *testing.T, s *Server, name string, tr gortsplib.Transport) *reader {
	t.Helper()
	u, err := base.ParseURL("rtsp://" + s.Addr().String() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{&gortsplib.Client{Transport: &tr}, make(chan [][]byte, 10000)}
	if err := r.Start(u.Scheme, u.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	desc, _, err := r.Describe(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetupAll(desc.BaseURL, desc.Medias); err != nil {
		t.Fatal(err)
	}
	var f *format.H264
	m := desc.FindFormat(&f)
	dec, err := f.CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	r.OnPacketRTPAny(func(*description.Media, format.Format, *rtp.Packet) {})
	r.OnPacketRTP(m, f, func(p *rtp.Packet) {
		if u, err := dec.Decode(p); err == nil {
			r.units <- u
		}
	})
	return r
}

// next is the next picture that comes.
func (r *reader) next(t *testing.T) []byte {
	t.Helper()
	select {
	case u := <-r.units:
		return joinUnits(u)
	case <-time.After(time.Minute):
		t.Fatal("no picture comes")
		return nil
	}
}

func TestAPausedReaderGoesOnWithWhatIsLive(t *testing.T) {
	for name, tr := range map[string]gortsplib.Transport{"tcp": gortsplib.TransportTCP, "udp": gortsplib.TransportUDP} {
		t.Run(name, func(t *testing.T) {
			hub := newMemHub()
			m := shelve(t, hub, "door", h264Args, nil)
			s := serve(t, Config{Hub: hub})
			pictures, at := m.samples(1), 0
			push := func(n int) { // so many more pictures
				hub.mu.Lock()
				defer hub.mu.Unlock()
				for ; n > 0; at++ {
					if e := m.events[at]; e.Sample.Track == 1 {
						e.Server = time.Now()
						hub.shelf["door"].events = append(hub.shelf["door"].events, e)
						n--
					}
				}
				hub.changed()
			}
			listeners := func() int {
				hub.mu.Lock()
				defer hub.mu.Unlock()
				return hub.shelf["door"].read
			}
			push(10)
			r := openReader(t, s, "door", tr)
			for turn := range 3 {
				key := 25 * turn // the newest key frame
				if _, err := r.Play(nil); err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					if !bytes.Equal(r.next(t), pictures[key+i].Data) {
						t.Fatalf("turn %d: picture %d is not that of the newest GOP", turn, i)
					}
				}
				had := listeners()
				if res, err := r.Pause(); err != nil || res.StatusCode != base.StatusOK {
					t.Fatal(res, err)
				}
				if turn == 2 {
					break
				}
				push(25)
				if n := len(r.units); n > 0 || listeners() != had {
					t.Fatalf("turn %d: %d pictures came after the pause, %d listeners were %d", turn, n, listeners(), had)
				}
			}
		})
	}
}

func TestAProducerCannotPause(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub})
	tr := gortsplib.TransportTCP
	c := gortsplib.Client{Transport: &tr}
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0x88}, PPS: []byte{0x68, 0xce, 0x38, 0x80}}
	desc := &description.Session{Medias: []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{f}}}}
	if err := c.StartRecording("rtsp://"+s.Addr().String()+"/door", desc); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Pause(); err == nil || !strings.Contains(err.Error(), "501") {
		t.Errorf("err = %v", err)
	}
}
