package rtsp

import (
	"bytes"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"penstock/internal/host"
	"penstock/media"
	"penstock/streams"
)

// stopped is the machine with a clock that stands still.
type stopped struct {
	host.System
	at time.Time
}

func (s stopped) Now() time.Time { return s.at }

func TestReportsTellTheServersClock(t *testing.T) {
	filmed := time.Date(2026, 3, 1, 10, 0, 0, 900e6, time.UTC) // media time 0
	clock := stopped{at: filmed.Add(35*time.Second + 50*time.Millisecond)}
	hub := newMemHub()
	tracks := []media.Track{{ID: 1, Timescale: 90000, Codec: &media.H264{SPS: testSPS, PPS: testPPS}},
		{ID: 2, Timescale: 48000, Codec: &media.G711{SampleRate: 8000, Channels: 1}}}
	m := &memStream{session: &memSession{h: hub, id: "door", done: make(chan struct{})}, tracks: tracks}
	at := func(track media.Track, s media.Sample, late time.Duration) {
		m.events = append(m.events, streams.Event{Sample: s, Server: filmed.Add(track.Duration(s.DTS) + late)})
	}
	picture := bytes.Repeat([]byte{7}, 500)
	picture[0], picture[1] = 0x65, 0x88
	const begin = 30
	at(tracks[0], media.Sample{Track: 1, DTS: begin * 90000, Sync: true, Data: joinUnits([][]byte{picture})}, 0)
	at(tracks[1], media.Sample{Track: 2, DTS: begin*48000 + 24000, Sync: true, Data: make([]byte, 160)}, 400*time.Millisecond)
	hub.shelf["door"] = m
	s := serve(t, Config{Hub: hub, Clock: clock})

	u, err := base.ParseURL("rtsp://" + s.Addr().String() + "/door")
	if err != nil {
		t.Fatal(err)
	}
	tr := gortsplib.TransportTCP
	c := gortsplib.Client{Transport: &tr}
	if err := c.Start(u.Scheme, u.Host); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	desc, _, err := c.Describe(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetupAll(desc.BaseURL, desc.Medias); err != nil {
		t.Fatal(err)
	}
	type heard struct {
		media  *description.Media
		packet *rtp.Packet
		report *rtcp.SenderReport
	}
	all := make(chan heard, 100)
	c.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) { all <- heard{m, p, nil} })
	c.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		if r, ok := p.(*rtcp.SenderReport); ok {
			all <- heard{m, nil, r}
		}
	})
	if _, err := c.Play(nil); err != nil {
		t.Fatal(err)
	}
	packets, told := map[*description.Media]*rtp.Packet{}, map[*description.Media]*rtcp.SenderReport{}
	deadline := time.After(time.Minute)
	for len(packets) < 2 || len(told) < 2 {
		select {
		case h := <-all:
			if h.packet != nil {
				packets[h.media] = h.packet
			} else {
				told[h.media] = h.report
			}
		case <-deadline:
			t.Fatalf("%d tracks, %d reports", len(packets), len(told))
		}
	}
	for i, want := range []time.Duration{begin * time.Second, begin*time.Second + 500*time.Millisecond} {
		m, r := desc.Medias[i], told[desc.Medias[i]]
		reported := time.Unix(int64(r.NTPTime>>32)+ntpEpoch, int64(r.NTPTime&0xffffffff*1e9>>32)).UTC()
		if off := reported.Sub(clock.at).Abs(); off > time.Microsecond {
			t.Errorf("track %d reports %v, the clock is %v", i, reported, clock.at)
		}
		ticks := int32(packets[m].Timestamp - r.RTPTime)
		wall := reported.Add(time.Duration(ticks) * time.Second / time.Duration(m.Formats[0].ClockRate()))
		if off := wall.Sub(filmed.Add(want)).Abs(); off > time.Millisecond {
			t.Errorf("track %d was filmed at %v by its report, want %v", i, wall, filmed.Add(want))
		}
		if r.SSRC != packets[m].SSRC || r.PacketCount != 1 || r.OctetCount != uint32(len(packets[m].Payload)) {
			t.Errorf("track %d: %+v of %v", i, r, packets[m].Header)
		}
	}
}

func TestReportsFollowWhatCameEarliest(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	zero := now.Add(-time.Hour)
	var r reports
	step := func(media, late, passed time.Duration) bool {
		now = now.Add(passed)
		return r.see(media, zero.Add(media+late), now)
	}
	if !step(time.Second, 300*time.Millisecond, 0) || !r.zero.Equal(zero.Add(300*time.Millisecond)) {
		t.Fatalf("first: %v", r.zero)
	}
	if step(2*time.Second, 10*time.Millisecond, time.Second) || step(3*time.Second, 900*time.Millisecond, time.Second) {
		t.Fatal("reported too soon")
	}
	if !step(6*time.Second, 200*time.Millisecond, 3*time.Second) || !r.zero.Equal(zero.Add(10*time.Millisecond)) {
		t.Fatalf("then: %v", r.zero.Sub(zero))
	}
	if !step(6*time.Second, -time.Hour, time.Millisecond) || !r.zero.Equal(zero.Add(-time.Hour)) {
		t.Fatalf("another run: %v", r.zero.Sub(zero))
	}
	now = now.Add(-time.Minute) // an operator set the clock
	if !step(7*time.Second, -time.Hour, 0) {
		t.Fatal("no report after the clock was set back")
	}
}
