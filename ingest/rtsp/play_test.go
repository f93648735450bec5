package rtsp

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"penstock/media"
	"penstock/streams"
)

// shelve puts a finished recording of ffmpeg's on the hub as if it were live.
func shelve(t *testing.T, hub *memHub, id string, video, audio []string) *memStream {
	t.Helper()
	file, _ := source(t, 3, video, audio)
	from := newMemHub()
	s := serve(t, Config{Hub: from})
	ffmpeg(t, "-i", file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", "rtsp://"+s.Addr().String()+"/x")
	m := from.await(t, "x", "end of the push", func(m *memStream) bool { return m.closed == 1 })
	hub.mu.Lock()
	defer hub.mu.Unlock()
	live := &memStream{tracks: m.tracks, session: &memSession{h: hub, id: id, done: make(chan struct{})}}
	hub.shelf[id] = live
	hub.changed()
	return m
}

// origin is the media time of m's first sample.
func origin(m *memStream) time.Duration {
	for _, e := range m.events {
		if e.Sample.Track != 0 {
			return m.tracks[e.Sample.Track-1].Duration(e.Sample.DTS)
		}
	}
	return 0
}

// feed plays what shelve recorded into the hub at its own pace, again and again until ctx
// ends: a reader may come late.
func feed(ctx context.Context, hub *memHub, id string, m *memStream) {
	zero, last := origin(m), time.Duration(0)
	for _, e := range m.events {
		if e.Sample.Track != 0 {
			last = max(last, m.tracks[e.Sample.Track-1].Duration(e.Sample.DTS))
		}
	}
	start := time.Now()
	for shift := time.Duration(0); ctx.Err() == nil; shift += last - zero + 40*time.Millisecond {
		for _, e := range m.events {
			if e.Sample.Track == 0 {
				continue
			}
			track := m.tracks[e.Sample.Track-1]
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(start.Add(track.Duration(e.Sample.DTS) - zero + shift))):
			}
			e.Sample.DTS += track.Ticks(shift)
			hub.mu.Lock()
			e.Server = time.Now()
			hub.shelf[id].events = append(hub.shelf[id].events, e)
			hub.changed()
			hub.mu.Unlock()
		}
	}
}

var h264Args = []string{"-c:v", "libx264", "-g", "25", "-preset", "veryfast", "-b:v", "1M", "-pix_fmt", "yuv420p", "-bf", "2"}

func TestReadersGetWhatWasPushed(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run("ffmpeg over "+transport, func(t *testing.T) {
			t.Parallel()
			hub := newMemHub()
			m := shelve(t, hub, "door", h264Args, []string{"-c:a", "aac"})
			s := serve(t, Config{Hub: hub})
			go feed(t.Context(), hub, "door", m)
			hub.await(t, "door", "the first picture", func(m *memStream) bool { return len(m.samples(1)) > 0 })
			out := filepath.Join(t.TempDir(), "read.mp4")
			ffmpeg(t, "-rtsp_transport", transport, "-i", "rtsp://"+s.Addr().String()+"/door", "-c", "copy", "-t", "1.5", "-y", out)
			if i, err := os.Stat(out); err != nil || i.Size() < 50_000 {
				t.Fatalf("ffmpeg wrote %v %v", i, err)
			}
			ffmpeg(t, "-xerror", "-v", "error", "-i", out, "-f", "null", "-")
		})
		t.Run("gortsplib over "+transport, func(t *testing.T) {
			t.Parallel()
			hub := newMemHub()
			m := shelve(t, hub, "door", h264Args, []string{"-c:a", "aac"})
			s := serve(t, Config{Hub: hub})
			hub.mu.Lock()
			// The first second is there already: a reader begins with its key frame.
			for _, e := range m.events {
				if e.Sample.Track != 0 && m.tracks[e.Sample.Track-1].Duration(e.Sample.DTS)-origin(m) < 900*time.Millisecond {
					hub.shelf["door"].events = append(hub.shelf["door"].events, streams.Event{Sample: e.Sample, Server: time.Now()})
				}
			}
			n := len(hub.shelf["door"].samples(1))
			hub.mu.Unlock()
			got := readUnits(t, s, "door", transport, n)
			want := hub.shelf["door"].samples(1)
			for i := range n {
				if !bytes.Equal(joinUnits(got[i]), want[i].Data) {
					t.Fatalf("picture %d differs", i)
				}
			}
		})
	}
}

// joinUnits is the sample of these NAL units.
func joinUnits(nals [][]byte) []byte {
	var b []byte
	for _, n := range nals {
		b = media.AppendNAL(b, n)
	}
	return b
}

// readUnits reads n access units of a stream's video with gortsplib.
func readUnits(t *testing.T, s *Server, name, transport string, n int) [][][]byte {
	t.Helper()
	return readSome(t, s, name, transport, n, func(*description.Media) bool { return true })
}

// readSome is readUnits with only the wanted medias set up.
func readSome(t *testing.T, s *Server, name, transport string, n int, want func(*description.Media) bool) [][][]byte {
	t.Helper()
	tr := gortsplib.TransportTCP
	if transport == "udp" {
		tr = gortsplib.TransportUDP
	}
	c := gortsplib.Client{Transport: &tr}
	u, err := base.ParseURL("rtsp://" + s.Addr().String() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(u.Scheme, u.Host); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	desc, _, err := c.Describe(u)
	if err != nil {
		t.Fatal(err)
	}
	var chosen []*description.Media
	for _, m := range desc.Medias {
		if want(m) {
			chosen = append(chosen, m)
		}
	}
	if err := c.SetupAll(desc.BaseURL, chosen); err != nil {
		t.Fatal(err)
	}
	var f *format.H264
	m := desc.FindFormat(&f)
	dec, err := f.CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	units := make(chan [][]byte, 1000)
	c.OnPacketRTPAny(func(*description.Media, format.Format, *rtp.Packet) {})
	c.OnPacketRTP(m, f, func(p *rtp.Packet) {
		if u, err := dec.Decode(p); err == nil {
			units <- u
		}
	})
	if _, err := c.Play(nil); err != nil {
		t.Fatal(err)
	}
	var out [][][]byte
	deadline := time.After(time.Minute)
	for len(out) < n {
		select {
		case u := <-units:
			out = append(out, u)
		case <-deadline:
			t.Fatalf("%d of %d pictures came", len(out), n)
		}
	}
	return out
}

// A reader that sets up the picture alone: more sound passes than gortsplib's queue holds.
func TestReaderOfThePictureAloneKeepsGettingIt(t *testing.T) {
	hub := newMemHub()
	session := &memSession{h: hub, id: "door", done: make(chan struct{})}
	hub.mu.Lock()
	hub.shelf["door"] = &memStream{session: session, tracks: []media.Track{
		{ID: 1, Timescale: 90000, Codec: &media.H264{SPS: testSPS, PPS: testPPS}},
		{ID: 2, Timescale: 8000, Codec: &media.G711{SampleRate: 8000, Channels: 1}}}}
	hub.mu.Unlock()
	s := serve(t, Config{Hub: hub})
	picture := func(i int) media.Sample {
		p := bytes.Repeat([]byte{byte(i)}, 500)
		p[0], p[1] = 0x65, 0x88
		return media.Sample{Track: 1, DTS: int64(i) * 3600, Sync: true, Data: joinUnits([][]byte{p})}
	}
	_ = session.Write(picture(0))
	go func() {
		hub.await(t, "door", "reader", func(m *memStream) bool { return m.read == 2 })
		for i := range 2 * queue {
			_ = session.Write(media.Sample{Track: 2, DTS: int64(i) * 160, Sync: true, Data: make([]byte, 160)})
		}
		_ = session.Write(picture(1))
	}()
	got := readSome(t, s, "door", "tcp", 2, func(m *description.Media) bool { return m.Type == description.MediaTypeVideo })
	if len(got[1]) == 0 || got[1][len(got[1])-1][100] != 1 {
		t.Fatal("the second picture is another")
	}
}

func TestReaderOfNothingHearsWhy(t *testing.T) {
	hub := newMemHub()
	s := serve(t, Config{Hub: hub})
	c := gortsplib.Client{}
	u, _ := base.ParseURL("rtsp://" + s.Addr().String() + "/nobody")
	if err := c.Start(u.Scheme, u.Host); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, res, err := c.Describe(u)
	if err == nil || res == nil || res.StatusCode != base.StatusNotFound || !strings.Contains(res.StatusMessage, "not live") {
		t.Fatalf("answer %v, err %v", res, err)
	}
}

func TestReaderIsSentNewParameterSets(t *testing.T) {
	hub := newMemHub()
	m := shelve(t, hub, "door", h264Args, nil)
	first := m.samples(1)
	old := m.tracks[0].Codec.(*media.H264)
	changed := &media.H264{SPS: append(bytes.Clone(old.SPS), 0x80), PPS: old.PPS}
	s := serve(t, Config{Hub: hub})
	hub.mu.Lock()
	st := hub.shelf["door"]
	st.events = append(st.events, streams.Event{Sample: first[0], Server: time.Now()})
	hub.mu.Unlock()
	go func() {
		// DESCRIBE took the first event, and so did PLAY.
		hub.await(t, "door", "reader", func(m *memStream) bool { return m.read == 2 })
		hub.mu.Lock()
		defer hub.mu.Unlock()
		st.events = append(st.events, streams.Event{Tracks: []media.Track{{ID: 1, Timescale: 90000, Codec: changed}},
			Sample: first[25], Server: time.Now()})
		hub.changed()
	}()
	got := readUnits(t, s, "door", "tcp", 2)
	if !first[25].Sync {
		t.Fatal("the sample that was to be a key frame is none")
	}
	if len(got[1]) == 0 || !bytes.Equal(got[1][0], changed.SPS) {
		t.Fatalf("the key frame after the change begins with %x", got[1][0])
	}
}

// TestASlowReaderHoldsNobodyUp plays to one reader that never reads, and to one that does.
func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	hub := newMemHub()
	session := &memSession{h: hub, id: "door", done: make(chan struct{})}
	hub.mu.Lock()
	hub.shelf["door"] = &memStream{session: session, tracks: []media.Track{{ID: 1, Timescale: 90000,
		Codec: &media.H264{SPS: testSPS, PPS: testPPS}}}}
	hub.mu.Unlock()
	s := serve(t, Config{Hub: hub})
	picture := func(i int) media.Sample {
		p := bytes.Repeat([]byte{byte(i)}, 50_000)
		p[0], p[1] = 0x65, 0x88
		return media.Sample{Track: 1, DTS: int64(i) * 3600, Sync: true, Data: joinUnits([][]byte{p})}
	}
	_ = session.Write(picture(0))
	slow := dial(t, s, "door")
	slow.ask("DESCRIBE", slow.base, "")
	slow.ask("SETUP", slow.base+"/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	if code, why, _ := slow.ask("PLAY", slow.base, ""); code != 200 {
		t.Fatalf("%d %s", code, why)
	}
	const n = 200 // 10 MB: more than sockets and queues hold
	go func() {
		hub.await(t, "door", "both readers", func(m *memStream) bool { return m.read >= 4 })
		for i := 1; i < n; i++ {
			_ = session.Write(picture(i))
		}
	}()
	for i, u := range readUnits(t, s, "door", "tcp", n) {
		if len(u) != 1 || u[0][100] != byte(i) {
			t.Fatalf("picture %d is another", i)
		}
	}
}
