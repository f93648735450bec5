package rtpin

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"penstock/internal/fault"
	"penstock/media"
)

// Receiver turns the RTP packets of one session into samples. Its methods may be
// called at once; order among the packets of one media is the caller's.
type Receiver struct {
	open    func([]media.Track) (Sink, error)
	ahead   func(index, at int) ([]byte, int)
	reorder int

	mu     sync.Mutex
	medias []input
	tracks []*track // by ID-1
	list   []media.Track
	sink   Sink
	err    error      // of open; final
	slab   media.Slab // of the unit that is being put together, and of small ones between
	side   media.Slab // of small ones that come while a unit is open
	start  time.Time  // arrival of the first packet
	waited int64      // bytes seen before the sink was opened
	stats  Stats
}

// input is one media of the description: its formats, by payload type.
type input struct {
	tracks []*track
	seq    *sequence
	order  *reorderer
}

// New checks the description and opens the sink when it needs nothing more.
// fault.Invalid: no media of it can be recorded. Else the error is Open's.
func New(c Config) (*Receiver, error) {
	if c.Open == nil || len(c.Medias) > MediasMax {
		return nil, fault.New(fault.Invalid, "read description", "", "it has too many medias, or nothing takes them")
	}
	r := &Receiver{open: c.Open, ahead: c.Ahead, reorder: min(c.Reorder, ReorderMax)}
	var ignored []string
	for i, m := range c.Medias {
		in := input{seq: &sequence{}}
		for _, f := range m.Formats {
			t := newTrack(r, f, in.seq)
			if t == nil {
				ignored = append(ignored, f.Codec())
				continue
			}
			t.id, t.media = media.TrackID(len(r.tracks)+1), i
			r.tracks = append(r.tracks, t)
			in.tracks = append(in.tracks, t)
		}
		if r.reorder > 0 {
			in.order = newReorderer(r.reorder)
		}
		r.medias = append(r.medias, in)
	}
	if len(r.tracks) == 0 {
		return nil, fault.New(fault.Invalid, "read description", "",
			"no media in it can be recorded (found: "+strings.Join(ignored, ", ")+")").
			WithHint("set the camera to H.264 or H.265, and AAC, Opus or G.711")
	}
	if err := r.tryOpen(); err != nil {
		return nil, err
	}
	return r, nil
}

// Check reports whether New would find something to record in medias.
func Check(medias []*description.Media) error {
	_, err := New(Config{Medias: medias, Open: func([]media.Track) (Sink, error) { return nil, nil }})
	return err
}

// Tracks lists the tracks as they are now. Their codecs may be nil before Opened.
func (r *Receiver) Tracks() []media.Track {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.describe()
}

// Opened reports whether the sink was opened.
func (r *Receiver) Opened() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sink != nil
}

// Stats returns the counters.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Packet takes one RTP packet of the media with that index, which arrived at the given
// time. It does not keep packet. A packet that makes no sense is counted, not an error;
// an error is the sink's, and means that the session is over.
func (r *Receiver) Packet(index int, packet []byte, arrival time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if index < 0 || index >= len(r.medias) {
		r.stats.Unknown++
		return nil
	}
	in := &r.medias[index]
	h, payload, ok := parse(packet)
	if !ok {
		r.stats.Malformed++
		return nil
	}
	t := in.find(h.pt)
	if t == nil {
		r.stats.Unknown++
		return nil
	}
	if r.start.IsZero() {
		r.start = arrival
	}
	r.stats.Packets++
	r.stats.Bytes += uint64(len(payload))
	if r.sink == nil {
		r.wait(len(payload), arrival)
	}
	if in.order != nil {
		in.order.put(r, t, h, payload, arrival)
	} else {
		t.packet(h, payload, arrival)
	}
	return r.err
}

func (in *input) find(pt uint8) *track {
	for _, t := range in.tracks {
		if t.pt == pt {
			return t
		}
	}
	return nil
}

// wait bounds the search for parameter sets in band.
func (r *Receiver) wait(n int, arrival time.Time) {
	r.waited += int64(n)
	if r.waited <= WaitBytes && arrival.Sub(r.start) <= WaitTime {
		return
	}
	var missing []string
	for _, t := range r.tracks {
		if t.codec == nil {
			missing = append(missing, t.name)
		}
	}
	r.err = fault.New(fault.Invalid, "start recording", "",
		"no parameter sets for "+strings.Join(missing, ", ")+" in the SDP, and none came with the media").
		WithHint("make the encoder send SPS and PPS with each key frame, and a key frame every 2 seconds")
}

// Close ends the session: what is complete but unsent goes to the sink, what is not is
// dropped. It does not close the sink. Twice is fine.
func (r *Receiver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.medias {
		if o := r.medias[i].order; o != nil && r.err == nil {
			o.flush(r)
		}
	}
	for _, t := range r.tracks {
		if r.err == nil {
			t.end()
		}
	}
	if r.err == nil {
		r.err = errClosed
	}
}

var errClosed = errors.New("receiver is closed")

// describe lists the tracks for the sink.
func (r *Receiver) describe() []media.Track {
	out := make([]media.Track, len(r.tracks))
	for i, t := range r.tracks {
		out[i] = media.Track{ID: t.id, Timescale: t.clock, Codec: t.codec}
	}
	return out
}

// tryOpen opens the sink when all codecs are known.
func (r *Receiver) tryOpen() error {
	for _, t := range r.tracks {
		if t.codec == nil {
			return nil
		}
	}
	sink, err := r.open(r.describe())
	if err != nil {
		r.err = err
		return err
	}
	r.sink = sink
	for _, t := range r.tracks {
		if t.lost > 0 {
			sink.Lost(t.id, t.lost)
			t.lost = 0
		}
	}
	return nil
}

// setCodec takes a configuration found in band.
func (r *Receiver) setCodec(t *track, c media.Codec) {
	t.codec = c
	if r.err != nil {
		return
	}
	if r.sink == nil {
		_ = r.tryOpen() // kept in r.err
		return
	}
	if err := r.sink.SetTracks(r.describe()); err != nil {
		r.err = err
	}
}

// write hands one sample to the sink.
func (r *Receiver) write(t *track, s media.Sample) {
	if r.err != nil {
		return
	}
	if r.sink == nil {
		r.stats.NoConfig++
		return
	}
	err := r.sink.Write(s)
	switch {
	case err == nil:
		r.stats.Samples++
	case fault.Is(err, fault.Throttled):
		r.stats.Refused++
	default:
		r.err = err
	}
}

// miss counts packets that never came.
func (r *Receiver) miss(t *track, n int) {
	r.stats.Lost += uint64(n)
	if r.sink != nil {
		r.sink.Lost(t.id, n)
	} else {
		t.lost += n
	}
}
