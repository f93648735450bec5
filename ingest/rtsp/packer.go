package rtsp

import (
	"math/rand/v2"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/pion/rtp"

	"penstock/internal/fault"
	"penstock/media"
)

// packer cuts the samples of one track into RTP packets, with gortsplib's encoders.
type packer struct {
	base   uint32 // RTP timestamp of media time 0 (RFC 3550 §5.1: random)
	encode func(units [][]byte) ([]*rtp.Packet, error)
	split  func(s media.Sample) [][]byte
}

// newPacker returns the packer for a format that formatOf made.
func newPacker(f format.Format) (packer, error) {
	p := packer{base: rand.Uint32(), split: func(s media.Sample) [][]byte { return [][]byte{s.Data} }}
	var err error
	switch f := f.(type) {
	case *format.H264:
		e, e2 := f.CreateEncoder()
		p.encode, p.split, err = e.Encode, nals, e2
	case *format.H265:
		e, e2 := f.CreateEncoder()
		p.encode, p.split, err = e.Encode, nals, e2
	case *format.AV1:
		e, e2 := f.CreateEncoder()
		p.encode, p.split, err = e.Encode, obus, e2
	case *format.MPEG4Audio:
		e, e2 := f.CreateEncoder()
		p.encode, err = e.Encode, e2
	case *format.MJPEG:
		e, e2 := f.CreateEncoder()
		p.encode, err = func(u [][]byte) ([]*rtp.Packet, error) { return e.Encode(u[0]) }, e2
	case *format.G711:
		e, e2 := f.CreateEncoder()
		p.encode, err = func(u [][]byte) ([]*rtp.Packet, error) { return e.Encode(u[0]) }, e2
	case *format.Opus:
		e, e2 := f.CreateEncoder()
		p.encode, err = func(u [][]byte) ([]*rtp.Packet, error) {
			pkt, err := e.Encode(u[0])
			return []*rtp.Packet{pkt}, err
		}, e2
	default:
		return p, fault.New(fault.Invalid, "packetize", f.Codec(), "no payload format")
	}
	return p, err
}

// pack cuts one sample.
func (p *packer) pack(o *out, s media.Sample) ([]*rtp.Packet, error) {
	units := p.split(s)
	if o.inject && s.Sync {
		units = append(parameterSets(o.track.Codec, units), units...)
	}
	if len(units) == 0 {
		return nil, nil
	}
	return p.encode(units)
}

// nals views the NAL units of a sample.
func nals(s media.Sample) [][]byte {
	var out [][]byte
	for n := range media.NALs(s.Data) {
		out = append(out, n)
	}
	return out
}

// obus views the OBUs of a temporal unit.
func obus(s media.Sample) [][]byte {
	var b av1.Bitstream
	if b.Unmarshal(s.Data) != nil {
		return nil
	}
	return b
}

// parameterSets are those of c, when units do not begin with their own.
func parameterSets(c media.Codec, units [][]byte) [][]byte {
	switch c := c.(type) {
	case *media.H264:
		for _, u := range units {
			if u[0]&0x1f == 7 {
				return nil
			}
		}
		return c.ParameterSets()
	case *media.H265:
		for _, u := range units {
			if u[0]>>1&0x3f == 33 {
				return nil
			}
		}
		return c.ParameterSets()
	}
	return nil
}
