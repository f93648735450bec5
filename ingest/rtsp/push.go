package rtsp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtcp"

	"penstock/ingest/interleaved"
	"penstock/ingest/rtpin"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/streams"
)

// reorderUDP is how many packets of a media may be held back over UDP: a tenth of a
// second of a fast camera.
const reorderUDP = 64

// push is one producer's session, from ANNOUNCE on.
type push struct {
	s       *Server
	session *gortsplib.ServerSession
	conn    *gortsplib.ServerConn
	tap     *interleaved.Conn
	grant   Grant
	remote  string
	medias  []*description.Media
	setups  []headers.Transport // of SETUP answers, in the order of SetuppedMedias

	receiver *rtpin.Receiver
	channels [256]uint8             // media index+1 times two, plus one for RTCP; 0: none
	rtp      [rtpin.MediasMax]uint8 // channel of each media's RTP
	udp      []netip.AddrPort
	last     atomic.Int64 // arrival of the newest packet, ns; UDP only

	mu     sync.Mutex
	sink   Session
	cause  error
	closed bool
	seen   rtpin.Stats // what was reported so far
}

// record starts the session: at RECORD, when all medias were set up.
func (p *push) record(ctx context.Context, transport gortsplib.Transport) error {
	order := p.session.SetuppedMedias()
	if len(order) != len(p.setups) {
		return fault.New(fault.Invalid, "record", p.grant.Stream.Name, "the medias were not set up")
	}
	reorder, ahead := 0, p.ahead
	if transport == gortsplib.TransportUDP {
		reorder, ahead = reorderUDP, nil
	}
	// Here, where it keeps nobody else waiting: open is called where packets come in.
	p.s.c.Hub.Prepare(ctx, p.grant.Stream)
	var err error
	p.receiver, err = rtpin.New(rtpin.Config{Medias: p.medias, Reorder: reorder, Ahead: ahead,
		Open: func(tracks []media.Track) (rtpin.Sink, error) { return p.open(ctx, tracks) }})
	if err != nil {
		return err
	}
	for i, m := range order {
		index := indexOf(p.medias, m)
		if transport == gortsplib.TransportUDP {
			p.receiveUDP(index, m, p.setups[i])
		} else if ids := p.setups[i].InterleavedIDs; ids != nil && ids[0] >= 0 && ids[1] <= 255 {
			p.channels[ids[0]] = uint8(index+1) << 1
			p.channels[ids[1]] = uint8(index+1)<<1 | 1
			p.rtp[index] = uint8(ids[0])
		}
	}
	p.last.Store(p.s.c.Clock.Now().UnixNano())
	p.s.mu.Lock()
	p.s.pushes[p] = struct{}{}
	p.s.mu.Unlock()
	p.grant.begin()
	p.s.c.Hub.Tell(p.grant.Stream, streams.Connecting, "connected by rtsp from "+p.remote+", no media yet")
	if transport == gortsplib.TransportUDP {
		p.tap.Allow(-1) // ffmpeg says nothing over TCP while it sends over UDP
	} else {
		p.tap.Tap(p, interleaved.TapConfig{Silence: p.s.c.Silence})
	}
	return nil
}

func indexOf(list []*description.Media, m *description.Media) int {
	for i := range list {
		if list[i] == m {
			return i
		}
	}
	return -1
}

// open claims the stream, when the tracks are known.
func (p *push) open(ctx context.Context, tracks []media.Track) (rtpin.Sink, error) {
	protocol := "rtsp"
	if isSecure(p.tap) {
		protocol = "rtsps"
	}
	sink, err := p.s.c.Hub.Publish(ctx, p.grant.Stream,
		streams.Producer{Remote: p.remote, Protocol: protocol, Principal: p.grant.Principal}, tracks)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.sink = sink
	p.mu.Unlock()
	p.s.log.Info("producer came", "stream", p.grant.Stream.Name, "remote", p.remote, "tracks", len(tracks))
	return sink, nil
}

// Frame implements interleaved.Handler.
func (p *push) Frame(channel uint8, payload []byte, arrival time.Time) error {
	c := p.channels[channel]
	if c == 0 {
		return nil
	}
	index := int(c>>1) - 1
	if c&1 == 1 {
		p.receiver.Report(index, payload, arrival)
		return nil
	}
	return p.receiver.Packet(index, payload, arrival)
}

// ahead is rtpin.Config.Ahead, of packets that came by TCP.
func (p *push) ahead(index, at int) ([]byte, int) { return p.tap.Ahead(p.rtp[index], at) }

// receiveUDP makes one media's packets come here.
func (p *push) receiveUDP(index int, m *description.Media, t headers.Transport) {
	p.session.OnPacketRTCP(m, func(pkt rtcp.Packet) {
		if sr, ok := pkt.(*rtcp.SenderReport); ok {
			p.receiver.SenderReport(index, sr.SSRC, sr.NTPTime, sr.RTPTime, p.s.c.Clock.Now())
		}
	})
	if t.ClientPorts == nil {
		return
	}
	host, err := netip.ParseAddrPort(p.remote)
	if err != nil {
		return
	}
	from := netip.AddrPortFrom(host.Addr().Unmap(), uint16(t.ClientPorts[0]))
	p.udp = append(p.udp, from)
	p.s.udp.route(from, target{p, index})
}

// datagram takes one RTP packet that came over UDP.
func (p *push) datagram(index int, packet []byte, arrival time.Time) {
	p.last.Store(arrival.UnixNano())
	if err := p.receiver.Packet(index, packet, arrival); err != nil {
		p.end(err)
	}
}

// check ends the session when it has lost its reason to be; after a late look none is silent.
func (p *push) check(now time.Time, late bool) {
	p.mu.Lock()
	sink := p.sink
	p.mu.Unlock()
	switch {
	case sink != nil && isClosed(sink.Done()):
		p.end(errReplaced)
	case p.grant.Context != nil && p.grant.Context.Err() != nil:
		p.end(errRevoked)
	case !late && len(p.udp) > 0 && now.UnixNano()-p.last.Load() > int64(p.s.c.Silence):
		p.end(errSilence)
	}
	p.count()
}

// count adds what was lost since the last time to the metrics.
func (p *push) count() {
	now := p.receiver.Stats()
	p.mu.Lock()
	was := p.seen
	p.seen = now
	p.mu.Unlock()
	p.s.metrics.add(was, now)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// end makes the library close the session, for the reason given.
func (p *push) end(cause error) {
	p.mu.Lock()
	p.cause = cmp.Or(p.cause, cause)
	p.mu.Unlock()
	p.session.Close()
}

// close is called once the library has closed the session.
func (p *push) close(tornDown bool) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.mu.Unlock()
	if len(p.udp) > 0 {
		// TEARDOWN overtakes the last packets: it has a connection of its own.
		time.Sleep(udpLinger)
		p.s.udp.drain() // a machine that is late may not have come to them yet
		for _, from := range p.udp {
			p.s.udp.drop(from)
		}
	}
	p.s.mu.Lock()
	delete(p.s.pushes, p)
	p.s.mu.Unlock()
	p.grant.release()
	if p.receiver == nil {
		return // it never came to RECORD
	}
	p.receiver.Close()
	p.count()
	p.mu.Lock()
	sink, cause := p.sink, p.cause
	p.mu.Unlock()
	if cause == nil && !tornDown {
		cause = p.broken()
	}
	st := p.receiver.Stats()
	args := []any{"stream", p.grant.Stream.Name, "remote", p.remote, "packets", st.Packets, "lost", st.Lost,
		"damaged", st.Damaged, "malformed", st.Malformed}
	if cause != nil {
		args = append(args, "err", cause)
	}
	p.s.log.Info("producer left", args...)
	if sink == nil {
		p.s.c.Hub.Tell(p.grant.Stream, streams.Idle, p.nothing(cause, st))
		return
	}
	if err := sink.Close(cause); err != nil {
		p.s.log.Warn("end session", "stream", p.grant.Stream.Name, "err", err)
	}
}

// nothing says why a session came to an end before its first media.
func (p *push) nothing(cause error, st rtpin.Stats) string {
	var why string
	switch {
	case st.NoConfig > 0:
		why = "its pictures came without parameter sets (SPS, PPS)"
	case st.Packets > 0:
		why = "nothing of what it sent could be recorded"
	case cause != nil:
		why = cause.Error()
	default:
		why = "it sent nothing"
	}
	return "rtsp from " + p.remote + " ended: " + why
}

// broken says why the connection ended without a TEARDOWN.
func (p *push) broken() error {
	err := p.tap.Err()
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errSilence
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return errHungUp
	}
	return err
}
