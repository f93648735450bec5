package rtpin

import (
	"bytes"
	"encoding/binary"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"penstock/media"
)

// h264Packets is the payload format of RFC 6184: single NAL units, STAP-A and FU-A,
// which are all that packetization modes 0 and 1 have.
type h264Packets struct {
	builder
	codec   *media.H264
	order   dtsOrder
	extract *h264.DTSExtractor // of streams that do not say how they reorder
}

func newH264(t *track, sps, pps []byte) *h264Packets {
	d := &h264Packets{}
	d.builder = builder{t: t, syntax: d}
	if len(sps) > 0 && len(pps) > 0 {
		d.configure(&media.H264{SPS: sps, PPS: pps})
	}
	return d
}

// packet implements depacketizer.
func (d *h264Packets) packet(h header, p []byte, gap bool) {
	typ := p[0] & 0x1f
	switch {
	case typ == 28: // FU-A, RFC 6184 §5.8
		if len(p) < 2 {
			d.t.r.stats.Malformed++
			return
		}
		d.reach(h, gap, p[1]&0x1f == 5)
		head := [1]byte{p[0]&0xe0 | p[1]&0x1f}
		start, end := p[1]&0x80 != 0, p[1]&0x40 != 0
		if start {
			d.open(head[:], p[2:])
			if end && d.fragment {
				d.close()
			}
		} else {
			d.more(p[2:], end)
		}
	case typ == 24: // STAP-A, §5.7.1
		d.reach(h, gap, true)
		if !d.aggregate(p[1:]) {
			d.t.r.stats.Malformed++
			d.broken = true
		}
	case typ >= 1 && typ <= 23:
		d.reach(h, gap, typ == 5 || typ == 7)
		d.nal(p)
	default:
		if !media.IsAnnexB(p) { // as a few encoders send it
			d.t.r.stats.Malformed++
			return
		}
		d.reach(h, gap, true)
		for n := range media.AnnexBNALs(p) {
			d.nal(n)
		}
	}
	if h.marker {
		d.mark()
	}
}

// aggregate adds NAL units with 16-bit lengths; false: they do not fit.
func (b *builder) aggregate(p []byte) bool {
	for len(p) >= 2 {
		n := int(binary.BigEndian.Uint16(p))
		if n > len(p)-2 {
			return false
		}
		if n > 0 {
			b.nal(p[2 : 2+n])
		}
		p = p[2+n:]
	}
	return true
}

// kind implements syntax (ITU-T H.264 table 7-1).
func (d *h264Packets) kind(b byte) nalu {
	switch b & 0x1f {
	case 5:
		return naluKey
	case 1, 2:
		return naluSlice
	case 7, 8:
		return naluParam
	}
	return naluOther
}

// first implements syntax: first_mb_in_slice is 0, which is coded as a one bit.
func (d *h264Packets) first(p []byte) bool { return len(p) > 1 && p[1]&0x80 != 0 }

// params implements syntax.
func (d *h264Packets) params(unit []byte) {
	next, changed := media.H264Update(d.codec, unit)
	if !changed {
		return
	}
	next = &media.H264{SPS: bytes.Clone(next.SPS), PPS: bytes.Clone(next.PPS), Extra: cloneAll(next.Extra)}
	if d.configure(next) {
		d.t.r.setCodec(d.t, next)
	}
}

// configure takes parameter sets; false: the SPS cannot be read.
func (d *h264Packets) configure(c *media.H264) bool {
	var s h264.SPS
	if err := s.Unmarshal(c.SPS); err != nil {
		d.t.r.stats.Malformed++
		return false
	}
	same := d.codec != nil && bytes.Equal(c.SPS, d.codec.SPS)
	d.codec, d.t.codec = c, c
	if same {
		return true
	}
	depth, known := h264Depth(&s)
	d.order = dtsOrder{depth: depth, step: frameTicks(s.FPS(), d.t.clock)}
	d.extract = nil
	if !known {
		d.extract = &h264.DTSExtractor{}
		d.extract.Initialize()
	}
	return true
}

// cloneAll copies each of list, which views memory of a sample.
func cloneAll(list [][]byte) [][]byte {
	out := make([][]byte, 0, len(list))
	for _, b := range list {
		out = append(out, bytes.Clone(b))
	}
	return out
}

// h264Depth is by how many pictures decoding runs ahead of showing, where the SPS says.
func h264Depth(s *h264.SPS) (int, bool) {
	switch {
	case s.PicOrderCntType == 2, s.ProfileIdc == 66:
		return 0, true // order of decoding is order of showing
	case s.VUI != nil && s.VUI.BitstreamRestriction != nil:
		return int(s.VUI.BitstreamRestriction.MaxNumReorderFrames), true
	}
	return 0, false
}

// dts implements syntax.
func (d *h264Packets) dts(unit []byte, pts int64, key bool) int64 {
	if d.extract == nil {
		return d.order.next(pts)
	}
	var list [16][]byte
	nals := list[:0]
	if key {
		nals = append(nals, d.codec.SPS)
	}
	for n := range media.NALs(unit) {
		nals = append(nals, n)
	}
	dts, err := d.extract.Extract(nals, pts)
	if err != nil {
		return d.order.clamp(pts)
	}
	return d.order.took(dts)
}
