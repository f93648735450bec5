package live

import (
	"context"
	"errors"
	"sync"
	"time"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/fmp4"
	"penstock/playback"
	"penstock/streams"
)

// How samples are gathered into one message: a message costs the browser far more than
// its bytes, and a wall of many tiles is watched, not reacted to.
const (
	fewTiles   = 4 // up to here each frame leaves at once
	someTiles  = 9
	someGather = 40 * time.Millisecond
	manyGather = 100 * time.Millisecond
	// gatherMax bounds one message, after a listener had to wait.
	gatherMax = 512
)

// subscription is one stream on one socket.
type subscription struct {
	k      *socket
	st     streams.Stream
	id     uint16
	audio  bool
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	shown struct { // what the client was last told
		sync.Mutex
		status streams.Status
		reason string
	}

	// touched by run only
	tracks   []media.Track   // those sent; nil until known
	sound    *playback.Sound // makes samples into those of tracks
	next     []int64         // per track: where its next sample is expected
	step     []int64         // per track: its usual distance
	sequence uint32
	samples  []media.Sample
	at       time.Time // server time of samples[0]
}

func newSubscription(k *socket, st streams.Stream, id uint16, audio bool) *subscription {
	ctx, cancel := context.WithCancel(k.ctx)
	return &subscription{k: k, st: st, id: id, audio: audio, ctx: ctx, cancel: cancel, done: make(chan struct{})}
}

// news reports whether state differs from what the client was last told.
func (s *subscription) news(state streams.State) bool {
	s.shown.Lock()
	defer s.shown.Unlock()
	changed := s.shown.status != state.Status || s.shown.reason != state.Reason
	s.shown.status, s.shown.reason = state.Status, state.Reason
	return changed
}

// run sends the stream until the subscription or the socket ends.
func (s *subscription) run() {
	defer s.k.running.Done()
	defer s.k.gone(s)
	defer s.cancel()
	l := s.k.s.c.Hub.Listen(s.st.ID, streams.ListenOptions{From: streams.LiveGOP, Bytes: s.k.s.c.ListenerBytes})
	defer l.Close()
	for {
		e, err := l.Next(s.ctx)
		if err != nil {
			if s.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				s.k.complain(int(s.id), err)
			}
			return
		}
		if err := s.gather(l, e); err != nil {
			s.k.complain(int(s.id), err)
			if !fault.Is(err, fault.Unavailable) {
				return
			}
		}
	}
}

// gather takes an event and what comes with or shortly after it, and sends it.
func (s *subscription) gather(l *streams.Listener, e streams.Event) error {
	if err := s.take(e); err != nil {
		return err
	}
	if wait := s.patience(); wait > 0 && len(s.samples) > 0 {
		ctx, cancel := context.WithTimeout(s.ctx, wait)
		defer cancel()
		for len(s.samples) < gatherMax {
			e, err := l.Next(ctx)
			if err != nil {
				break // time is up; an ended listener is met by run
			}
			if err := s.take(e); err != nil {
				return err
			}
		}
	}
	for len(s.samples) < gatherMax {
		e, ok := l.TryNext()
		if !ok {
			break
		}
		if err := s.take(e); err != nil {
			return err
		}
	}
	return s.flush()
}

// patience is how long samples are gathered.
func (s *subscription) patience() time.Duration {
	switch n := s.k.many.Load(); {
	case n <= fewTiles:
		return 0
	case n <= someTiles:
		return someGather
	}
	return manyGather
}

// take adds an event to what will be sent next.
func (s *subscription) take(e streams.Event) error {
	if e.Tracks != nil {
		if err := s.begin(e.Tracks, e); err != nil {
			return err
		}
	}
	if e.Skipped > 0 {
		if err := s.flush(); err != nil {
			return err
		}
		s.sound.Restart()
		s.k.s.c.Metrics.Skipped.Add(float64(e.Skipped))
		s.k.text(message{Type: "skipped", ID: int(s.id), Samples: e.Skipped})
	}
	i := s.index(e.Sample.Track)
	if e.Sample.Data == nil || i < 0 {
		return nil
	}
	if len(s.samples) == 0 {
		s.at = e.Server
	}
	s.samples = append(s.samples, e.Sample)
	if d := e.Sample.DTS - s.next[i] + s.step[i]; d > 0 && d < 2*int64(s.tracks[i].Timescale) {
		s.step[i] = d
	}
	s.next[i] = e.Sample.DTS + s.step[i]
	return nil
}

// begin sends the initialization section of new tracks.
func (s *subscription) begin(all []media.Track, e streams.Event) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.tracks = nil
	tracks, err := playback.RequirePlayable("watch "+s.st.Name, all)
	if err != nil {
		return err
	}
	if lead := tracks[playback.Lead(tracks)]; !s.audio && lead.Codec.Kind() == media.Video {
		tracks = []media.Track{lead}
	}
	data, err := fmp4.Init(tracks)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "watch", s.st.Name, err)
	}
	s.tracks, s.sound = tracks, playback.NewSound(all)
	s.next, s.step = make([]int64, len(tracks)), make([]int64, len(tracks))
	for i, t := range tracks {
		s.step[i] = t.Ticks(40 * time.Millisecond)
		if t.Codec.Kind() == media.Audio {
			s.step[i] = t.Ticks(20 * time.Millisecond)
		}
	}
	at := e.Server
	if at.IsZero() {
		at = s.k.s.c.Clock.Now()
	}
	s.k.text(message{Type: "init", ID: int(s.id), Stream: s.st.Name, MIME: playback.MIME(tracks), StartUS: at.UnixMicro()})
	s.k.media(kindInit, 0, s.id, at, data)
	return nil
}

// flush sends what was gathered.
func (s *subscription) flush() error {
	if len(s.samples) == 0 {
		return nil
	}
	s.sequence++
	data, err := fmp4.Part(s.sequence, s.tracks, s.sound.Samples(s.samples), s.next)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "watch", s.st.Name, err)
	}
	flags := byte(0)
	lead := s.tracks[playback.Lead(s.tracks)].ID
	for _, x := range s.samples {
		if x.Track == lead {
			if x.Sync {
				flags = flagSync
			}
			break
		}
	}
	clear(s.samples)
	s.samples = s.samples[:0]
	s.k.media(kindMedia, flags, s.id, s.at, data)
	return nil
}

func (s *subscription) index(id media.TrackID) int {
	for i, t := range s.tracks {
		if t.ID == id {
			return i
		}
	}
	return -1
}
