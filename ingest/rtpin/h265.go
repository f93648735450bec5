package rtpin

import (
	"bytes"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"penstock/media"
)

// h265Packets is the payload format of RFC 7798 without DONL: single NAL units,
// aggregation packets and fragmentation units.
type h265Packets struct {
	builder
	codec *media.H265
	order dtsOrder
}

func newH265(t *track, vps, sps, pps []byte) *h265Packets {
	d := &h265Packets{}
	d.builder = builder{t: t, syntax: d}
	if len(vps) > 0 && len(sps) > 0 && len(pps) > 0 {
		d.configure(&media.H265{VPS: vps, SPS: sps, PPS: pps})
	}
	return d
}

// packet implements depacketizer.
func (d *h265Packets) packet(h header, p []byte, gap bool) {
	if len(p) < 3 {
		d.t.r.stats.Malformed++
		return
	}
	switch typ := p[0] >> 1 & 0x3f; {
	case typ == 49: // FU, RFC 7798 §4.4.3
		fu := p[2]
		d.reach(h, gap, fu&0x3f >= 16 && fu&0x3f <= 21)
		head := [2]byte{p[0]&0x81 | fu&0x3f<<1, p[1]}
		start, end := fu&0x80 != 0, fu&0x40 != 0
		if start {
			d.open(head[:], p[3:])
			if end && d.fragment {
				d.close()
			}
		} else {
			d.more(p[3:], end)
		}
	case typ == 48: // AP, §4.4.2
		d.reach(h, gap, true)
		if !d.aggregate(p[2:]) {
			d.t.r.stats.Malformed++
			d.broken = true
		}
	case typ < 48:
		if media.IsAnnexB(p) {
			d.reach(h, gap, true)
			for n := range media.AnnexBNALs(p) {
				d.nal(n)
			}
			break
		}
		d.reach(h, gap, typ >= 16 && typ <= 34)
		d.nal(p)
	default: // PACI and what is reserved
		d.t.r.stats.Malformed++
		return
	}
	if h.marker {
		d.mark()
	}
}

// kind implements syntax (ITU-T H.265 table 7-1).
func (d *h265Packets) kind(b byte) nalu {
	switch typ := b >> 1 & 0x3f; {
	case typ >= 16 && typ <= 21:
		return naluKey
	case typ < 16:
		return naluSlice
	case typ >= 32 && typ <= 34:
		return naluParam
	}
	return naluOther
}

// first implements syntax: first_slice_segment_in_pic_flag.
func (d *h265Packets) first(p []byte) bool { return len(p) > 2 && p[2]&0x80 != 0 }

// params implements syntax.
func (d *h265Packets) params(unit []byte) {
	next, changed := media.H265Update(d.codec, unit)
	if !changed {
		return
	}
	next = &media.H265{VPS: bytes.Clone(next.VPS), SPS: bytes.Clone(next.SPS), PPS: bytes.Clone(next.PPS),
		Extra: cloneAll(next.Extra)}
	if d.configure(next) {
		d.t.r.setCodec(d.t, next)
	}
}

// configure takes parameter sets; false: the SPS cannot be read.
func (d *h265Packets) configure(c *media.H265) bool {
	var s h265.SPS
	if err := s.Unmarshal(c.SPS); err != nil {
		d.t.r.stats.Malformed++
		return false
	}
	same := d.codec != nil && bytes.Equal(c.SPS, d.codec.SPS)
	d.codec, d.t.codec = c, c
	if same {
		return true
	}
	depth := 0
	for _, n := range s.MaxNumReorderPics {
		depth = max(depth, int(n))
	}
	d.order = dtsOrder{depth: depth, step: frameTicks(s.FPS(), d.t.clock)}
	return true
}

// dts implements syntax.
func (d *h265Packets) dts(_ []byte, pts int64, _ bool) int64 { return d.order.next(pts) }
