package media

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// NAL unit types of H.264 that this package acts on (ITU-T H.264 table 7-1).
const (
	h264IDR    = 5
	h264SPS    = 7
	h264PPS    = 8
	h264SPSExt = 13
)

// setsMax bounds the parameter sets of one record; H.264 allows 32 SPS and 256 PPS,
// encoders send one to four.
const setsMax = 64

// H264 is H.264 / AVC (ITU-T H.264). Its samples are NAL units with 4-byte lengths.
type H264 struct {
	SPS []byte // NAL unit, no start code
	PPS []byte // NAL unit, no start code
	// Extra holds further parameter sets of the few encoders that use several PPS.
	Extra [][]byte
}

// Name implements Codec.
func (*H264) Name() string { return nameH264 }

// Kind implements Codec.
func (*H264) Kind() Kind { return Video }

// MIME implements Codec: "avc1.PPCCLL" (RFC 6381 §3.3).
func (c *H264) MIME() string {
	if len(c.SPS) < 4 {
		return "avc1"
	}
	return fmt.Sprintf("avc1.%02x%02x%02x", c.SPS[1], c.SPS[2], c.SPS[3])
}

// Width implements Picture.
func (c *H264) Width() int { return pixels(c.sps().Width()) }

// Height implements Picture.
func (c *H264) Height() int { return pixels(c.sps().Height()) }

// FrameRate implements Picture.
func (c *H264) FrameRate() float64 { return sane(c.sps().FPS()) }

// sps returns the parsed SPS, or one that has no size when it cannot be read.
func (c *H264) sps() *h264.SPS {
	s := new(h264.SPS)
	if len(c.SPS) == 0 || s.Unmarshal(c.SPS) != nil {
		return &h264.SPS{PicWidthInMbsMinus1: ^uint32(0), PicHeightInMapUnitsMinus1: ^uint32(0)}
	}
	return s
}

// ParameterSets returns SPS, PPS and Extra as NAL units, in the order a decoder needs.
func (c *H264) ParameterSets() [][]byte { return present(c.Extra, c.SPS, c.PPS) }

// Private implements Codec: the avcC record (ISO/IEC 14496-15 §5.3.3.1), nil without an SPS.
func (c *H264) Private() []byte {
	if len(c.SPS) < 4 {
		return nil
	}
	var sps, pps, ext [][]byte
	for _, n := range c.ParameterSets() {
		switch n[0] & 0x1f {
		case h264SPS:
			sps = append(sps, n)
		case h264SPSExt:
			ext = append(ext, n)
		default:
			pps = append(pps, n)
		}
	}
	sps = sps[:min(len(sps), 31)] // the count has 5 bits
	b := []byte{1, c.SPS[1], c.SPS[2], c.SPS[3], 0xff, 0xe0 | byte(len(sps))}
	b = appendSets(b, sps)
	b = append(b, byte(len(pps)))
	b = appendSets(b, pps)
	switch c.SPS[1] {
	case 66, 77, 88: // the three profiles whose record ends here
		return b
	}
	s := new(h264.SPS)
	if s.Unmarshal(c.SPS) != nil {
		return b
	}
	b = append(b, 0xfc|byte(s.ChromaFormatIdc&3), 0xf8|byte(s.BitDepthLumaMinus8&7),
		0xf8|byte(s.BitDepthChromaMinus8&7), byte(len(ext)))
	return appendSets(b, ext)
}

// parseAVCC keeps views of b.
func parseAVCC(b []byte) (Codec, error) {
	if len(b) < 7 || b[0] != 1 {
		return nil, badCodec(nameH264, "not an avcC record")
	}
	c := &H264{}
	sps, rest, ok := cutSets(b[6:], int(b[5]&0x1f))
	if !ok || len(rest) < 1 {
		return nil, badCodec(nameH264, "avcC record is cut off")
	}
	pps, rest, ok := cutSets(rest[1:], int(rest[0]))
	if !ok || len(sps) == 0 || len(pps) == 0 {
		return nil, badCodec(nameH264, "avcC record lacks parameter sets")
	}
	c.SPS, c.PPS = sps[0], pps[0]
	c.Extra = append(slices.Clip(sps[1:]), pps[1:]...)
	if len(rest) >= 4 { // what follows is optional, and wrong in old records of other writers
		if ext, _, ok := cutSets(rest[4:], int(rest[3])); ok {
			c.Extra = append(c.Extra, ext...)
		}
	}
	if len(c.Extra) == 0 {
		c.Extra = nil
	}
	return c, c.check()
}

// check refuses what Private could not write down again.
func (c *H264) check() error {
	if len(c.SPS) < 4 || c.SPS[0]&0x1f != h264SPS || c.PPS[0]&0x1f != h264PPS {
		return badCodec(nameH264, "parameter sets are not what they are called")
	}
	for _, n := range c.Extra {
		switch n[0] & 0x1f {
		case h264SPS, h264PPS, h264SPSExt:
		default:
			return badCodec(nameH264, "parameter sets are not what they are called")
		}
	}
	return nil
}

// H264IsSync reports whether a decoder can start at the access unit au (4-byte lengths):
// whether it holds a slice of an IDR picture.
func H264IsSync(au []byte) bool {
	for n := range NALs(au) {
		if n[0]&0x1f == h264IDR {
			return true
		}
	}
	return false
}

// H264Update looks for parameter sets within the access unit au (4-byte lengths) and
// returns the configuration that holds from au on: cur itself and false when they
// repeat what is known, which costs no allocation. cur may be nil; the result is nil
// while SPS and PPS have not both been seen.
func H264Update(cur *H264, au []byte) (*H264, bool) {
	changed := false
	for n := range NALs(au) {
		switch t := n[0] & 0x1f; t {
		case h264SPS, h264PPS, h264SPSExt:
			if cur == nil || !cur.has(t, n) {
				changed = true
			}
		case 1, h264IDR:
			if !changed {
				return cur, false // parameter sets come before the first slice
			}
		}
	}
	if !changed {
		return cur, false
	}
	next := cur.with(au)
	if next == nil || next.Width() == 0 || cur != nil && EqualCodecs(cur, next) {
		return cur, false // a damaged SPS must not replace a sound one
	}
	return next, true
}

// has reports whether n, of type t, is one of the sets of c.
func (c *H264) has(t byte, n []byte) bool {
	if t == h264SPS && bytes.Equal(n, c.SPS) || t == h264PPS && bytes.Equal(n, c.PPS) {
		return true
	}
	return contains(c.Extra, n)
}

// with returns c with the parameter sets of au put in: a set replaces the one of its
// id, and a new SPS drops the PPS of the old one when au brings its own.
func (c *H264) with(au []byte) *H264 {
	var sets [][]byte
	if c != nil {
		sets = c.ParameterSets()
	}
	sets = mergeSets(sets, au, func(n []byte) (setKey, bool) {
		t := n[0] & 0x1f
		switch {
		case t == h264SPS && len(n) >= 5:
			return setKey{t, golomb(n[4:])}, true
		case t == h264PPS && len(n) >= 2:
			return setKey{t, golomb(n[1:])}, true
		case t == h264SPSExt && len(n) >= 2:
			return setKey{t, golomb(n[1:])}, true
		}
		return setKey{}, false
	}, h264SPS)
	next := &H264{}
	for _, n := range sets {
		switch t := n[0] & 0x1f; {
		case t == h264SPS && next.SPS == nil:
			next.SPS = n
		case t == h264PPS && next.PPS == nil:
			next.PPS = n
		default:
			next.Extra = append(next.Extra, n)
		}
	}
	if next.SPS == nil || next.PPS == nil {
		return nil
	}
	return next
}
