package hls

import (
	"context"
	"math"
	"slices"
	"time"

	"penstock/fragments"
	"penstock/media"
	"penstock/playback"
	"penstock/streams"
)

const (
	// historySpan is how far back a packager looks for fragments to list before the live ones.
	historySpan = 100 * time.Second
	// historyMax bounds them, where fragments are short.
	historyMax = 100
	// joinMax bounds the live samples taken before the first part is made.
	joinMax = 1 << 14
	// touch is how far apart the ends of media that touches may be: rounding, and the
	// distance of frames.
	touch = 150 * time.Millisecond
	// targetUnknown is the target duration where nothing is known of a stream's key
	// frames; it holds two of the default fragments.
	targetUnknown = 4 * time.Second
	// usualStep is the distance of frames where nothing tells it.
	usualStep   = 40 * time.Millisecond
	fragmentMax = 10 * time.Second
)

// joined is where a packager begins: fragments of the log, then live samples that
// continue them.
type joined struct {
	history    []fragments.Head
	inits      []string                // of history
	sections   map[string][]byte       // by their names
	events     []streams.Event         // live samples so far, from the start of their fragment if possible
	start      time.Time               // of the oldest of all
	told       bool                    // events named their tracks
	aligned    bool                    // events begin with their fragment
	tracks     []media.Track           // of the open fragment
	from       time.Time               // start of the open fragment
	seen       map[media.TrackID]int64 // the newest DTS of it, of tracks that have not gone on yet
	breaks     bool                    // events do not continue history
	partTarget time.Duration
	target     time.Duration
}

// join puts history and live samples together without a sample twice or missing.
func (p *packager) join(ctx context.Context, l *streams.Listener) (joined, error) {
	j := joined{sections: map[string][]byte{}, start: p.s.c.Clock.Now()}
	for len(j.events) < joinMax {
		e, ok := l.TryNext()
		if !ok {
			break
		}
		j.events = append(j.events, e)
		j.told = j.told || e.Tracks != nil
	}
	cur, live := p.s.c.Hub.Current(p.st.ID)
	if live {
		j.prepend(cur)
	}
	heads, err := p.recent(ctx)
	if err != nil {
		return j, err
	}
	j.connect(heads, cur, live)
	if len(heads) == 0 {
		heads = p.newest(ctx)
	}
	j.choose(heads, p.s.c.Fragment, p.s.c.Hub.State(p.st.ID).KeyInterval)
	return j, p.sections(ctx, &j)
}

// recent reads the newest fragments' heads, oldest first.
func (p *packager) recent(ctx context.Context) ([]fragments.Head, error) {
	var heads []fragments.Head
	now := p.s.c.Clock.Now()
	for h, err := range p.log.Select(ctx, fragments.Range{Start: now.Add(-historySpan), End: now.Add(time.Hour)}) {
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads[max(0, len(heads)-historyMax):], nil
}

// newest reads the heads of the last that was recorded, however long ago: what comes next
// will have key frames as far apart.
func (p *packager) newest(ctx context.Context) []fragments.Head {
	last, ok := p.log.Last(ctx)
	if !ok {
		return nil
	}
	var heads []fragments.Head
	for h, err := range p.log.Select(ctx, fragments.Range{Start: last.End.Add(-historySpan), Limit: historyMax}) {
		if err != nil {
			return nil
		}
		heads = append(heads, h)
	}
	return heads
}

// prepend puts the open fragment in front of what the listener got, which began at the
// newest key frame or the next one. What the fragment has already is in j.seen.
func (j *joined) prepend(cur streams.Current) {
	if len(cur.Samples) == 0 {
		return
	}
	front := make([]streams.Event, 0, len(cur.Samples)+len(j.events))
	timer := startTimer(cur)
	j.seen = map[media.TrackID]int64{}
	for _, s := range cur.Samples {
		front = append(front, streams.Event{Sample: s, Server: timer(s)})
		j.seen[s.Track] = s.DTS
	}
	front[0].Tracks = cur.Tracks
	j.aligned, j.from, j.tracks = true, cur.Start, cur.Tracks
	events := j.events
	j.events = front
	for i := range events {
		if e, ok := j.unseen(events[i]); ok {
			j.events = append(j.events, e)
		}
	}
}

// unseen takes out of an event what the open fragment had; false: that was all.
func (j *joined) unseen(e streams.Event) (streams.Event, bool) {
	if len(j.seen) == 0 {
		return e, true
	}
	if e.Fragment != nil {
		return e, e.Fragment.End.After(j.from.Add(time.Millisecond)) // else it was before the open one
	}
	if last, ok := j.seen[e.Sample.Track]; ok {
		if e.Sample.DTS <= last {
			return e, false
		}
		delete(j.seen, e.Sample.Track)
	}
	if e.Tracks != nil && media.EqualTracks(e.Tracks, j.tracks) {
		e.Tracks = nil
	}
	return e, true
}

// later is unseen of an event that came after the join.
func (j *joined) later(e streams.Event) (streams.Event, bool) {
	if e.Tracks != nil {
		if j.told {
			j.seen = nil // a producer that came back: its media time may be an earlier one
		}
		j.told = true
	}
	return j.unseen(e)
}

// startTimer gives server times to samples of the open fragment: real time from its start.
func startTimer(cur streams.Current) func(media.Sample) time.Time {
	var first time.Duration
	zero := false
	return func(s media.Sample) time.Time {
		for _, t := range cur.Tracks {
			if t.ID != s.Track {
				continue
			}
			at := t.Duration(s.DTS)
			if !zero {
				first, zero = at, true
			}
			return cur.Start.Add(at - first)
		}
		return cur.Start
	}
}

// connect keeps the heads that end before the live samples start.
func (j *joined) connect(heads []fragments.Head, cur streams.Current, live bool) {
	var from time.Time
	if i := slices.IndexFunc(j.events, func(e streams.Event) bool { return e.Sample.Data != nil }); i >= 0 {
		from = j.events[i].Server
		for len(heads) > 0 && heads[len(heads)-1].End.After(from.Add(touch)) {
			heads = heads[:len(heads)-1]
		}
		j.start = from
	}
	j.history = heads
	if len(heads) == 0 {
		return
	}
	last := heads[len(heads)-1]
	j.start = heads[0].Start
	j.breaks = from.IsZero() || from.Sub(last.End) > touch || live && cur.Run != last.Run
}

// choose sets the targets and cuts history down to the window. target is the fragmenter's,
// key the distance of key frames, 0: unknown.
func (j *joined) choose(heads []fragments.Head, target, key time.Duration) {
	step := usualStep
	for _, e := range j.events {
		if e.Tracks != nil {
			step = stepOf(playback.Playable(e.Tracks), j.events)
		}
	}
	j.partTarget = partTargetFor(step)
	longest := time.Duration(0)
	for _, h := range heads {
		longest = max(longest, h.End.Sub(h.Start))
	}
	if key > 0 {
		longest = max(longest, (target+key-step/2)/key*key)
	}
	if longest == 0 {
		longest = max(targetUnknown, target)
	}
	longest = min(longest, fragmentMax)
	j.target = max(time.Second, time.Duration(math.Round(longest.Seconds()+0.3))*time.Second)
	total := time.Duration(0)
	for i := len(j.history) - 1; i >= 0; i-- {
		if total += j.history[i].End.Sub(j.history[i].Start); total > windowTargets*j.target {
			j.history = j.history[i+1:]
			break
		}
	}
	if len(j.history) > 0 {
		j.start = j.history[0].Start
	}
}

// stepOf is the usual distance of the lead track's frames: the median of what came,
// else what the codec says.
func stepOf(tracks []media.Track, events []streams.Event) time.Duration {
	lead := playback.Lead(tracks)
	if lead < 0 {
		return usualStep
	}
	t := tracks[lead]
	var steps []int64
	last, seen := int64(0), false
	for _, e := range events {
		if e.Sample.Data == nil || e.Sample.Track != t.ID {
			continue
		}
		if seen && e.Sample.DTS > last {
			steps = append(steps, e.Sample.DTS-last)
		}
		last, seen = e.Sample.DTS, true
	}
	if len(steps) > 0 {
		slices.Sort(steps)
		return t.Duration(steps[len(steps)/2])
	}
	if c, ok := t.Codec.(interface{ FrameRate() float64 }); ok {
		if fps := c.FrameRate(); fps > 0.1 && fps < 1000 {
			return time.Duration(float64(time.Second) / fps)
		}
	}
	if t.Codec.Kind() == media.Audio {
		return 20 * time.Millisecond
	}
	return usualStep
}

// sections makes the initialization sections of history: one read per run.
func (p *packager) sections(ctx context.Context, j *joined) error {
	j.inits = make([]string, len(j.history))
	for i, h := range j.history {
		if i > 0 && h.Run == j.history[i-1].Run {
			j.inits[i] = j.inits[i-1]
			continue
		}
		f, err := p.log.ReadIndex(ctx, h.Number)
		if err != nil {
			return err
		}
		tracks, err := playback.RequirePlayable("package stream", f.Tracks)
		if err != nil {
			return err
		}
		id, data, err := section(tracks)
		if err != nil {
			return err
		}
		j.inits[i], j.sections[id] = id, data
	}
	return nil
}
