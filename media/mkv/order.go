package mkv

import (
	"io"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"penstock/media"
)

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// extractor finds the decode time of an access unit from its presentation time.
type extractor interface {
	Extract(au [][]byte, pts int64) (int64, error)
}

// order makes decode times: Matroska has presentation times only, in decode order.
type order struct {
	x     extractor
	units [][]byte
	begun bool
	last  int64
}

// dts returns the decode time of s, which is presented at pts. Decode times always rise;
// where the picture order cannot be read they follow presentation times as well as they can.
func (o *order) dts(t *inTrack, s media.Sample, pts int64) int64 {
	at := pts
	if x := o.extractor(t, s); x != nil {
		if v, err := x.Extract(o.units, pts); err == nil {
			at = v
		}
	}
	if o.begun && at <= o.last && t.video() {
		at = o.last + 1
	}
	o.begun, o.last = true, at
	return at
}

// extractor returns that of the track's codec, and fills units; nil: the codec does not
// reorder.
func (o *order) extractor(t *inTrack, s media.Sample) extractor {
	if o.x == nil {
		switch t.name {
		case "h264":
			x := &h264.DTSExtractor{}
			x.Initialize()
			o.x = x
		case "h265":
			x := &h265.DTSExtractor{}
			x.Initialize()
			o.x = x
		default:
			return nil
		}
	}
	o.units = o.units[:0]
	if c, ok := t.codec.(interface{ ParameterSets() [][]byte }); ok && s.Sync {
		o.units = append(o.units, c.ParameterSets()...)
	}
	for n := range media.NALs(s.Data) {
		o.units = append(o.units, n)
	}
	return o.x
}
