package rtsp

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"penstock/ingest/interleaved"
	"penstock/media"
)

// Pacing of what is sent to a reader.
const (
	// roomMin is how many places of gortsplib's queue must be free for the next picture.
	roomMin = 64
	// roomWait is how long to wait before looking again.
	roomWait = 2 * time.Millisecond
	// udpBurst packets over UDP are followed by a pause, so that the first group of
	// pictures does not overflow the reader's socket.
	udpBurst = 32
	udpPause = 2 * time.Millisecond
)

// player is one reader's session, from its first SETUP on. It has its own listener and
// its own gortsplib stream, so that it begins with the current group of pictures and
// its slowness is its own: it skips to a sync sample when it falls behind.
type player struct {
	s       *Server
	session *gortsplib.ServerSession
	conn    *gortsplib.ServerConn
	tap     *interleaved.Conn
	grant   Grant
	remote  string
	sight   *sight
	stream  *gortsplib.ServerStream
	outs    map[media.TrackID]*out
	behind  atomic.Bool // gortsplib's queue was full
	queued  uint64      // packets given to gortsplib
	reports reports

	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once

	turn  sync.Mutex // guards the rest: whether it sends
	begun bool       // it was sent to once
	ended bool
	stop  context.CancelFunc // of run; nil: it does not send
	done  chan struct{}      // closed when run returned
}

// out is one track on its way to a reader.
type out struct {
	media  *description.Media
	track  media.Track
	packer packer
	wait   bool // until the next sync sample
	inject bool // parameter sets changed: send them before each sync sample

	// For sender reports (RFC 3550 §6.4.1):
	reported        bool // once, at least
	ssrc            uint32
	packets, octets uint32
}

// newPlayer makes the session of a reader at its first SETUP.
func (h *handler) newPlayer(ctx *gortsplib.ServerHandlerOnSetupCtx, k *caller, g Grant) (*player, error) {
	k.mu.Lock()
	si := k.sight
	k.mu.Unlock()
	if si == nil || si.stream != g.Stream.ID {
		var err error
		if si, err = h.see(g); err != nil {
			return nil, err
		}
	}
	p := &player{s: h.s, session: ctx.Session, conn: ctx.Conn, tap: k.tap, grant: g, remote: k.remote, sight: si,
		outs: map[media.TrackID]*out{}}
	i := 0
	for _, t := range si.tracks {
		if formatOf(t, firstDynamic) == nil {
			continue
		}
		m := si.desc.Medias[i]
		i++
		pk, err := newPacker(m.Formats[0])
		if err != nil {
			return nil, err
		}
		p.outs[t.ID] = &out{media: m, track: t, packer: pk, wait: t.Codec.Kind() == media.Video}
	}
	p.stream = &gortsplib.ServerStream{Server: h.s.library, Desc: si.desc}
	if err := p.stream.Initialize(); err != nil {
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancel(h.ctx)
	ctx.Session.SetUserData(p)
	h.s.mu.Lock()
	h.s.players[p] = struct{}{}
	h.s.mu.Unlock()
	return p, nil
}

// start begins to send, once PLAY was answered; after a pause it goes on with what is live
// then. Twice is fine: PLAY may be repeated.
func (p *player) start() {
	p.turn.Lock()
	defer p.turn.Unlock()
	if p.stop != nil || p.ended {
		return
	}
	if !p.begun {
		p.begun = true
		p.grant.begin()
		p.s.log.Info("reader came", "stream", p.grant.Stream.Name, "remote", p.remote)
	}
	ctx, stop := context.WithCancel(p.ctx)
	p.stop, p.done = stop, make(chan struct{})
	go p.run(ctx, p.done)
}

// halt stops sending and returns when nothing is on its way to gortsplib any more.
func (p *player) halt() {
	p.turn.Lock()
	defer p.turn.Unlock()
	if p.stop != nil {
		p.stop()
		<-p.done
		p.stop = nil
	}
}

// check ends the session when its permission is gone.
func (p *player) check() {
	if c := p.grant.Context; c != nil && c.Err() != nil {
		p.session.Close()
	}
}

// close is called once gortsplib has closed the session.
func (p *player) close() {
	p.once.Do(func() {
		p.cancel()
		p.halt()
		p.turn.Lock()
		p.ended = true
		if p.begun {
			p.s.log.Info("reader left", "stream", p.grant.Stream.Name, "remote", p.remote)
		}
		p.turn.Unlock()
		p.stream.Close()
		p.grant.release()
		p.s.mu.Lock()
		delete(p.s.players, p)
		p.s.mu.Unlock()
	})
}

// run sends what the stream brings until the session ends or is paused, with ctx.
func (p *player) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	l := p.s.c.Hub.Listen(p.grant.Stream.ID)
	defer l.Close()
	tcp := *p.session.SetuppedTransport() == gortsplib.TransportTCP
	written := p.tap.Frames()
	p.queued = 0 // a pause empties gortsplib's queue
	p.choose()
	p.skip()
	for {
		ev, err := l.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.session.Close()
			}
			return
		}
		if ev.Tracks != nil && !p.retrack(ev.Tracks) {
			p.session.Close() // the reader asks anew and gets the new description
			return
		}
		if ev.Skipped > 0 || p.behind.Swap(false) {
			p.skip()
		}
		o := p.outs[ev.Sample.Track]
		if o == nil || len(ev.Sample.Data) == 0 {
			continue
		}
		if o.wait && !ev.Sample.Sync {
			continue
		}
		o.wait = false
		if tcp && !p.room(ctx, written) {
			return
		}
		if !p.send(o, ev.Sample, ev.Server, !tcp) {
			p.session.Close()
			return
		}
	}
}

// choose forgets the tracks that the reader did not set up: what is made of them goes
// nowhere, and would be counted as waiting in gortsplib's queue for ever.
func (p *player) choose() {
	chosen := p.session.SetuppedMedias()
	for id, o := range p.outs {
		if !slices.Contains(chosen, o.media) {
			delete(p.outs, id)
		}
	}
}

// retrack takes new tracks; false: the reader has to ask anew.
func (p *player) retrack(tracks []media.Track) bool {
	if !sameShape(p.sight.tracks, tracks) {
		return false
	}
	for _, t := range tracks {
		if o := p.outs[t.ID]; o != nil && !media.EqualCodecs(o.track.Codec, t.Codec) {
			o.track, o.inject = t, true
		} else if o != nil {
			o.track = t
		}
	}
	return true
}

// skip makes all video tracks wait for their next sync sample.
func (p *player) skip() {
	for _, o := range p.outs {
		o.wait = o.track.Codec.Kind() == media.Video
	}
}

// room waits until gortsplib's queue has room for a picture; false: ctx ended.
// Frames that left are counted where they leave, at the connection.
func (p *player) room(ctx context.Context, before uint64) bool {
	for p.queued-min(p.queued, p.tap.Frames()-before) > queue-roomMin {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(roomWait):
		}
	}
	return true
}

// send gives one sample to gortsplib, in packets.
func (p *player) send(o *out, s media.Sample, server time.Time, pause bool) bool {
	packets, err := o.packer.pack(o, s)
	if err != nil {
		p.s.log.Debug("packetize", "stream", p.grant.Stream.Name, "err", err)
		return true
	}
	ts := o.packer.base + uint32(o.scale(s.DTS+int64(s.CTO)))
	for i, pkt := range packets {
		pkt.Timestamp += ts
		if err := p.stream.WritePacketRTPWithNTP(o.media, pkt, server); err != nil {
			return false
		}
		p.queued++
		o.ssrc = pkt.SSRC // the stream chose it
		o.packets++
		o.octets += uint32(len(pkt.Payload))
		if pause && i%udpBurst == udpBurst-1 {
			time.Sleep(udpPause)
		}
	}
	p.report(o, s, server)
	return true
}

// scale converts ticks of the track to ticks of its payload format.
func (o *out) scale(ticks int64) int64 {
	clock, scale := int64(o.media.Formats[0].ClockRate()), int64(o.track.Timescale)
	if clock == scale || scale == 0 {
		return ticks
	}
	return ticks/scale*clock + ticks%scale*clock/scale
}
