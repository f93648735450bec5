package hls

import (
	"time"

	"penstock/fragments"
	"penstock/media"
	"penstock/playback"
)

const (
	// jumpTolerance is how far media time and server time may come apart between two
	// samples before the media is taken to have a break there, and how much may be missing.
	jumpTolerance = time.Second
	// stepDoubt is how many odd distances between samples in a row it takes to believe
	// that the frame rate changed.
	stepDoubt = 3
	// segmentSlack is how much longer than the target duration a segment may be: its
	// duration rounded to whole seconds must not exceed it (RFC 8216bis §4.4.3.1).
	segmentSlack = 490 * time.Millisecond
	// pendingMax bounds the samples of one part: sound goes on when a camera's pictures
	// stop, and only pictures end a part.
	pendingMax = 1024
)

// output takes what a cutter decides. The calls come in playlist order: begin, part...,
// end, begin, ...
type output interface {
	begin(start time.Time, breaks bool)
	// part gets samples in arrival order and, for each track, where its next sample starts.
	part(samples []media.Sample, ends []int64, d time.Duration, independent bool)
	// end closes the segment. number is its fragment's, 0 when it is not the whole of one.
	end(d time.Duration, number fragments.Number)
}

// cutter cuts a stream's live samples into parts and segments. A segment ends where a
// fragment of the log ends, or before it would be longer than the target duration. A
// part is published as soon as the next frame would make it longer than the part
// target, without waiting for that frame. It is a state machine without a clock, and
// not for concurrent use.
type cutter struct {
	out        output
	partTarget time.Duration
	segmentMax time.Duration

	tracks  []media.Track
	clocks  []trackClock // per track
	lead    int          // index of the track that decides: the first video, else the first
	pending []media.Sample
	hasLead bool  // pending holds a sample of the lead track
	first   int64 // lead DTS of the part's first sample

	open    bool             // a segment is open
	start   int64            // lead DTS of its first sample
	server  time.Time        // of the newest lead sample
	breaks  bool             // the next segment follows a discontinuity
	aligned bool             // the next sample begins a fragment
	whole   bool             // the open segment began with its fragment
	ended   bool             // the fragment of the open segment ended
	number  fragments.Number // of that fragment
}

// trackClock predicts when a track's next sample starts.
type trackClock struct {
	seen bool
	last int64 // DTS of the newest sample
	step int64 // usual distance, ticks
	odd  int   // distances in a row unlike step
}

func (c *trackClock) next() int64 { return c.last + c.step }

// observe notes a sample's DTS. One late frame does not change the step.
func (c *trackClock) observe(dts int64) {
	if d := dts - c.last; c.seen && d > 0 {
		if d > c.step*2 || d < c.step/2 {
			c.odd++
		} else {
			c.odd = 0
		}
		if c.odd == 0 || c.odd >= stepDoubt {
			c.step = d
		}
	}
	c.last, c.seen = dts, true
}

// tracksChanged starts a new initialization section. usual is the lead track's frame
// distance, as far as known.
func (c *cutter) tracksChanged(tracks []media.Track, usual time.Duration) {
	if c.tracks != nil {
		c.flush()
		c.breaks = true
	}
	c.tracks, c.lead = tracks, playback.Lead(tracks)
	c.clocks = make([]trackClock, len(tracks))
	for i, t := range tracks {
		c.clocks[i].step = t.Ticks(usual)
		if t.Codec.Kind() == media.Audio {
			c.clocks[i].step = t.Ticks(20 * time.Millisecond)
		}
	}
	c.pending, c.hasLead = nil, false
}

// returned notes that a producer came back: its first sample begins a fragment.
func (c *cutter) returned() {
	c.flush()
	c.breaks = true
}

// broken notes that samples are missing before the next one.
func (c *cutter) broken() {
	c.flush()
	c.breaks, c.aligned = true, false
}

// fragment notes that the samples so far complete a fragment.
func (c *cutter) fragment(n fragments.Number) {
	c.aligned = true
	if c.open {
		c.ended, c.number = true, n
	}
}

// add takes the next sample; server is its server time. Tracks that the cutter was not
// told of are ignored.
func (c *cutter) add(s media.Sample, server time.Time) {
	i := c.index(s.Track)
	if i < 0 {
		return
	}
	if i != c.lead {
		if c.open && len(c.pending) < pendingMax {
			c.pending = append(c.pending, s)
			c.clocks[i].observe(s.DTS)
		}
		return
	}
	clock, track := &c.clocks[i], c.tracks[i]
	if clock.seen {
		c.before(s.DTS, server)
	}
	clock.observe(s.DTS)
	if !c.open {
		c.out.begin(server, c.breaks)
		c.open, c.whole, c.start, c.breaks = true, c.aligned, s.DTS, false
	}
	c.aligned = false
	if !c.hasLead {
		c.hasLead, c.first = true, s.DTS
	}
	c.server = server
	c.pending = append(c.pending, s)
	if track.Duration(clock.next()+clock.step-c.first) > c.partTarget {
		c.cut(clock.next())
	}
}

// before ends what must end before a lead sample at dts.
func (c *cutter) before(dts int64, server time.Time) {
	clock, track := &c.clocks[c.lead], c.tracks[c.lead]
	d := track.Duration(dts - clock.last)
	apart := server.Sub(c.server) - d
	switch {
	case d <= 0, apart > jumpTolerance, apart < -jumpTolerance, d > jumpTolerance+3*track.Duration(clock.step):
		c.flush()
		c.breaks = true
	case !c.open:
	case c.ended:
		c.finish(dts)
	case track.Duration(dts+clock.step-c.start) > c.segmentMax:
		c.whole = false
		c.finish(dts)
	case c.hasLead && track.Duration(dts+clock.step-c.first) > c.partTarget:
		c.cut(dts)
	}
}

// flush publishes what there is and ends the segment: nothing more may come, or what
// comes does not continue it.
func (c *cutter) flush() {
	if c.open {
		c.finish(c.clocks[c.lead].next())
	}
	c.pending, c.hasLead = nil, false
}

// stalled publishes the frames of an unfinished part: nothing came for a while. The
// segment goes on, unless its fragment ended.
func (c *cutter) stalled() {
	switch {
	case c.open && c.ended:
		c.finish(c.clocks[c.lead].next())
	case c.hasLead:
		c.cut(c.clocks[c.lead].next())
	}
}

// split ends the open segment here, in the middle of its fragment.
func (c *cutter) split() {
	if c.open {
		c.whole = false
		c.finish(c.clocks[c.lead].next())
	}
}

// finish ends the segment at lead DTS end. Sound that has come since the last frame
// begins the next segment's first part.
func (c *cutter) finish(end int64) {
	if c.hasLead {
		c.cut(end)
	}
	number := c.number
	if !c.whole || !c.ended {
		number = 0
	}
	c.out.end(c.tracks[c.lead].Duration(end-c.start), number)
	c.open, c.ended, c.number = false, false, 0
}

// cut publishes the pending samples as a part that ends at lead DTS end.
func (c *cutter) cut(end int64) {
	ends := make([]int64, len(c.tracks))
	for i := range c.tracks {
		ends[i] = c.clocks[i].next()
	}
	ends[c.lead] = end
	independent := false
	for _, s := range c.pending {
		if s.Track == c.tracks[c.lead].ID {
			independent = s.Sync
			break
		}
	}
	samples := c.pending
	c.pending, c.hasLead = make([]media.Sample, 0, len(samples)+2), false
	c.out.part(samples, ends, c.tracks[c.lead].Duration(end-c.first), independent)
}

func (c *cutter) index(id media.TrackID) int {
	for i, t := range c.tracks {
		if t.ID == id {
			return i
		}
	}
	return -1
}

// partTargetFor chooses the part target for frames step apart: a fifth of a second
// where whole frames fill at least 85 % of it (RFC 8216bis §4.4.4.9), a little more
// where they do not, one frame where frames are rarer.
func partTargetFor(step time.Duration) time.Duration {
	const least, most = 200 * time.Millisecond, 267 * time.Millisecond
	if step <= 0 {
		return least
	}
	n := (least + time.Millisecond/10) / step
	switch filled := n * step; {
	case n == 0:
		return max(least, ceil(step))
	case filled >= least*85/100:
		return max(least, ceil(filled))
	case filled+step <= most:
		return ceil(filled + step)
	}
	return least
}

// ceil rounds up to whole milliseconds.
func ceil(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}
