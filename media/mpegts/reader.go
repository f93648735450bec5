package mpegts

import (
	"errors"
	"io"

	ts "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"

	"penstock/internal/fault"
	"penstock/media"
)

// Reader reads a transport stream. It is not for sharing between goroutines.
type Reader struct {
	guard   *guard
	r       ts.Reader
	streams []*inTrack
	tracks  []media.Track
	queue   []queued
	slab    media.Slab
	time    ts.TimeDecoder
	base    int64
	begun   bool
	errors  int
	end     error
}

// queued is a sample that waits, and whether the tracks changed with it.
type queued struct {
	s       media.Sample
	changed []media.Track
}

// inTrack is one elementary stream.
type inTrack struct {
	id    media.TrackID
	h265  bool
	codec media.Codec // nil: not known yet
}

// NewReader reads from r until the configuration of every track is known, which is
// found in band for video. Tracks of codecs that this package does not know are left out, and
// so are video tracks that show no parameter sets within SearchMax. fault.Invalid: no
// tables, or no track that can be read. It fails as r does.
func NewReader(r io.Reader) (*Reader, error) {
	out := &Reader{guard: newGuard(r)}
	out.r.R = out.guard
	if err := out.r.Initialize(); err != nil {
		return nil, invalid(err)
	}
	out.r.OnDecodeError(func(error) { out.errors++ })
	for _, t := range out.r.Tracks() {
		if len(out.streams) < media.TracksMax {
			out.add(t)
		}
	}
	for !out.known() && out.end == nil {
		out.read()
	}
	out.guard.search = -1
	for _, s := range out.streams {
		if s.codec != nil {
			out.tracks = append(out.tracks, media.Track{ID: s.id, Timescale: clock, Codec: s.codec})
		}
	}
	if len(out.tracks) == 0 {
		if fault.Is(out.end, fault.Invalid) {
			return nil, out.end
		}
		return nil, fault.New(fault.Invalid, "read MPEG-TS", "", "no track of a known codec")
	}
	if fault.Is(out.end, fault.Invalid) && out.guard.search == 0 {
		out.end, out.guard.err = nil, nil
	}
	return out, nil
}

func invalid(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "read MPEG-TS", "", "stream ends before its tables")
	}
	return fault.Wrap(fault.Invalid, "read MPEG-TS", "", err)
}

// Tracks returns the tracks as they are with the sample that Next returned last. Their
// time scale is 90000.
func (r *Reader) Tracks() []media.Track { return r.tracks }

// DecodeErrors counts what was damaged and left out so far.
func (r *Reader) DecodeErrors() int { return r.errors }

// Next returns the next sample. Times are the stream's own, unwrapped. changed says that
// Tracks differ from this sample on. After the last sample it returns io.EOF;
// fault.Invalid: the stream goes beyond a limit.
func (r *Reader) Next() (s media.Sample, changed bool, err error) {
	for len(r.queue) == 0 {
		if r.end != nil {
			return media.Sample{}, false, r.end
		}
		r.read()
	}
	q := r.queue[0]
	r.queue[0] = queued{}
	if r.queue = r.queue[1:]; len(r.queue) == 0 {
		r.queue = nil
	}
	if q.changed != nil {
		r.tracks = q.changed
	}
	return q.s, q.changed != nil, nil
}

func (r *Reader) read() {
	if err := r.r.Read(); err != nil {
		r.end = err
	}
}

// known reports whether every track has its configuration.
func (r *Reader) known() bool {
	for _, s := range r.streams {
		if s.codec == nil {
			return false
		}
	}
	return true
}

// add follows one elementary stream.
func (r *Reader) add(t *ts.Track) {
	s := &inTrack{id: media.TrackID(len(r.streams) + 1)}
	switch c := t.Codec.(type) {
	case *codecs.H264:
		r.r.OnDataH264(t, func(pts, dts int64, au [][]byte) error {
			r.video(s, pts, dts, au)
			return nil
		})
	case *codecs.H265:
		s.h265 = true
		r.r.OnDataH265(t, func(pts, dts int64, au [][]byte) error {
			r.video(s, pts, dts, au)
			return nil
		})
	case *codecs.MPEG4Audio:
		aac, err := media.NewAAC(c.Config)
		if err != nil || aac.SampleRate() <= 0 {
			return
		}
		s.codec = aac
		r.r.OnDataMPEG4Audio(t, func(pts int64, aus [][]byte) error {
			r.sound(s, pts, aus)
			return nil
		})
	case *codecs.Opus:
		s.codec = &media.Opus{Channels: max(c.ChannelCount, 1)}
		if _, err := media.ParseCodec("opus", s.codec.Private()); err != nil {
			return // more than two channels need a mapping that TS does not carry
		}
		r.r.OnDataOpus(t, func(pts int64, packets [][]byte) error {
			r.sound(s, pts, packets)
			return nil
		})
	default:
		return
	}
	r.streams = append(r.streams, s)
}

// video queues one access unit.
func (r *Reader) video(s *inTrack, pts, dts int64, au [][]byte) {
	size := 0
	for _, n := range au {
		size += 4 + len(n)
	}
	r.slab.Begin(size)
	for _, n := range au {
		if len(n) == 0 {
			continue
		}
		media.AppendNAL(r.slab.Grow(4 + len(n))[:0], n)
	}
	data := r.slab.Bytes()
	codec, changed, sync := r.scan(s, data)
	if codec == nil || len(data) == 0 {
		r.slab.Rollback()
		return
	}
	data = r.slab.Commit()
	at := r.unwrap(dts)
	q := queued{s: media.Sample{Track: s.id, DTS: at, CTO: offset(pts - dts), Sync: sync, Data: data}}
	if changed {
		q.changed = r.change(s, codec)
	}
	r.queue = append(r.queue, q)
}

// scan updates the configuration of s; the codec is nil while it is not known.
func (r *Reader) scan(s *inTrack, au []byte) (codec media.Codec, changed, sync bool) {
	first := s.codec == nil
	if s.h265 {
		cur, _ := s.codec.(*media.H265)
		next, ch := media.H265Update(cur, au)
		if next != nil {
			s.codec = next
		}
		return s.codec, ch && !first, media.H265IsSync(au)
	}
	cur, _ := s.codec.(*media.H264)
	next, ch := media.H264Update(cur, au)
	if next != nil {
		s.codec = next
	}
	return s.codec, ch && !first, media.H264IsSync(au)
}

// offset is a difference of two 33-bit times.
func offset(d int64) int32 {
	d &= 1<<33 - 1
	if d >= 1<<32 {
		d -= 1 << 33
	}
	return int32(max(min(d, 1<<31-1), -1<<31))
}

// change returns the tracks from now on.
func (r *Reader) change(s *inTrack, c media.Codec) []media.Track {
	var out []media.Track
	for _, in := range r.streams {
		if in == s {
			in.codec = c
		}
		if in.codec != nil {
			out = append(out, media.Track{ID: in.id, Timescale: clock, Codec: in.codec})
		}
	}
	return out
}

// sound queues the frames of one PES packet.
func (r *Reader) sound(s *inTrack, pts int64, frames [][]byte) {
	at := r.unwrap(pts)
	rate, _ := media.AudioFormat(s.codec)
	t := media.Track{Timescale: uint32(rate), Codec: s.codec}
	played := int64(0) // in samples, so that rounding does not add up
	for _, f := range frames {
		if len(f) == 0 {
			continue
		}
		data := r.slab.Alloc(len(f))
		copy(data, f)
		r.queue = append(r.queue, queued{s: media.Sample{
			Track: s.id, DTS: at + played*clock/int64(rate), Sync: true, Data: data}})
		played += media.Nominal(t, f)
	}
}

// unwrap makes a 33-bit time one that only wraps after an eternity.
func (r *Reader) unwrap(t int64) int64 {
	if !r.begun {
		r.begun, r.base = true, t
	}
	return r.base + r.time.Decode(t)
}
