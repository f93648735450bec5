package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// NAL unit types of H.265 that this package acts on (ITU-T H.265 table 7-1).
const (
	h265BLA    = 16 // first of the intra random access point types
	h265IRAP   = 23 // last of them
	h265VCLEnd = 31
	h265VPS    = 32
	h265SPS    = 33
	h265PPS    = 34
)

// H265 is H.265 / HEVC (ITU-T H.265). Its samples are NAL units with 4-byte lengths.
type H265 struct {
	VPS []byte // NAL unit, no start code
	SPS []byte
	PPS []byte
	// Extra holds further parameter sets of the few encoders that use several.
	Extra [][]byte
}

// Name implements Codec.
func (*H265) Name() string { return nameH265 }

// Kind implements Codec.
func (*H265) Kind() Kind { return Video }

// profile is general profile, tier and level as the SPS carries them, 12 bytes
// (ITU-T H.265 §7.3.3); ok is false when the SPS is too short.
func (c *H265) profile() (b [12]byte, ok bool) {
	rbsp := h264.EmulationPreventionRemove(c.SPS[:min(len(c.SPS), 32)])
	if len(rbsp) < 15 {
		return b, false
	}
	copy(b[:], rbsp[3:])
	return b, true
}

// MIME implements Codec: "hvc1.1.6.L93.B0" (ISO/IEC 14496-15 §E.3).
func (c *H265) MIME() string {
	p, ok := c.profile()
	if !ok {
		return "hvc1"
	}
	var s strings.Builder
	s.WriteString("hvc1.")
	if space := p[0] >> 6; space > 0 {
		s.WriteByte('A' + space - 1)
	}
	tier := byte('L')
	if p[0]&0x20 != 0 {
		tier = 'H'
	}
	fmt.Fprintf(&s, "%d.%X.%c%d", p[0]&0x1f, bits.Reverse32(binary.BigEndian.Uint32(p[1:])), tier, p[11])
	for _, b := range bytes.TrimRight(p[5:11], "\x00") {
		fmt.Fprintf(&s, ".%X", b)
	}
	return s.String()
}

// Width implements Picture.
func (c *H265) Width() int { return pixels(c.sps().Width()) }

// Height implements Picture.
func (c *H265) Height() int { return pixels(c.sps().Height()) }

// FrameRate implements Picture.
func (c *H265) FrameRate() float64 { return sane(c.sps().FPS()) }

// sps returns the parsed SPS, or an empty one when it cannot be read.
func (c *H265) sps() *h265.SPS {
	s := new(h265.SPS)
	if len(c.SPS) == 0 || s.Unmarshal(c.SPS) != nil {
		return new(h265.SPS)
	}
	return s
}

// ParameterSets returns VPS, SPS, PPS and Extra as NAL units, in the order a decoder needs.
func (c *H265) ParameterSets() [][]byte { return present(c.Extra, c.VPS, c.SPS, c.PPS) }

// Private implements Codec: the hvcC record (ISO/IEC 14496-15 §8.3.3.1), nil without an SPS.
func (c *H265) Private() []byte {
	p, ok := c.profile()
	if !ok {
		return nil
	}
	s := c.sps()
	b := append([]byte{1}, p[:]...)
	b = append(b, 0xf0, 0, // min_spatial_segmentation_idc: unknown
		0xfc, // parallelismType: unknown
		0xfc|byte(s.ChromaFormatIdc&3), 0xf8|byte(s.BitDepthLumaMinus8&7), 0xf8|byte(s.BitDepthChromaMinus8&7),
		0, 0, // average frame rate: unspecified
		(s.MaxSubLayersMinus1+1)&7<<3|boolByte(s.TemporalIDNestingFlag)<<2|3)
	arrays := len(b)
	b = append(b, 0)
	for _, kind := range []byte{h265VPS, h265SPS, h265PPS} {
		var sets [][]byte
		for _, n := range c.ParameterSets() {
			if h265Type(n) == kind {
				sets = append(sets, n)
			}
		}
		if len(sets) == 0 {
			continue
		}
		b[arrays]++
		b = append(b, 0x80|kind) // all sets of this kind are here: "hvc1" demands it
		b = binary.BigEndian.AppendUint16(b, uint16(len(sets)))
		b = appendSets(b, sets)
	}
	return b
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func h265Type(nal []byte) byte { return nal[0] >> 1 & 0x3f }

// parseHVCC keeps views of b.
func parseHVCC(b []byte) (Codec, error) {
	if len(b) < 23 || b[0] != 1 {
		return nil, badCodec(nameH265, "not an hvcC record")
	}
	arrays, b := int(b[22]), b[23:]
	var sets [][]byte
	for range arrays {
		if len(b) < 3 {
			return nil, badCodec(nameH265, "hvcC record is cut off")
		}
		some, rest, ok := cutSets(b[3:], int(binary.BigEndian.Uint16(b[1:])))
		if !ok {
			return nil, badCodec(nameH265, "hvcC record is cut off")
		}
		sets, b = append(sets, some...), rest
	}
	c := &H265{}
	c.take(sets)
	if _, ok := c.profile(); !ok || c.VPS == nil || c.PPS == nil {
		return nil, badCodec(nameH265, "hvcC record lacks parameter sets")
	}
	return c, nil
}

// take sorts parameter sets into their fields; NAL units of other types, such as the
// SEI that x265 puts into its hvcC, are left out.
func (c *H265) take(sets [][]byte) {
	for _, n := range sets {
		switch t := h265Type(n); {
		case t == h265VPS && c.VPS == nil:
			c.VPS = n
		case t == h265SPS && c.SPS == nil:
			c.SPS = n
		case t == h265PPS && c.PPS == nil:
			c.PPS = n
		case t >= h265VPS && t <= h265PPS && len(c.Extra) < setsMax:
			c.Extra = append(c.Extra, n)
		}
	}
}

// H265IsSync reports whether a decoder can start at the access unit au (4-byte lengths):
// whether it is an intra random access point (IDR, CRA or BLA).
func H265IsSync(au []byte) bool {
	for n := range NALs(au) {
		if t := h265Type(n); t <= h265VCLEnd {
			return t >= h265BLA && t <= h265IRAP
		}
	}
	return false
}

// H265Update looks for parameter sets within the access unit au (4-byte lengths) and
// returns the configuration that holds from au on: cur itself and false when they
// repeat what is known, which costs no allocation. cur may be nil; the result is nil
// while VPS, SPS and PPS have not all been seen.
func H265Update(cur *H265, au []byte) (*H265, bool) {
	changed := false
	for n := range NALs(au) {
		t := h265Type(n)
		if t <= h265VCLEnd && !changed {
			return cur, false // parameter sets come before the first slice
		}
		if t >= h265VPS && t <= h265PPS && (cur == nil || !cur.has(n)) {
			changed = true
		}
	}
	if !changed {
		return cur, false
	}
	next := &H265{}
	var known [][]byte
	if cur != nil {
		known = cur.ParameterSets()
	}
	next.take(mergeSets(known, au, h265Key, h265SPS))
	if next.Width() == 0 || next.VPS == nil || next.PPS == nil || cur != nil && EqualCodecs(cur, next) {
		return cur, false // a damaged SPS must not replace a sound one
	}
	return next, true
}

// has reports whether n is one of the sets of c.
func (c *H265) has(n []byte) bool {
	return bytes.Equal(n, c.SPS) || bytes.Equal(n, c.PPS) || bytes.Equal(n, c.VPS) || contains(c.Extra, n)
}

// h265Key names a parameter set. The id of an SPS lies behind the profile; an SPS is
// taken to replace any other, which is what all known encoders mean.
func h265Key(n []byte) (setKey, bool) {
	t := h265Type(n)
	switch {
	case len(n) < 3:
	case t == h265VPS:
		return setKey{t, uint32(n[2] >> 4)}, true
	case t == h265SPS:
		return setKey{t, 0}, true
	case t == h265PPS:
		return setKey{t, golomb(n[2:])}, true
	}
	return setKey{}, false
}
