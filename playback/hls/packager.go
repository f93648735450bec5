package hls

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/fmp4"
	"penstock/playback"
	"penstock/streams"
)

const (
	// stallAfter is how long past a part's target an unfinished part waits for frames.
	stallAfter = 150 * time.Millisecond
	// initsMax bounds the initialization sections a packager keeps: a camera that
	// changes its configuration with every key frame must not grow memory.
	initsMax = 32
	// firstSegment is how much media makes a first segment where there is no history:
	// players refuse a playlist without one.
	firstSegment = 500 * time.Millisecond
)

// packager makes one stream's live playlist and parts while somebody watches.
type packager struct {
	s   *Server
	st  streams.Stream
	log *fragments.Log

	mu       sync.Mutex // guards the rest, but for what only run touches
	win      *window    // nil until the first media is there
	inits    map[string][]byte
	order    []string // of inits, oldest first
	changed  chan struct{}
	rendered [2][]byte // playlist and delta update of the window as it is
	waiting  int       // requests that wait for a change
	used     time.Time // of the newest request
	err      error     // why it cannot serve; set before done closes or while it lasts

	done chan struct{} // closed when run returned

	reads singleflight.Group // of segments from the log

	// touched by run only
	cut      cutter
	init     string
	playable []media.Track
	sound    *playback.Sound // makes samples into those of playable
	sequence uint32
}

// errRetarget ends a packager's session whose part target no longer fits the frame rate.
var errRetarget = errors.New("frame rate changed")

// run packages until ctx ends or nobody asked for the configured time.
func (p *packager) run(ctx context.Context) {
	defer close(p.done)
	for {
		err := p.session(ctx)
		if !errors.Is(err, errRetarget) {
			p.fail(err)
			return
		}
	}
}

// session follows the Hub with one set of targets.
func (p *packager) session(ctx context.Context) error {
	l := p.s.c.Hub.Listen(p.st.ID, streams.ListenOptions{From: streams.LiveGOP})
	defer l.Close()
	j, err := p.join(ctx, l)
	if err != nil {
		return err
	}
	p.start(j)
	for _, e := range j.events {
		if err := p.take(e); err != nil {
			return err
		}
	}
	j.events = nil // the media is in parts now
	p.settle()
	idle := p.s.c.Idle / 4
	for {
		e, ok := l.TryNext()
		if !ok {
			p.settle()
			wait := idle
			if p.cut.hasLead || p.cut.ended {
				wait = min(wait, p.win.partTarget+stallAfter)
			}
			step, cancel := context.WithTimeout(ctx, wait)
			e, err = l.Next(step)
			cancel()
			if err != nil {
				if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
				p.cut.stalled()
				if p.s.retire(p) {
					return nil
				}
				continue
			}
		}
		if e.Fragment != nil && p.s.retire(p) {
			return nil
		}
		if e, ok = j.later(e); !ok {
			continue
		}
		if err := p.take(e); err != nil {
			return err
		}
	}
}

// start opens the window with what history there is.
func (p *packager) start(j joined) {
	first := p.s.sequence(p.st.ID, j.start)
	win := newWindow(first.segment, j.partTarget, j.target, p.s.c.SegmentBytes)
	win.breaks = first.breaks
	for i, h := range j.history {
		win.addHistory(h, j.inits[i], i > 0 && playback.Breaks(j.history[i-1], h))
	}
	p.mu.Lock()
	p.win = win
	p.wake()
	for id, data := range j.sections {
		p.keepInit(id, data)
	}
	p.mu.Unlock()
	p.cut = cutter{out: packagerOutput{p}, partTarget: j.partTarget, segmentMax: j.target + segmentSlack, breaks: j.breaks, aligned: j.aligned}
	p.playable, p.init = nil, ""
}

// take passes one event of the Hub to the cutter.
func (p *packager) take(e streams.Event) error {
	if e.Tracks != nil {
		if err := p.tracks(e.Tracks); err != nil {
			return err
		}
	}
	if e.Skipped > 0 {
		p.s.c.Metrics.Skipped.Add(float64(e.Skipped))
		p.cut.broken()
		p.sound.Restart()
	}
	if e.Fragment != nil {
		p.cut.fragment(e.Fragment.Number)
	}
	if e.Sample.Data != nil && p.playable != nil {
		p.cut.add(e.Sample, e.Server)
		if lead := &p.cut.clocks[p.cut.lead]; p.cut.tracks[p.cut.lead].Duration(lead.step) > p.win.partTarget+10*time.Millisecond {
			next := p.win.numbers()
			next.breaks++ // what is listed is listed anew
			p.s.remember(p.st.ID, next)
			return errRetarget
		}
	}
	return nil
}

// tracks begins a new initialization section where the tracks need one.
func (p *packager) tracks(all []media.Track) error {
	playable, err := playback.RequirePlayable("package stream", all)
	if err != nil {
		p.playable = nil
		return err
	}
	if p.playable != nil && media.EqualTracks(playable, p.playable) {
		p.cut.returned() // what is pending is made into a part as it came
		p.sound = playback.NewSound(all)
		return nil
	}
	id, data, err := section(playable)
	if err != nil {
		return err
	}
	p.cut.tracksChanged(playable, stepOf(playable, nil))
	p.mu.Lock()
	p.keepInit(id, data)
	p.mu.Unlock()
	p.playable, p.sound, p.init = playable, playback.NewSound(all), id
	return nil
}

// section makes the initialization section of tracks and the name it goes by: the same
// tracks have the same name for ever.
func section(tracks []media.Track) (string, []byte, error) {
	data, err := fmp4.Init(tracks)
	if err != nil {
		return "", nil, fault.Wrap(fault.Unavailable, "make initialization section for", playback.Codecs(tracks), err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6]), data, nil
}

// keepInit stores an initialization section; p.mu is held.
func (p *packager) keepInit(id string, data []byte) {
	if _, ok := p.inits[id]; ok {
		return
	}
	p.inits[id] = data
	p.order = append(p.order, id)
	if len(p.order) > initsMax {
		delete(p.inits, p.order[0])
		p.order = p.order[1:]
	}
}

// settle makes a first segment where there is no history. It is called when all that
// has come is taken.
func (p *packager) settle() {
	p.mu.Lock()
	short := len(p.win.segments) == 0 && p.win.openDuration() >= firstSegment
	p.mu.Unlock()
	if short {
		p.cut.split()
	}
}

// fail notes why nothing more comes.
func (p *packager) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	if err == nil {
		p.err = errEnded
	}
	p.wake()
}

// wake tells all that wait to look again; p.mu is held.
func (p *packager) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
	p.rendered = [2][]byte{}
}

// packagerOutput takes what the cutter decides into the window.
type packagerOutput struct{ *packager }

func (o packagerOutput) begin(start time.Time, breaks bool) {
	o.mu.Lock()
	o.win.begin(start, o.init, breaks)
	o.mu.Unlock()
}

func (o packagerOutput) part(samples []media.Sample, ends []int64, d time.Duration, independent bool) {
	o.sequence++
	data, err := fmp4.Part(o.sequence, o.playable, o.sound.Samples(samples), ends)
	if err != nil {
		// A sample that the container cannot carry costs its part; the playlist goes on.
		o.s.c.Logger.Warn("part left out", "stream", o.st.Name, "err", err)
		return
	}
	o.mu.Lock()
	o.win.add(&part{data: data, duration: d, independent: independent})
	o.wake()
	o.mu.Unlock()
}

func (o packagerOutput) end(d time.Duration, n fragments.Number) {
	o.mu.Lock()
	o.win.end(d, n)
	o.wake()
	o.mu.Unlock()
}
