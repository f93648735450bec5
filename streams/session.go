package streams

import (
	"fmt"
	"sync/atomic"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
)

// keyFrameWait is how long a session waits for a first key frame before it records
// without: some encoders refresh gradually and never send one.
const keyFrameWait = 10 * time.Second

// carryMax bounds the bytes of media held for new viewers when a fragment had to be cut
// inside a GOP.
const carryMax = 8 << 20

// Session is one producer's hold on a stream. Write, SetTracks, Cut and Close are for
// one goroutine; Lost and Done may be called from any.
type Session struct {
	st       *stream
	producer Producer
	stored   func(fragments.Head, error)
	since    time.Time
	done     chan struct{}
	lost     atomic.Uint64 // reported by Lost, not yet in the stream's figures

	// What follows is under stream.mu.
	tracks   []media.Track
	times    []trackTime // as tracks
	ref      int         // index of the track that starts GOPs: the first video, else the first
	video    bool        // ref is a video track
	cutter   *fragments.Fragmenter
	started  bool // the first sync sample came
	jumped   bool // a new run begins at the next sync sample
	lastJump jump
	last     time.Time // arrival of the last sample
	lastKey  time.Time // arrival of the last sync sample of ref
	silent   bool      // the open fragment was closed because nothing came
	carry    []media.Sample
	ended    error // why the session ended; nil: it goes on
}

func newSession(st *stream, p Producer, tracks []media.Track, stored func(fragments.Head, error), now time.Time) *Session {
	s := &Session{st: st, producer: p, stored: stored, since: now, done: make(chan struct{})}
	// After a restart nothing is known here; then the log knows how the last process ended.
	cfg := fragments.FragmenterConfig{Target: st.hub.config.Target, Gap: st.absent.Cause, GapDetail: st.absent.Detail}
	st.absent = Ending{}
	cfg.After, _ = st.log.Newest()
	s.cutter = fragments.NewFragmenter(cfg, tracks)
	s.setTracks(tracks)
	return s
}

func (s *Session) setTracks(tracks []media.Track) {
	times := make([]trackTime, len(tracks))
	s.ref, s.video = 0, false
	for i, t := range tracks {
		times[i].track = t
		for j := range s.tracks {
			if s.tracks[j].ID == t.ID && s.tracks[j].Timescale == t.Timescale {
				times[i] = s.times[j]
				times[i].track = t
			}
		}
		if t.Codec.Kind() == media.Video && !s.video {
			s.ref, s.video = i, true
		}
	}
	s.tracks, s.times = tracks, times
	for _, l := range s.st.listeners {
		l.setTracks(tracks, tracks[s.ref].ID)
	}
}

func (s *Session) index(id media.TrackID) int {
	for i := range s.tracks {
		if s.tracks[i].ID == id {
			return i
		}
	}
	return -1
}

// lastMedia is when media last came, or the session began. stream.mu is held.
func (s *Session) lastMedia() time.Time {
	if s.last.IsZero() {
		return s.since
	}
	return s.last
}

// Write takes a sample, in the producer's decode order, and the ownership of its Data.
// It never waits for a viewer or a disk. Pictures before the first key frame, and samples
// of tracks that are not of the session, are counted and left out; so is, uncounted, sound
// before the first picture. An error means that
// the session is over: replaced (fault.InUse), closed or its stream deleted (fault.Expired).
func (s *Session) Write(m media.Sample) error {
	st := s.st
	now := st.hub.clock.Now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	i := s.index(m.Track)
	if i < 0 {
		st.figures.lose(lostUnknown, 1)
		return nil
	}
	if len(m.Data) == 0 {
		st.figures.lose(lostDamaged, 1)
		return nil
	}
	s.last = now
	if s.silent {
		s.silent = false
		st.since = now
	}
	key := m.Sync && i == s.ref
	if !s.started {
		if !key && s.video && now.Sub(s.since) < keyFrameWait {
			if i == s.ref { // sound of the moment before the first picture is no loss
				st.figures.lose(lostNoKeyFrame, 1)
			}
			return nil
		}
		s.started = true
		st.reason, st.since = "", now
		s.lastKey = now
		defer st.hub.subs.tell(st.id)
	}
	dts, jumped := s.times[i].next(m.DTS, now, &s.lastJump)
	m.CTO = retime(m.CTO, m.DTS+s.times[i].offset-dts)
	m.DTS = dts
	if jumped {
		s.jumped = true
		st.figures.jumps++
	}
	if key {
		s.keyFrame(now)
	}
	s.add(m, now)
	st.figures.count(len(m.Data), i == s.ref && s.video, now)
	if !m.Wall.IsZero() {
		st.figures.wall(m.Wall.Sub(now))
	}
	return nil
}

// retime keeps the presentation time when a decode time was moved.
func retime(cto int32, by int64) int32 {
	if v := int64(cto) + by; v == int64(int32(v)) {
		return int32(v)
	}
	return cto
}

// keyFrame notes a sync sample of the reference track, before it is added.
func (s *Session) keyFrame(now time.Time) {
	if s.video && !s.lastKey.Equal(now) {
		s.st.figures.keyInterval = now.Sub(s.lastKey)
	}
	s.lastKey = now
	s.carry = nil
	if s.jumped {
		s.jumped = false
		if f := s.cutter.Jump(); f != nil {
			s.keep(f)
		}
	}
}

// add gives the sample to the fragmenter and to the listeners.
func (s *Session) add(m media.Sample, now time.Time) {
	if f := s.cutter.Add(m, now); f != nil {
		s.keep(f)
	}
	if len(s.st.listeners) == 0 {
		return
	}
	server := s.cutter.ServerTime(m)
	for _, l := range s.st.listeners {
		l.push(Event{Sample: m, Server: server})
	}
}

// keep hands a finished fragment to the log and tells listeners of the boundary.
func (s *Session) keep(f *fragments.Fragment) {
	st := s.st
	s.carryOver(f)
	n := uint64(len(f.Samples))
	err := st.log.Append(f, func(h fragments.Head, err error) {
		st.figures.settle(h, err, n)
		if s.stored != nil {
			s.stored(h, err)
		}
	})
	if err != nil {
		st.figures.lose(lossOf(err), n)
		if s.stored != nil {
			s.stored(f.Head, err)
		}
	}
	if len(st.listeners) > 0 {
		head := f.Head
		for _, l := range st.listeners {
			l.push(Event{Fragment: &head, Server: head.End})
		}
	}
}

func lossOf(err error) int {
	if fault.Is(err, fault.Throttled) {
		return lostThrottled
	}
	return lostStorage
}

// carryOver keeps the begun GOP of a fragment for viewers to come, when the next
// fragment starts inside it.
func (s *Session) carryOver(f *fragments.Fragment) {
	if !s.video || s.lastKey.Equal(s.last) {
		s.carry = nil
		return
	}
	id := s.tracks[s.ref].ID
	from := -1
	for i := len(f.Samples) - 1; i >= 0; i-- {
		if f.Samples[i].Sync && f.Samples[i].Track == id {
			from = i
			break
		}
	}
	if from >= 0 {
		s.carry = append([]media.Sample(nil), f.Samples[from:]...)
	} else if s.carry != nil {
		s.carry = append(s.carry, f.Samples...)
	}
	size := 0
	for i := range s.carry {
		size += len(s.carry[i].Data)
	}
	if size > carryMax {
		s.carry = nil
	}
}

// gop calls yield for the samples since the last sync sample. stream.mu is held.
func (s *Session) gop(yield func(media.Sample)) {
	open := s.cutter.Open()
	from := -1
	for i := len(open) - 1; i >= 0 && s.video; i-- {
		if open[i].Sync && open[i].Track == s.tracks[s.ref].ID {
			from = i
			break
		}
	}
	if from < 0 {
		if len(s.carry) == 0 {
			return
		}
		for _, m := range s.carry {
			yield(m)
		}
		from = 0
	}
	for _, m := range open[from:] {
		yield(m)
	}
}

// SetTracks says that the codec configuration changed: the next sample begins a new run.
// The same tracks again change nothing. fault.Invalid: the tracks are not usable.
func (s *Session) SetTracks(tracks []media.Track) error {
	if err := checkTracks(s.st.name, tracks); err != nil {
		return err
	}
	s.st.mu.Lock()
	if s.ended != nil {
		s.st.mu.Unlock()
		return s.ended
	}
	if media.EqualTracks(s.tracks, tracks) {
		s.st.mu.Unlock()
		return nil
	}
	if f := s.cutter.SetTracks(tracks); f != nil {
		s.keep(f)
	}
	s.carry = nil
	s.setTracks(tracks)
	s.st.mu.Unlock()
	s.st.hub.subs.tell(s.st.id)
	return nil
}

// Lost counts n packets or samples of a track that were lost on the way here.
func (s *Session) Lost(_ media.TrackID, n int) {
	if n > 0 {
		s.lost.Add(uint64(n))
	}
}

// Cut ends the fragment here, not at the first sync sample past the target.
func (s *Session) Cut() error {
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	if f := s.cutter.Cut(); f != nil {
		s.keep(f)
	}
	return nil
}

// Close ends the session and keeps what it wrote. cause nil is a clean end; an Ending
// says it exactly; other errors are shown as a lost connection, a refusal or an
// unreachable camera, by their Kind. Closing again is no error.
func (s *Session) Close(cause error) error {
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	if s.ended == nil {
		s.finishLocked(endingOf(cause), s.st.hub.clock.Now())
	}
	return nil
}

// Done is closed when the session is over, also when another producer replaced it or
// its stream was deleted: then the door hangs up.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session is over; nil while it goes on.
func (s *Session) Err() error {
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	return s.ended
}

// finishLocked ends the session. stream.mu is held.
func (s *Session) finishLocked(e Ending, now time.Time) { s.end(e, now, false) }

// end is finishLocked; replaced says that another producer took over.
func (s *Session) end(e Ending, now time.Time, replaced bool) {
	if s.ended != nil {
		return
	}
	st := s.st
	if f := s.cutter.Flush(e.Cause, e.Detail); f != nil {
		s.keep(f)
	}
	st.figures.lose(lostNetwork, s.lost.Swap(0))
	st.absence(e)
	kind := fault.Expired
	if replaced {
		kind = fault.InUse
	}
	s.ended = &fault.Error{Kind: kind, Op: "write to", Resource: st.name, Err: e}
	s.carry = nil
	if st.session == s {
		st.session = nil
		st.status, st.reason, st.since = Idle, e.Error(), now
	}
	for _, l := range st.listeners {
		l.interrupt()
	}
	close(s.done)
	// Subscribers read the state anew, after the lock is free.
	st.hub.subs.tell(st.id)
}

// silenceLocked closes the open fragment of a producer that sends nothing, so that what
// it sent is safe and the timeline says why nothing follows. stream.mu is held.
func (s *Session) silenceLocked(now time.Time) {
	s.silent = true
	detail := fmt.Sprintf("nothing since %s", s.lastMedia().UTC().Format(time.TimeOnly))
	if f := s.cutter.Flush(fragments.CauseSilent, detail); f != nil {
		s.keep(f)
	}
	s.st.log.Absent(fragments.CauseSilent, detail)
	s.st.since = now
}
