package streams

import (
	"fmt"
	"sync"
	"time"

	"penstock/fragments"
)

// Indices of figures.lost, in the order of lossNames.
const (
	lostNetwork = iota
	lostNoKeyFrame
	lostDamaged
	lostThrottled
	lostStorage
	lostUnknown
	skippedByViewer
	lossKinds
)

func lossNames() [lossKinds]LossReason {
	return [lossKinds]LossReason{LostNetwork, LostNoKeyFrame, LostDamaged, LostThrottled, LostStorage, LostUnknown, SkippedByViewer}
}

// How figures are smoothed.
const (
	window   = time.Second // rates are taken over it
	newPart  = 0.3         // weight of the newest window
	stale    = 3 * window  // without media for so long, rates are 0
	wallPart = 0.05        // weight of the newest sample's clock offset
	wallStep = time.Second // a clock further off than this was set
)

// figures are the counters of a stream, under stream.mu but for what its own mutex
// guards: a fragment's fate comes from the storage's goroutines.
type figures struct {
	bytes, samples, jumps uint64
	lost                  [lossKinds]uint64
	keyInterval           time.Duration

	windowStart              time.Time
	windowBytes, windowVideo int
	bitrate, fps             float64
	rated                    bool

	clock    time.Duration
	hasClock bool

	mu       sync.Mutex
	recorded time.Time
	kept     uint64 // fragments known durable
	failed   uint64 // samples of fragments lost after Append
}

func (f *figures) lose(kind int, n uint64) { f.lost[kind] += n }

// count is on the hot path: a few additions per sample, a division per second.
func (f *figures) count(n int, video bool, now time.Time) {
	f.bytes += uint64(n)
	f.samples++
	if f.windowStart.IsZero() {
		f.windowStart = now
	}
	if passed := now.Sub(f.windowStart); passed >= window || passed < 0 {
		if passed > 0 {
			f.rate(passed)
		}
		f.windowStart, f.windowBytes, f.windowVideo = now, 0, 0
	}
	f.windowBytes += n
	if video {
		f.windowVideo++
	}
}

func (f *figures) rate(passed time.Duration) {
	bits := float64(f.windowBytes) * 8 / passed.Seconds()
	fps := float64(f.windowVideo) / passed.Seconds()
	if !f.rated || passed > stale {
		f.bitrate, f.fps, f.rated = bits, fps, true
		return
	}
	f.bitrate += newPart * (bits - f.bitrate)
	f.fps += newPart * (fps - f.fps)
}

func (f *figures) wall(offset time.Duration) {
	if d := offset - f.clock; !f.hasClock || d > wallStep || d < -wallStep {
		f.clock, f.hasClock = offset, true
		return
	}
	f.clock += time.Duration(wallPart * float64(offset-f.clock))
}

// settle hears what became of a fragment of n samples.
func (f *figures) settle(h fragments.Head, err error, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed += n
		return
	}
	f.kept++
	if h.End.After(f.recorded) {
		f.recorded = h.End
	}
}

// State says how a stream does now. A stream that the Hub never heard of is idle.
func (h *Hub) State(id string) State {
	st := h.existing(id)
	if st == nil {
		return State{ID: id, Status: Idle}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stateLocked(h.clock.Now())
}

func (st *stream) stateLocked(now time.Time) State {
	f := &st.figures
	v := State{ID: st.id, Status: st.status, Reason: st.reason, Since: st.since, KeyInterval: f.keyInterval,
		ClockOffset: f.clock, HasClock: f.hasClock, Viewers: len(st.listeners)}
	f.mu.Lock()
	v.Recorded = f.recorded
	failed := f.failed
	f.mu.Unlock()
	for i, name := range lossNames() {
		n := f.lost[i]
		switch i {
		case lostStorage:
			n += failed
		case lostNetwork:
			if st.session != nil {
				n += st.session.lost.Load()
			}
		}
		if n > 0 {
			if v.Lost == nil {
				v.Lost = map[LossReason]uint64{} // most streams lost nothing, and Run asks each once a second
			}
			v.Lost[name] = n
		}
	}
	s := st.session
	if s == nil {
		return v
	}
	v.Tracks, v.Producer, v.ProducerSince, v.LastSample = s.tracks, s.producer, s.since, s.last
	silent := now.Sub(s.lastMedia())
	switch {
	case s.started && silent < Silence:
		v.Status, v.Reason = Live, ""
		if noKey := now.Sub(s.lastKey); s.video && noKey > keyFrameWait && noKey > 2*f.keyInterval {
			v.Reason = fmt.Sprintf("no key frame for %d s; viewers cannot start, and fragments are cut without", int(noKey.Seconds()))
		}
	case s.last.IsZero():
		v.Status, v.Reason = Connecting, "no media yet"
		if silent >= Silence {
			v.Reason = fmt.Sprintf("connected, but no media for %d s", int(silent.Seconds()))
		}
	case !s.started && silent < Silence:
		v.Status, v.Reason = Connecting, "waiting for the first key frame"
	default:
		v.Status, v.Reason = Connecting, fmt.Sprintf("no media for %d s", int(silent.Seconds()))
	}
	if silent < stale {
		v.Bitrate, v.FPS = f.bitrate, f.fps
		if !f.rated {
			if passed := now.Sub(f.windowStart); passed > 100*time.Millisecond {
				v.Bitrate = float64(f.windowBytes) * 8 / passed.Seconds()
				v.FPS = float64(f.windowVideo) / passed.Seconds()
			}
		}
	}
	return v
}
