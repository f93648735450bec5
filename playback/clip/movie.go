package clip

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/mp4"
	"penstock/playback"
	"penstock/streams"
)

const (
	// samplesMax bounds the samples of a clip: 60 frames and 50 sounds a second for six
	// hours. Each takes 24 bytes while the header is made.
	samplesMax = 3_000_000
	// forcedBack is how many fragments without a key frame a clip's start may be moved back
	// over: a minute at least.
	forcedBack = 6
	// readBatch is how many fragments' sample tables are read together: they are held in
	// memory at once, about 10 KB each.
	readBatch = 256
)

// movie is a laid out clip: its header, and where its media is. It does not change.
type movie struct {
	header []byte
	tracks []media.Track // as they are stored
	pieces []piece
	size   int64 // of the whole file
	spans  []span
	next   time.Time // when another configuration begins, by the clock asked for; zero: none does
	etag   string

	producer time.Time // the producer's clock at the start; zero: unknown
}

// wanted is what a clip is asked for.
type wanted struct {
	clock      fragments.Clock
	start, end time.Time
	hold       bool
}

// of is the window on the server's clock, as f has it.
func (w wanted) of(f fragments.Head) (start, end time.Time) {
	if w.clock == fragments.ProducerClock && f.Producer.IsZero() {
		return f.End, f.End // it lies before all that was asked for, and is decoded only
	}
	return playback.ServerTime(f, w.clock, w.start), playback.ServerTime(f, w.clock, w.end)
}

// piece is a range of one fragment's media.
type piece struct {
	number fragments.Number
	at     int64 // in the file
	from   int64 // in the fragment's data, where that is written as it is stored
	size   int64
	first  int32 // of the fragment's samples
	end    int32 // behind the last of them
}

// span is a stretch of unbroken media, on the server's clock.
type span struct{ start, end time.Time }

// weight is what a movie costs in the cache.
func (m *movie) weight() int64 {
	return int64(len(m.header)) + 40*int64(len(m.pieces)) + 48*int64(len(m.spans)) + 256
}

// movie finds or makes the clip of a window.
func (s *Server) movie(ctx context.Context, log *fragments.Log, st streams.Stream, w wanted) (*movie, error) {
	heads, err := overlap(ctx, log, w)
	if err != nil {
		return nil, err
	}
	nothing := fault.New(fault.NotFound, "make clip of", st.Name, "nothing is recorded in that window").
		WithHint("the timeline shows what there is")
	if len(heads) == 0 {
		return nil, nothing
	}
	name := etag(st.ID, heads, w)
	if m, ok := s.cache.Get(name); ok {
		return m, nil
	}
	b := builder{log: log, window: w, line: timeline{hold: w.hold}}
	for more := true; more && len(heads) > 0; {
		n := min(len(heads), readBatch)
		if more, err = b.addAll(ctx, heads[:n]); err != nil {
			return nil, err
		}
		heads = heads[n:]
	}
	if len(b.samples) == 0 {
		return nil, nothing
	}
	m, err := b.finish()
	if err != nil {
		return nil, err
	}
	m.etag = `"` + name + `"`
	if b.unread > 0 {
		// What could not be read may be readable later: other bytes, another name.
		m.etag = fmt.Sprintf(`"%s-%d"`, name, b.unread)
		return m, nil
	}
	s.cache.Put(name, m, m.weight())
	return m, nil
}

// overlap returns the heads of the fragments that overlap the window, and those before them
// that it takes to begin with a key frame.
func overlap(ctx context.Context, log *fragments.Log, w wanted) ([]fragments.Head, error) {
	var heads []fragments.Head
	for h, err := range log.SelectBy(ctx, w.clock, fragments.Range{Start: w.start, End: w.end}) {
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	for n := 0; n < forcedBack && len(heads) > 0 && heads[0].Forced && heads[0].Gap == fragments.CauseNone; n++ {
		h, err := playback.Before(ctx, log, heads[0].Start.Add(-time.Microsecond))
		if fault.Is(err, fault.NotFound) || err == nil && h.Run != heads[0].Run {
			break
		}
		if err != nil {
			return nil, err
		}
		heads = append([]fragments.Head{h}, heads...)
	}
	return heads, nil
}

// etag names a clip by all that decides its bytes: fragments never change.
func etag(id string, heads []fragments.Head, w wanted) string {
	const layout = "2 " // how clips are written: another has another bytes
	sum := fnv.New128a()
	fmt.Fprint(sum, layout, id, w.start.UnixNano(), w.end.UnixNano(), w.hold, w.clock)
	for _, h := range heads {
		fmt.Fprint(sum, " ", h.Number)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// builder gathers the samples of a clip, fragment by fragment.
type builder struct {
	log     *fragments.Log
	window  wanted
	line    timeline
	sound   *playback.Sound // plain: the sizes of its samples follow from those stored
	samples []mp4.Sample
	m       movie
	data    int64 // bytes of media so far
	unread  int   // fragments that could not be read
}

// addAll reads the sample tables of some fragments together and adds them in order. It
// returns false when the clip ends among them.
func (b *builder) addAll(ctx context.Context, heads []fragments.Head) (more bool, err error) {
	numbers := make([]fragments.Number, len(heads))
	for i, h := range heads {
		numbers[i] = h.Number
	}
	read, err := b.log.ReadIndexes(ctx, numbers)
	if err != nil {
		return false, err
	}
	for _, f := range read {
		if f == nil { // damaged or just gone: it is a gap, as the timeline has it
			b.unread++
			continue
		}
		if more, err := b.add(f); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// add takes the part of a fragment that lies in the window. It returns false when the
// clip ends before it.
func (b *builder) add(f *fragments.Fragment) (more bool, err error) {
	if b.line.tracks == nil {
		b.line.tracks, b.sound = f.Tracks, playback.NewSound(f.Tracks).Plain()
	} else if !media.EqualTracks(b.line.tracks, f.Tracks) {
		b.m.next = playback.Begin(f.Head, b.window.clock)
		return false, nil
	}
	from, to := b.cut(f)
	if from >= to {
		return true, nil
	}
	if len(b.samples)+to-from > samplesMax {
		return false, fault.New(fault.Invalid, "make clip", "", "the window holds too many samples").
			WithHint("ask for a shorter window")
	}
	b.place(f, from, to)
	return true, nil
}

// cut returns the range of samples of f that belong to the clip: from the last key frame
// at or before its start, where a stretch begins, to the first frame at or after its end.
// By the producer's clock there can be several stretches.
func (b *builder) cut(f *fragments.Fragment) (from, to int) {
	ref := f.Reference()
	id := f.Tracks[ref].ID
	start, end := b.window.of(f.Head)
	to = len(f.Samples)
	if len(b.samples) == 0 || f.Start.Before(start) && !f.Start.Equal(b.line.prev.End) {
		from = to
		for i, s := range f.Samples {
			if s.Track != id {
				continue
			}
			late := f.ServerTime(ref, s.DTS).After(start)
			if late && from < to {
				break
			}
			if s.Sync {
				from = i
			}
		}
	}
	if f.End.After(end) {
		for i := from; i < len(f.Samples); i++ {
			if s := f.Samples[i]; s.Track == id && !f.ServerTime(ref, s.DTS).Before(end) {
				return from, i
			}
		}
	}
	return from, to
}

// place lays samples [from, to) of f behind what there is.
func (b *builder) place(f *fragments.Fragment, from, to int) {
	ref := f.Reference()
	first, has := make([]int64, len(f.Tracks)), make([]bool, len(f.Tracks))
	ends := make([]int64, len(f.Tracks))
	for i, s := range f.Samples[from:] {
		t := f.Track(s.Track)
		if i < to-from && !has[t] {
			first[t], has[t] = s.DTS, true
		}
		if i >= to-from && ends[t] == 0 {
			ends[t] = s.DTS + 1 // where the first sample left out begins, plus one: 0 is none
		}
	}
	part := *f
	part.Ends = make([]int64, len(ends))
	for i, e := range ends {
		if part.Ends[i] = f.Ends[i]; e != 0 {
			part.Ends[i] = e - 1
		}
	}
	start, end := f.Start, f.End
	if from > 0 && has[ref] {
		start = f.ServerTime(ref, first[ref])
	}
	if to < len(f.Samples) {
		end = f.ServerTime(ref, part.Ends[ref])
	}
	part.Start, part.End = start, end
	if len(b.m.spans) == 0 && !f.Producer.IsZero() {
		b.m.producer = f.Producer.Add(start.Sub(f.Start))
	}
	gap := b.line.place(&part, first, has, start)
	if n := len(b.m.spans); n > 0 && !gap {
		b.m.spans[n-1].end = end
	} else {
		b.m.spans = append(b.m.spans, span{start, end})
	}
	b.append(f, from, to)
}

// append takes over the samples and the range of data that holds them.
func (b *builder) append(f *fragments.Fragment, from, to int) {
	b.sound.Restart() // each piece is read by itself
	p := piece{number: f.Number, at: b.data, first: int32(from), end: int32(to)}
	for _, n := range f.Sizes[:from] {
		p.from += int64(n)
	}
	for i := from; i < to; i++ {
		s := &f.Samples[i]
		shift := b.line.shift[f.Track(s.Track)]
		if c := b.sound.Coder(s.Track); c != nil {
			for dts, size := range c.Sizes(s.DTS, int(f.Sizes[i])) {
				b.samples = append(b.samples, mp4.Sample{Track: s.Track, Sync: s.Sync, CTO: s.CTO, Size: uint32(size), DTS: dts + shift})
				p.size += int64(size)
			}
			continue
		}
		b.samples = append(b.samples, mp4.Sample{Track: s.Track, Sync: s.Sync, CTO: s.CTO, Size: f.Sizes[i], DTS: s.DTS + shift})
		p.size += int64(f.Sizes[i])
	}
	b.data += p.size
	b.m.pieces = append(b.m.pieces, p)
}

// finish makes the header, and with it all offsets final.
func (b *builder) finish() (*movie, error) {
	tracks := slices.Clone(b.line.tracks)
	for i, t := range tracks {
		if c := b.sound.Coder(t.ID); c != nil {
			tracks[i] = c.Track()
		}
	}
	f, err := mp4.New(tracks, b.samples, b.line.ends)
	if err != nil {
		return nil, err
	}
	b.m.header, b.m.size = f.Header(), f.Size()
	b.m.tracks = b.line.tracks
	for i := range b.m.pieces {
		b.m.pieces[i].at += int64(len(b.m.header))
	}
	return &b.m, nil
}
