package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"penstock/ingest/camera"
	"penstock/ingest/rtpin"
	"penstock/internal/host"
	"penstock/media"
)

// keysEnough is how many key frames tell the interval.
const keysEnough = 3

// reportTime is how long a camera is given for its first sender report; most send one
// with the first packets, others every 5 s.
const reportTime = 5500 * time.Millisecond

// view gathers what media shows. It is the sink of the receiver.
type view struct {
	clock host.Clock

	mu      sync.Mutex
	changed chan struct{} // holds one token when something changed
	tracks  []media.Track
	video   media.TrackID
	first   time.Time // sample
	keys    []keyFrame
	key     media.Sample  // newest key frame
	offset  time.Duration // least delayed: Wall minus arrival
	hasTime bool
	lost    int
	reorder bool
	lastPTS int64
}

// keyFrame is when one came, and its time in the media.
type keyFrame struct {
	at  time.Time
	dts time.Duration
}

// interval is the longest time between key frames: by the media's own time, which knows
// no traffic, unless that jumps.
func (v *view) interval() time.Duration {
	var longest time.Duration
	for i := 1; i < len(v.keys); i++ {
		arrived, said := v.keys[i].at.Sub(v.keys[i-1].at), v.keys[i].dts-v.keys[i-1].dts
		if said <= 0 || said > arrived+time.Minute {
			said = arrived
		}
		longest = max(longest, said)
	}
	return longest
}

func newView(c host.Clock) *view { return &view{clock: c, changed: make(chan struct{}, 1)} }

func (v *view) notify() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

func (v *view) open(tracks []media.Track) (rtpin.Sink, error) {
	_ = v.SetTracks(tracks)
	return v, nil
}

// Write looks at one sample; see rtpin.Sink.
func (v *view) Write(s media.Sample) error {
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.notify()
	if v.first.IsZero() {
		v.first = now
	}
	if !s.Wall.IsZero() {
		if off := s.Wall.Sub(now); !v.hasTime || off > v.offset {
			v.offset, v.hasTime = off, true
		}
	}
	if s.Track != v.video {
		return nil
	}
	if pts := s.DTS + int64(s.CTO); pts < v.lastPTS && len(v.keys) > 0 {
		v.reorder = true
	} else {
		v.lastPTS = pts
	}
	if s.Sync {
		v.keys = append(v.keys, keyFrame{now, v.ticks(s.DTS)})
		v.key = s
	}
	return nil
}

// ticks converts a decode time of the video track.
func (v *view) ticks(n int64) time.Duration {
	for _, t := range v.tracks {
		if t.ID == v.video {
			return t.Duration(n)
		}
	}
	return 0
}

// SetTracks notes what the tracks are; see rtpin.Sink.
func (v *view) SetTracks(tracks []media.Track) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.notify()
	v.tracks = tracks
	for _, t := range tracks {
		if t.Codec.Kind() == media.Video {
			v.video = t.ID
			break
		}
	}
	return nil
}

// Lost counts packets that never came; see rtpin.Sink.
func (v *view) Lost(_ media.TrackID, n int) {
	v.mu.Lock()
	v.lost += n
	v.mu.Unlock()
}

// wait returns true when ok does, with the lock held, and false after d or when ctx ends.
func (v *view) wait(ctx context.Context, d time.Duration, ok func() bool) bool {
	t := v.clock.NewTimer(d)
	defer t.Stop()
	for {
		v.mu.Lock()
		good := ok()
		v.mu.Unlock()
		if good {
			return true
		}
		select {
		case <-v.changed:
		case <-t.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// watch climbs the rungs from the description on.
func (l *ladder) watch(ctx context.Context, conn *camera.Conn) {
	v := newView(l.p.conf.Clock)
	recv, err := rtpin.New(rtpin.Config{Medias: conn.Medias, Open: v.open})
	if err != nil {
		l.broken(Described, camera.TroubleOf(err))
		return
	}
	defer recv.Close()
	tap := camera.Tap{Receiver: recv}
	tap.Receive(conn, nil, 0)
	l.report.Transport = conn.Transport
	l.described(conn, recv)
	if err := conn.Play(ctx); err != nil {
		l.broken(SetUp, camera.TroubleOf(err))
		return
	}
	ctx, hungUp := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { hungUp(conn.Wait()) })
	defer wg.Wait()
	defer conn.Close()
	l.ok(SetUp, "media over "+strings.ToUpper(string(conn.Transport)), l.whyUDP(conn))
	if !l.packets(ctx, conn, &tap, v) || !l.keyFrames(ctx, v) {
		return
	}
	l.clock(v)
	l.picture(ctx, v)
}

func (l *ladder) described(conn *camera.Conn, recv *rtpin.Receiver) {
	var known []media.Track
	for _, t := range recv.Tracks() {
		if t.Codec != nil {
			known = append(known, t)
		}
	}
	l.report.Tracks = known
	detail, try := describe(known)
	if len(known) == 0 {
		detail = fmt.Sprintf("%d streams; their parameters come with the media", len(conn.Medias))
	}
	if conn.Server != "" {
		detail += " (" + conn.Server + ")"
	}
	l.ok(Described, detail, try)
}

func (l *ladder) whyUDP(conn *camera.Conn) string {
	if conn.Transport == camera.UDP {
		return "over UDP, packets can be lost on the way: use TCP if the camera offers it"
	}
	return ""
}

// packets waits for the first one.
func (l *ladder) packets(ctx context.Context, conn *camera.Conn, tap *camera.Tap, v *view) bool {
	deadline := l.p.conf.Clock.NewTimer(l.p.conf.Rung)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for tap.Last().IsZero() {
		select {
		case <-ctx.Done():
			l.ended(ctx, Packets)
			return false
		case <-poll.C:
		case <-deadline.C:
			tr := &camera.Trouble{Detail: "the camera agreed to send over TCP and sends nothing", Try: "restart the camera, or try the transport udp"}
			if conn.Transport == camera.UDP {
				tr = &camera.Trouble{Detail: "the camera agreed to send over UDP and nothing arrives", Try: "set the transport to tcp: a firewall or NAT on the way keeps UDP out"}
			}
			l.broken(Packets, tr)
			return false
		}
	}
	l.ok(Packets, "after "+l.took(), "")
	return true
}

// ended breaks the rung at which the camera hung up; a caller who gave up needs none.
func (l *ladder) ended(ctx context.Context, rung string) {
	var tr *camera.Trouble
	if errors.As(context.Cause(ctx), &tr) {
		c := *tr
		c.Try = cmp.Or(c.Try, "restart the camera; it may have too many viewers")
		l.broken(rung, &c)
	}
}

// keyFrames waits for the first, and then for what tells their interval.
func (l *ladder) keyFrames(ctx context.Context, v *view) bool {
	began := l.p.conf.Clock.Now()
	const setting = "set its key frame interval (I-frame interval, GOP length) to 1 or 2 seconds"
	if !v.wait(ctx, min(l.p.conf.Watch, 10*time.Second), func() bool { return len(v.keys) > 0 }) {
		if ctx.Err() != nil {
			l.ended(ctx, KeyFrame)
		} else {
			l.broken(KeyFrame, &camera.Trouble{Detail: "the camera sent no key frame for " + l.took() + ": a player cannot begin anywhere", Try: setting})
		}
		return false
	}
	v.wait(ctx, l.p.conf.Watch-l.p.conf.Clock.Now().Sub(began), func() bool {
		return len(v.keys) >= keysEnough && (v.hasTime || l.p.conf.Clock.Now().Sub(began) >= reportTime)
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	l.report.OK = true
	l.report.Tracks = v.tracks
	l.report.KeyInterval = v.interval()
	switch every := l.report.KeyInterval; {
	case every == 0:
		l.ok(KeyFrame, "one came, and no second within "+l.took(), "video starts late and clips are coarse: "+setting)
	case every > intervalGood:
		l.ok(KeyFrame, "every "+span(every), "video starts up to "+span(every)+" late: "+setting)
	case v.reorder:
		l.ok(KeyFrame, "every "+span(every)+"; the camera uses B frames", "for the lowest delay, switch B frames off (H.264 profile: baseline or main without B frames)")
	default:
		l.ok(KeyFrame, "every "+span(every), "")
	}
	return true
}

func (l *ladder) clock(v *view) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l.report.ClockOffset, l.report.HasClock = v.offset, v.hasTime
	const ntp = "set the camera's time server (NTP) and its time zone"
	off := v.offset.Abs()
	way := "ahead"
	if v.offset < 0 {
		way = "behind"
	}
	switch {
	case !v.hasTime:
		l.ok(ClockRung, "the camera does not say what time it has; frames are dated when they arrive", "")
	case off > clockGood:
		l.step(Step{ClockRung, false, "the camera's clock is " + span(off) + " " + way, ntp})
	default:
		l.ok(ClockRung, "the camera's clock is "+span(off)+" "+way, "")
	}
}

func (l *ladder) picture(ctx context.Context, v *view) {
	v.mu.Lock()
	key := v.key
	var track media.Track
	for _, t := range v.tracks {
		if t.ID == v.video {
			track = t
		}
	}
	v.mu.Unlock()
	size := fmt.Sprintf("a key frame of %d kB", (len(key.Data)+999)/1000)
	if p, ok := track.Codec.(media.Picture); ok {
		size = fmt.Sprintf("%dx%d, %s", p.Width(), p.Height(), size)
	}
	if l.p.conf.Picture == nil {
		l.ok(Picture, size, "")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pictureTime)
	defer cancel()
	jpeg, err := l.p.conf.Picture(ctx, track, key)
	if err != nil {
		l.ok(Picture, size+"; it could not be drawn here: "+err.Error(), "install ffmpeg to see stills; recording and playing work without")
		return
	}
	l.report.JPEG = jpeg
	l.ok(Picture, size, "")
}
