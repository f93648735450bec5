// Package mpegts writes and reads MPEG transport streams (ISO/IEC 13818-1) with H.264,
// H.265, AAC and Opus.
//
// Packets, tables and PES are mediacommon's; this package turns samples into access
// units with delimiters and parameter sets and back, and bounds what a stream from
// outside can make it hold.
package mpegts

import (
	"io"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	ts "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"

	"penstock/internal/fault"
	"penstock/media"
)

// clock is the rate of all times in a transport stream, in Hz.
const clock = 90000

// lead is added to all times: the clock reference runs before the first picture, and a
// decode time of 0 would put it before zero, which players take for a wrap.
const lead = clock

// Writer writes samples as a transport stream. It is not for sharing between goroutines.
type Writer struct {
	w      ts.Writer
	tracks map[media.TrackID]*outTrack
	units  [][]byte // of the access unit being written, kept for its memory
}

// outTrack is one elementary stream.
type outTrack struct {
	track media.Track
	ts    *ts.Track
	sets  [][]byte // parameter sets, written before sync samples that lack them
}

// NewWriter writes the tables of tracks to w. fault.Unavailable: a codec that transport
// streams do not carry (G.711, AV1, Motion JPEG). It fails as w does.
func NewWriter(w io.Writer, tracks []media.Track) (*Writer, error) {
	if len(tracks) == 0 {
		return nil, fault.New(fault.Invalid, "write MPEG-TS", "", "no tracks")
	}
	out := &Writer{w: ts.Writer{W: w}, tracks: make(map[media.TrackID]*outTrack)}
	for _, t := range tracks {
		c, err := codecOf(t.Codec)
		if err != nil {
			return nil, err
		}
		o := &outTrack{track: t, ts: &ts.Track{Codec: c}}
		if p, ok := t.Codec.(interface{ ParameterSets() [][]byte }); ok {
			o.sets = p.ParameterSets()
		}
		out.tracks[t.ID] = o
		out.w.Tracks = append(out.w.Tracks, o.ts)
	}
	if err := out.w.Initialize(); err != nil {
		return nil, err
	}
	_, err := out.w.WriteTables()
	return out, err
}

// codecOf is the table of codecs of MPEG-TS.
func codecOf(c media.Codec) (codecs.Codec, error) {
	switch c := c.(type) {
	case *media.H264:
		return &codecs.H264{}, nil
	case *media.H265:
		return &codecs.H265{}, nil
	case *media.AAC:
		var conf mpeg4audio.AudioSpecificConfig
		if err := conf.Unmarshal(c.Config); err != nil {
			return nil, fault.Wrap(fault.Invalid, "write MPEG-TS", c.Name(), err)
		}
		return &codecs.MPEG4Audio{Config: conf}, nil
	case *media.Opus:
		return &codecs.Opus{ChannelCount: c.Channels}, nil
	}
	return nil, fault.New(fault.Unavailable, "write MPEG-TS", c.Name(), "MPEG-TS does not carry this codec").
		WithHint("ask for MP4 or Matroska")
}

// Write writes one sample; those of other tracks are left out. Times are the sample's in
// 90 kHz plus one second, and wrap at 33 bits. fault.Invalid: a sample without a NAL unit.
func (w *Writer) Write(s media.Sample) error {
	o := w.tracks[s.Track]
	if o == nil {
		return nil
	}
	dts := o.ticks(s.DTS)
	pts := o.ticks(s.DTS + int64(s.CTO))
	switch o.track.Codec.(type) {
	case *media.H264:
		if w.unit(o, s, h264Kind); len(w.units) > 0 {
			return w.w.WriteH264(o.ts, pts, dts, w.units)
		}
	case *media.H265:
		if w.unit(o, s, h265Kind); len(w.units) > 0 {
			return w.w.WriteH265(o.ts, pts, dts, w.units)
		}
	case *media.AAC:
		return w.w.WriteMPEG4Audio(o.ts, pts, [][]byte{s.Data})
	case *media.Opus:
		return w.w.WriteOpus(o.ts, pts, [][]byte{s.Data})
	}
	return fault.New(fault.Invalid, "write MPEG-TS", o.track.Codec.Name(), "sample holds no NAL unit")
}

func (o *outTrack) ticks(t int64) int64 {
	scale := int64(o.track.Timescale)
	whole, rest := t/scale, t%scale
	return (whole*clock + (rest*clock+scale/2)/scale + lead) & (1<<33 - 1)
}

// What a NAL unit is to the writer.
type nalKind uint8

const (
	other nalKind = iota
	delimiter
	parameterSet
)

func h264Kind(n []byte) nalKind {
	switch n[0] & 0x1f {
	case 9:
		return delimiter
	case 7, 8, 13:
		return parameterSet
	}
	return other
}

func h265Kind(n []byte) nalKind {
	switch n[0] >> 1 & 0x3f {
	case 35:
		return delimiter
	case 32, 33, 34:
		return parameterSet
	}
	return other
}

// unit takes apart the NAL units of s into w.units: the delimiter, if it has one, comes
// first, then the parameter sets of a sync sample that brings none.
func (w *Writer) unit(o *outTrack, s media.Sample, kind func([]byte) nalKind) {
	w.units = w.units[:0]
	has := !s.Sync
	for n := range media.NALs(s.Data) {
		has = has || kind(n) == parameterSet
	}
	for n := range media.NALs(s.Data) {
		k := kind(n)
		if !has && k != delimiter {
			w.units = append(w.units, o.sets...)
			has = true
		}
		w.units = append(w.units, n)
	}
}
