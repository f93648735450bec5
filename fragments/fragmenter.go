package fragments

import (
	"cmp"
	"fmt"
	"time"

	"penstock/media"
)

// How the Fragmenter tells what happened between two samples.
const (
	defaultTarget = 2 * time.Second
	defaultMax    = 10 * time.Second
	// silence is the shortest time without a sample that is a gap; twice the usual
	// distance of samples where that is more.
	silence = 1500 * time.Millisecond
	// jumpAhead and jumpBack are how far media time may run ahead of the arrival, or
	// back, from one sample to the next.
	jumpAhead = 2 * time.Second
	jumpBack  = 500 * time.Millisecond
	// catchUp is how long samples after a silence are watched: if they come in a burst,
	// nothing was missing.
	catchUp = time.Second
	// clockStep is how far the server's clock must step for its being set to be noticed.
	clockStep = 500 * time.Millisecond
	// skewDecay is the share of the time by which a timeline that is ahead of the
	// server's clock, because that was set back, waits for it.
	skewDecay = 0.1
	// cutBytes ends a fragment early: what one holds stays in memory until it is durable.
	cutBytes = 96 << 20
)

// FragmenterConfig says where to cut. The zero value is for a stream's first session.
type FragmenterConfig struct {
	// Target is the length at which the next sync sample begins a new fragment; a GOP
	// that is a little shorter is a fragment too. 0: 2 s.
	Target time.Duration
	// Max is the length at which a fragment is cut without a sync sample. 0: 10 s.
	Max time.Duration
	// After is the stream's newest fragment: nothing overlaps it, and numbers and runs go
	// on from it.
	After Head
	// Gap and GapDetail say why media is missing before the first fragment.
	Gap       Cause
	GapDetail string
}

// Fragmenter cuts one session's samples into fragments and gives them server time. It
// does no I/O, knows no clock and is not for sharing.
//
// The three clocks: samples bring media time (DTS) and maybe the producer's (Wall); the
// arrivals are the server's. Within an unbroken run each fragment starts where the one
// before ended.
type Fragmenter struct {
	cfg    FragmenterConfig
	tracks []media.Track
	ref    int
	video  bool
	states []cutState // as tracks
	refHas bool       // the reference track was seen

	open   []media.Sample
	bytes  int64
	begin  int64 // media time of the first sample of open, ns
	forced bool
	run    uint32
	newRun bool // nothing was cut from this run yet

	prev      Head
	broken    bool // the next fragment does not start where prev ended
	gap       Cause
	gapDetail string

	clock   pace
	origin  int64 // µs: pace's arrivals count from here
	zero    int64 // ns: pace's media time counts from here
	last    time.Time
	lastA   int64 // µs, with skew
	skew    int64 // µs that the timeline is ahead of the server's clock
	ifQuiet Cause // why there is a gap if the newest arrival ended a silence
	stalled stall
	usual   int64 // ns between the reference track's samples
}

// cutState is where a track is.
type cutState struct {
	seen  bool
	dts   int64
	delta int64
}

// stall is a silence of which it is not yet known whether media is missing in it.
type stall struct {
	active bool
	at     int   // index in open of the first sample after it
	length int64 // µs
	over   int64 // µs: arrival of that sample
	before pace  // the line up to it
	why    Cause
	least  float64
}

// NewFragmenter returns a Fragmenter for a session with the given tracks.
func NewFragmenter(cfg FragmenterConfig, tracks []media.Track) *Fragmenter {
	cfg.Target, cfg.Max = cmp.Or(cfg.Target, defaultTarget), cmp.Or(cfg.Max, defaultMax)
	f := &Fragmenter{cfg: cfg, prev: cfg.After, run: cfg.After.Run + 1, newRun: true, broken: true}
	f.gap, f.gapDetail = cfg.Gap, cfg.GapDetail
	f.setTracks(tracks)
	return f
}

func (f *Fragmenter) setTracks(tracks []media.Track) {
	f.tracks, f.ref = tracks, reference(tracks)
	f.video = f.ref >= 0 && tracks[f.ref].Codec != nil && tracks[f.ref].Codec.Kind() == media.Video
	f.states, f.refHas = make([]cutState, len(tracks)), false
}

// Add takes a sample that arrived at the given server time and returns the fragment that
// it completes, or nil. The sample then belongs to the next one. A sample of an unknown
// track is ignored. A DTS that does not rise is moved on by a tick, with its CTO, so that
// what is shown when stays.
func (f *Fragmenter) Add(s media.Sample, arrival time.Time) *Fragment {
	k := f.index(s.Track)
	if k < 0 {
		return nil
	}
	a := f.arrive(arrival)
	st := &f.states[k]
	timer := k == f.ref || !f.refHas
	var out *Fragment
	if st.seen {
		out = f.follow(&s, k, a, timer)
	}
	st = &f.states[k]
	m := f.mediaTime(k, s.DTS)
	if timer {
		f.time(m, a)
	}
	if out == nil && f.due(&s, k, m, a) {
		out = f.close(k, s.DTS)
	}
	if st.seen {
		st.delta = s.DTS - st.dts
	}
	st.seen, st.dts = true, s.DTS
	if k == f.ref {
		f.refHas = true
	}
	if len(f.open) == 0 {
		f.begin = m
		f.forced = f.video && !(s.Sync && k == f.ref)
	} else if f.forced && k == f.ref && s.Sync && f.onlyOthers() {
		f.forced = false // sound came first
	}
	f.open = append(f.open, s)
	f.bytes += int64(len(s.Data))
	return out
}

func (f *Fragmenter) index(id media.TrackID) int {
	for i := range f.tracks {
		if f.tracks[i].ID == id {
			return i
		}
	}
	return -1
}

// onlyOthers reports whether the open fragment has nothing of the reference track.
func (f *Fragmenter) onlyOthers() bool {
	for i := range f.open {
		if f.open[i].Track == f.tracks[f.ref].ID {
			return false
		}
	}
	return true
}

func (f *Fragmenter) mediaTime(k int, dts int64) int64 { return int64(f.tracks[k].Duration(dts)) }

// arrive returns the arrival on the stream's timeline in µs: the server's clock, but
// where that was set back the timeline goes on and waits for it.
func (f *Fragmenter) arrive(t time.Time) int64 {
	a := t.UnixMicro()
	if f.last.IsZero() {
		f.last, f.origin = t, a
		f.lastA = a
		return a
	}
	wall := a - f.last.UnixMicro()
	if wall < -clockStep.Microseconds() {
		f.skew += -wall + max(t.Sub(f.last).Microseconds(), 0)
	} else if wall > 0 && f.skew > 0 {
		f.skew = max(0, f.skew-int64(float64(wall)*skewDecay))
	}
	// A step forward shows where the machine's other clock did not take part in it.
	if step := wall - t.Sub(f.last).Microseconds(); step > clockStep.Microseconds() && f.skew == 0 && f.gap == CauseNone {
		f.ifQuiet = CauseClockSet
	} else {
		f.ifQuiet = CauseSilent
	}
	f.last = t
	return max(a+f.skew, f.lastA)
}

// time tells the pace of an arrival.
func (f *Fragmenter) time(m, a int64) {
	if !f.clock.set {
		f.zero, f.origin = m, a
	}
	f.clock.add(f.sec(m), float64(a-f.origin)/1e6)
	if k := f.stalled; k.active {
		f.stalled.least = min(k.least, float64(a-f.origin)/1e6-k.before.at(f.sec(m)))
	}
	f.lastA = a
}

func (f *Fragmenter) sec(m int64) float64 { return float64(m-f.zero) / 1e9 }

// server returns the server time in µs of a media time in ns.
func (f *Fragmenter) server(m int64) int64 { return f.origin + int64(f.clock.at(f.sec(m))*1e6) }

// follow looks at the step from a track's last sample to s, and cuts where media is
// missing or media time jumped.
func (f *Fragmenter) follow(s *media.Sample, k int, a int64, timer bool) *Fragment {
	st := &f.states[k]
	dm := f.mediaTime(k, s.DTS) - f.mediaTime(k, st.dts)
	if dm <= 0 && dm >= -int64(jumpBack) {
		by := st.dts + 1 - s.DTS
		s.DTS += by
		s.CTO -= int32(by)
		dm = f.mediaTime(k, s.DTS) - f.mediaTime(k, st.dts)
	}
	da := (a - f.lastA) * 1000
	lag := int64(0)
	if f.clock.set {
		lag = max(0, int64(float64(f.lastA-f.server(f.mediaTime(k, st.dts)))*1000))
	}
	long := max(int64(silence), 2*f.usual)
	switch {
	case dm < -int64(jumpBack), dm-da > int64(jumpAhead)+lag && timer, dm-da > 30*int64(jumpAhead)+lag:
		out := f.cut()
		f.newTimes(da >= long)
		return out
	case !timer:
		return nil
	case dm >= long:
		f.usually(dm)
		out := f.cut()
		f.broken = true
		if da >= long {
			f.because(f.ifQuiet)
		}
		f.because(CausePacketsLost)
		return out
	case da >= long && !f.stalled.active:
		f.stalled = stall{active: true, at: len(f.open), length: da / 1000, over: a, why: f.ifQuiet, before: f.clock, least: 1e9}
		f.stalled.before.pts = nil
		return nil
	}
	f.usually(dm)
	return f.settle(a)
}

// usually learns the distance of the reference track's samples.
func (f *Fragmenter) usually(dm int64) {
	dm = min(dm, int64(defaultMax))
	if f.usual == 0 {
		f.usual = dm
	}
	f.usual += (dm - f.usual) / 4
}

// because notes why media is missing unless something else was said already.
func (f *Fragmenter) because(c Cause) {
	if f.gap == CauseNone {
		f.gap = c
	}
}

// newTimes begins a run whose media time has nothing to do with what came before.
func (f *Fragmenter) newTimes(missing bool) {
	f.run++
	f.newRun = true
	f.clock.reset()
	for i := range f.states {
		f.states[i] = cutState{}
	}
	if missing {
		f.broken = true
		f.because(CauseTimestampJump)
	}
}

// due reports whether the fragment ends before s.
func (f *Fragmenter) due(s *media.Sample, k int, m, a int64) bool {
	if len(f.open) == 0 {
		return false
	}
	length := time.Duration(float64(m-f.begin) * f.clock.rate)
	switch {
	case length >= f.cfg.Max || f.bytes >= cutBytes:
		if k == f.ref || length >= f.cfg.Max+silence || f.bytes >= cutBytes {
			return true
		}
		return false
	case f.stalled.active || k != f.ref || !s.Sync:
		return false
	case f.video:
		return length >= f.cfg.Target*3/4 || f.forced && !f.onlyOthers()
	}
	return length >= f.cfg.Target
}

// close ends the open fragment where sample dts of track k starts.
func (f *Fragmenter) close(k int, dts int64) *Fragment {
	f.clock.fit()
	ends := f.ends()
	ends[k] = max(ends[k]-f.states[k].delta, dts)
	out := f.build(ends, f.mediaTime(k, dts))
	if f.video && out.Duration() >= f.cfg.Max-f.cfg.Max/20 {
		f.gapDetail = fmt.Sprintf("cut after %.0f s without a key frame", out.Duration().Seconds())
	}
	return out
}

// ends returns where each track's next sample would start, by its last step.
func (f *Fragmenter) ends() []int64 {
	ends := make([]int64, len(f.tracks))
	for i, st := range f.states {
		if !st.seen {
			continue
		}
		step := st.delta
		if step <= 0 {
			step = f.tracks[i].Ticks(40 * time.Millisecond)
		}
		ends[i] = st.dts + step
	}
	return ends
}

// cut ends the open fragment behind its last sample.
func (f *Fragmenter) cut() *Fragment {
	if len(f.open) == 0 {
		return nil
	}
	f.clock.fit()
	ends := f.ends()
	k := f.ref
	if f.onlyOthers() {
		k = f.index(f.open[len(f.open)-1].Track)
	}
	return f.build(ends, f.mediaTime(k, ends[k]))
}

// build makes the open samples a fragment that ends at a media time.
func (f *Fragmenter) build(ends []int64, end int64) *Fragment {
	begin := f.begin
	for i := range f.open {
		if f.open[i].Track == f.tracks[f.ref].ID {
			begin = f.mediaTime(f.ref, f.open[i].DTS)
			break
		}
	}
	start, stop := f.server(begin), f.server(end)
	before := f.prev.End.UnixMicro()
	if f.prev.End.IsZero() {
		before = 0
	}
	if before > 0 && (!f.broken || start < before) {
		if f.broken && stop-before < (stop-start)/2 {
			f.shift(before - start) // the clock was set back between two sessions
			stop += before - start
		}
		start = before
	}
	least := max(1, int64(float64(end-begin)/4e3*f.clock.rate))
	stop = max(stop, start+least)
	h := Head{
		Start: micro(start), End: micro(stop), Run: f.run, Forced: f.forced, Gap: f.gap, GapDetail: f.gapDetail,
		Number: max(Number(start), f.prev.Number+1), Samples: len(f.open), Size: f.bytes,
	}
	if wall, ok := f.wall(begin); ok {
		h.Producer = wall
	}
	f.stalled.active = false
	out := &Fragment{Head: h, Tracks: f.tracks, Samples: f.open, Ends: ends}
	f.prev, f.broken, f.newRun = h, false, false
	f.gap, f.gapDetail = CauseNone, ""
	f.open, f.bytes = make([]media.Sample, 0, len(f.open)+len(f.open)/8), 0
	return out
}

// shift moves the timeline ahead of the server's clock.
func (f *Fragmenter) shift(us int64) {
	f.skew += us
	f.origin += us
	f.lastA += us
}

// wall returns the producer's clock at a media time, from the first sample that has one.
func (f *Fragmenter) wall(begin int64) (time.Time, bool) {
	for i := range f.open {
		if s := &f.open[i]; !s.Wall.IsZero() {
			m := f.mediaTime(f.index(s.Track), s.DTS)
			return s.Wall.Add(-time.Duration(m - begin)).Truncate(time.Microsecond).UTC(), true
		}
	}
	return time.Time{}, false
}

// SetTracks begins a new run with other tracks and returns what was open, or nil. Media
// time goes on for the tracks that keep their id and timescale.
func (f *Fragmenter) SetTracks(tracks []media.Track) *Fragment {
	out := f.cut()
	old, states := f.tracks, f.states
	f.setTracks(tracks)
	for i := range tracks {
		for j := range old {
			if tracks[i].ID == old[j].ID && tracks[i].Timescale == old[j].Timescale {
				f.states[i] = states[j]
			}
		}
	}
	f.refHas = f.ref >= 0 && f.states[f.ref].seen
	if !f.newRun {
		f.run++
	}
	f.newRun = true
	return out
}

// Jump says that the next sample's times do not follow from the last one's: it begins a
// new run. It returns what was open, or nil. The Fragmenter finds jumps of more than 2 s
// against the arrival by itself.
func (f *Fragmenter) Jump() *Fragment {
	out := f.cut()
	if !f.newRun {
		f.newTimes(false)
	}
	return out
}

// Cut ends the fragment here and returns it, or nil when nothing is open.
func (f *Fragmenter) Cut() *Fragment { return f.cut() }

// Flush ends the fragment here, as Cut, and notes why media will be missing before the
// next one.
func (f *Fragmenter) Flush(cause Cause, detail string) *Fragment {
	out := f.cut()
	f.broken = true
	f.gap, f.gapDetail = cause, detail
	return out
}

// Open returns the samples of the open fragment; until it is returned their number only
// grows. The caller must not change them.
func (f *Fragmenter) Open() []media.Sample { return f.open }

// Run returns the run of the open fragment, or of the next one when none is open.
func (f *Fragmenter) Run() uint32 { return f.run }

// ServerTime estimates the instant on the server's clock of a sample that was just
// added; the fragment's own ServerTime is exact later.
func (f *Fragmenter) ServerTime(s media.Sample) time.Time {
	k := f.index(s.Track)
	if k < 0 || !f.clock.set {
		return f.last
	}
	t := f.server(f.mediaTime(k, s.DTS))
	if !f.prev.End.IsZero() {
		t = max(t, f.prev.End.UnixMicro())
	}
	return micro(t)
}
