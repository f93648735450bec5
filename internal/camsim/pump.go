package camsim

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aler9/gortsplib"
	"github.com/aler9/gortsplib/pkg/mpeg4audio"
	"github.com/aler9/gortsplib/pkg/rtpcodecs/rtph264"
	"github.com/aler9/gortsplib/pkg/rtpcodecs/rtph265"
	"github.com/aler9/gortsplib/pkg/rtpcodecs/rtpmpeg4audio"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const (
	videoPayload = 96
	audioPayload = 97
	// reportEvery is the time between sender reports; the first goes out at once, as
	// with most cameras.
	reportEvery = 5 * time.Second
	// payloadMax is the library's default (Ethernet's 1,500 octets without the headers).
	payloadMax = 1460
	// ntpEpoch is 1970 in the seconds of NTP (RFC 3550 §4).
	ntpEpoch = 2208988800
)

// sdpTracks describes tracks to the RTSP library.
func sdpTracks(tracks []Track, bare bool) gortsplib.Tracks {
	var out gortsplib.Tracks
	for _, t := range tracks {
		if bare {
			t.VPS, t.SPS, t.PPS = nil, nil, nil
		}
		switch t.Codec {
		case H264:
			out = append(out, &gortsplib.TrackH264{PayloadType: videoPayload, SPS: t.SPS, PPS: t.PPS, PacketizationMode: 1})
		case H265:
			out = append(out, &gortsplib.TrackH265{PayloadType: videoPayload, VPS: t.VPS, SPS: t.SPS, PPS: t.PPS})
		case AAC:
			conf := &mpeg4audio.Config{}
			if conf.Unmarshal(t.Audio) == nil {
				out = append(out, &gortsplib.TrackMPEG4Audio{PayloadType: audioPayload, Config: conf, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3})
			}
		}
	}
	return out
}

// packer makes RTP packets of one track's units.
type packer struct {
	encode func(Unit) ([]*rtp.Packet, error)
	offset uint32 // of RTP timestamps, random
	ssrc   uint32
	clock  int
	sent   uint32 // packets
	octets uint32
}

func newPacker(t Track) (*packer, error) {
	p := &packer{clock: t.Clock}
	var random [8]byte
	rand.Read(random[:])
	p.offset, p.ssrc = binary.BigEndian.Uint32(random[:4]), binary.BigEndian.Uint32(random[4:])
	switch t.Codec {
	case H264:
		e := &rtph264.Encoder{PayloadType: videoPayload, SSRC: &p.ssrc, PacketizationMode: 1}
		e.Init()
		p.encode = func(u Unit) ([]*rtp.Packet, error) {
			e.PayloadMaxSize = payloadSize(1, 2, u.NALs...)
			return e.Encode(u.NALs, 0)
		}
	case H265:
		e := &rtph265.Encoder{PayloadType: videoPayload, SSRC: &p.ssrc}
		e.Init()
		p.encode = func(u Unit) ([]*rtp.Packet, error) {
			e.PayloadMaxSize = payloadSize(2, 3, u.NALs...)
			return e.Encode(u.NALs, 0)
		}
	case AAC:
		e := &rtpmpeg4audio.Encoder{PayloadType: audioPayload, SSRC: &p.ssrc, SampleRate: t.Clock, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
		e.Init()
		p.encode = func(u Unit) ([]*rtp.Packet, error) {
			e.PayloadMaxSize = payloadSize(0, 4, u.Frame)
			return e.Encode([][]byte{u.Frame}, 0)
		}
	default:
		return nil, fmt.Errorf("no RTP for %s", t.Codec)
	}
	return p, nil
}

// payloadSize is the largest payload, up to the library's default, that none of parts fills
// to the last octet of its last packet: the library sends that packet empty. A part's own
// header of head octets is not sent, and each packet has one of each octets.
func payloadSize(head, each int, parts ...[]byte) int {
	size := payloadMax
	for slices.ContainsFunc(parts, func(b []byte) bool { return len(b) > head && (len(b)-head)%(size-each) == 0 }) {
		size--
	}
	return size
}

// pack returns u's packets with timestamps that are shift ticks ahead.
func (p *packer) pack(u Unit, shift int64) ([]*rtp.Packet, error) {
	pkts, err := p.encode(u)
	for _, k := range pkts {
		k.Timestamp = p.stamp(u.PTS + shift)
		p.sent++
		p.octets += uint32(len(k.Payload))
	}
	return pkts, err
}

func (p *packer) stamp(t int64) uint32 { return p.offset + uint32(t) }

// report says that timestamp t is the instant now of the camera's clock.
func (p *packer) report(now time.Time, t int64) *rtcp.SenderReport {
	sec, frac := uint64(now.Unix()+ntpEpoch), uint64(now.Nanosecond())<<32/1e9
	return &rtcp.SenderReport{SSRC: p.ssrc, NTPTime: sec<<32 | frac, RTPTime: p.stamp(t), PacketCount: p.sent, OctetCount: p.octets}
}

// sink is where packets go: a session that plays, or a client that pushes.
type sink interface {
	rtp(track int, p *rtp.Packet) error
	rtcp(track int, p rtcp.Packet) error
	drop()
}

// film sends material to a sink in real time, with faults.
type film struct {
	material, second Material
	faults           Faults
	epoch            time.Time // where the material began
	out              sink
	done             <-chan struct{}
}

// run returns when done is closed or the sink fails.
func (f *film) run() error {
	begin := time.Now()
	at := begin.Sub(f.epoch)
	reel := f.material.Reel(at)
	s, err := f.start(f.material, reel, at, begin)
	if err != nil || f.faults.Mute {
		<-f.done
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		u := s.unit()
		if f.due(s, begin, u) && u.Track == 0 && u.Sync {
			if s, err = f.start(f.second, f.second.Reel(0), 0, time.Now(), s.packers...); err != nil {
				return err
			}
			u = s.unit()
			f.second = nil
		}
		timer.Reset(time.Until(s.when(u)))
		select {
		case <-f.done:
			return nil
		case <-timer.C:
		}
		now := time.Since(begin)
		switch {
		case f.faults.DropEvery > 0 && now >= f.faults.DropEvery:
			f.out.drop()
			<-f.done
			return nil
		case f.faults.SilentAfter > 0 && now >= f.faults.SilentAfter:
			<-f.done
			return nil
		}
		if err := s.send(u, now); err != nil {
			return err
		}
	}
}

// due reports whether the second material's time has come.
func (f *film) due(_ *showing, begin time.Time, _ Unit) bool {
	return f.second != nil && f.faults.ChangeAfter > 0 && time.Since(begin) >= f.faults.ChangeAfter
}

// showing is one material under way.
type showing struct {
	f       *film
	reel    Reel
	held    *Unit
	packers []*packer
	tracks  []Track
	zero    time.Time     // when media time origin is sent
	origin  time.Duration // media time sent at zero
	pace    float64       // real seconds per media second
	base    []int64       // ticks added to each track's timestamps
	last    []int64       // highest timestamp sent, without jumps
	report  time.Time
	keys    int
	count   int
}

// start begins to show m. Packers of a material shown before go on with their numbers
// and timestamps.
func (f *film) start(m Material, reel Reel, at time.Duration, now time.Time, old ...*packer) (*showing, error) {
	s := &showing{f: f, reel: reel, tracks: m.Tracks(), zero: now, pace: 1}
	if f.faults.Stretch > 0 {
		s.pace = f.faults.Stretch
	}
	for i, t := range s.tracks {
		if i < len(old) {
			s.packers = append(s.packers, old[i])
			continue
		}
		p, err := newPacker(t)
		if err != nil {
			return nil, err
		}
		s.packers = append(s.packers, p)
	}
	s.base, s.last = make([]int64, len(s.tracks)), make([]int64, len(s.tracks))
	u := reel.Next()
	if f.faults.MidGOP && len(old) == 0 {
		for ticks(u.DTS, s.tracks[u.Track].Clock) < at {
			u = reel.Next()
		}
	}
	s.held = &u
	s.origin = ticks(u.DTS, s.tracks[u.Track].Clock)
	if len(old) > 0 { // timestamps go on where the wall clock is
		for i, t := range s.tracks {
			s.base[i] = int64(now.Sub(f.epoch)) * int64(t.Clock) / int64(time.Second)
		}
	}
	return s, nil
}

func (s *showing) unit() Unit {
	for {
		u := s.next()
		if s.f.faults.NoKeyFrames && u.Track == 0 && u.Sync {
			if s.keys++; s.keys > 1 || s.f.faults.MidGOP {
				continue
			}
		}
		return u
	}
}

func (s *showing) next() Unit {
	if u := s.held; u != nil {
		s.held = nil
		return *u
	}
	return s.reel.Next()
}

// when is the time to send u.
func (s *showing) when(u Unit) time.Time {
	media := ticks(u.DTS, s.tracks[u.Track].Clock) - s.origin
	return s.zero.Add(time.Duration(float64(media) * s.pace / (1 + s.f.faults.DriftPPM/1e6)))
}

// send packs u and sends it, now after the beginning, with reports and jumps.
func (s *showing) send(u Unit, now time.Duration) error {
	p, clock := s.packers[u.Track], int64(s.tracks[u.Track].Clock)
	shift := s.base[u.Track]
	if s.pace != 1 {
		// Honest timestamps: they show the pace at which frames really come.
		media := u.PTS - int64(s.origin)*clock/int64(time.Second)
		shift += int64(float64(media)*s.pace) - media
	}
	if s.f.faults.JumpEvery > 0 {
		by := s.f.faults.JumpBy
		if by == 0 {
			by = time.Hour
		}
		shift += int64(now/s.f.faults.JumpEvery) * int64(by) / int64(time.Second) * clock
	}
	if !s.f.faults.NoSenderReports && u.Track == 0 && time.Since(s.report) >= reportEvery {
		if err := s.reports(u, shift); err != nil {
			return err
		}
	}
	pkts, err := p.pack(u, shift)
	if err != nil {
		return err
	}
	for _, k := range pkts {
		if s.count++; s.f.faults.LoseEvery > 0 && s.count%s.f.faults.LoseEvery == 0 {
			continue
		}
		if err := s.f.out.rtp(u.Track, k); err != nil {
			return err
		}
	}
	return nil
}

// reports ties each track's timestamps to the camera's clock, at u's decode time.
func (s *showing) reports(u Unit, shift int64) error {
	s.report = time.Now()
	wall := s.when(u).Add(s.f.faults.ClockOffset)
	for i, p := range s.packers {
		t := (u.DTS + shift) * int64(s.tracks[i].Clock) / int64(s.tracks[u.Track].Clock)
		if err := s.f.out.rtcp(i, p.report(wall, t)); err != nil {
			return err
		}
	}
	return nil
}

// pump shows a film to one session of a Server.
type pump struct {
	film
	end  chan struct{}
	once sync.Once
}

func newPump(s *Server, ss *gortsplib.ServerSession, c *gortsplib.ServerConn) *pump {
	p := &pump{end: make(chan struct{})}
	p.film = film{material: s.conf.Material, second: s.conf.Second, faults: s.conf.Faults, epoch: s.started, done: p.end,
		out: sessionSink{ss, c}}
	return p
}

func (p *pump) stop() { p.once.Do(func() { close(p.end) }) }

type sessionSink struct {
	ss *gortsplib.ServerSession
	c  *gortsplib.ServerConn
}

func (s sessionSink) rtp(track int, p *rtp.Packet) error {
	if _, ok := s.ss.SetuppedTracks()[track]; ok {
		s.ss.WritePacketRTP(track, p)
	}
	return nil
}

func (s sessionSink) rtcp(track int, p rtcp.Packet) error {
	if _, ok := s.ss.SetuppedTracks()[track]; ok {
		s.ss.WritePacketRTCP(track, p)
	}
	return nil
}

func (s sessionSink) drop() { s.c.Close() }
