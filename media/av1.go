package media

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
)

// OBU types of AV1 that this package acts on (AV1 specification §6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
)

// AV1 is AV1 (AV1 Bitstream and Decoding Process Specification). Its samples are the
// OBUs of a temporal unit, each with its size, without temporal delimiter.
type AV1 struct {
	SequenceHeader []byte // OBU, with or without its size field
}

// Name implements Codec.
func (*AV1) Name() string { return nameAV1 }

// Kind implements Codec.
func (*AV1) Kind() Kind { return Video }

func (c *AV1) header() (*av1.SequenceHeader, bool) {
	h := new(av1.SequenceHeader)
	if len(c.SequenceHeader) == 0 || h.Unmarshal(c.SequenceHeader) != nil || len(h.SeqLevelIdx) == 0 || len(h.SeqTier) == 0 {
		return new(av1.SequenceHeader), false
	}
	return h, true
}

// MIME implements Codec: "av01.0.08M.08" (AV1 in ISOBMFF §5).
func (c *AV1) MIME() string {
	h, ok := c.header()
	if !ok {
		return "av01"
	}
	tier := 'M'
	if h.SeqTier[0] {
		tier = 'H'
	}
	return fmt.Sprintf("av01.%d.%02d%c.%02d", h.SeqProfile, h.SeqLevelIdx[0], tier, max(h.ColorConfig.BitDepth, 8))
}

// Width implements Picture.
func (c *AV1) Width() int {
	h, ok := c.header()
	if !ok {
		return 0
	}
	return pixels(h.Width())
}

// Height implements Picture.
func (c *AV1) Height() int {
	h, ok := c.header()
	if !ok {
		return 0
	}
	return pixels(h.Height())
}

// FrameRate implements Picture.
func (c *AV1) FrameRate() float64 {
	h, _ := c.header()
	if h.TimingInfo == nil || h.TimingInfo.NumUnitsInDisplayTick == 0 {
		return 0
	}
	return sane(float64(h.TimingInfo.TimeScale) / float64(h.TimingInfo.NumUnitsInDisplayTick))
}

// Private implements Codec: the av1C record (AV1 in ISOBMFF §2.3.3), nil without a
// sequence header.
func (c *AV1) Private() []byte {
	h, ok := c.header()
	if !ok {
		return nil
	}
	cc := h.ColorConfig
	flags := boolByte(h.SeqTier[0])<<7 | boolByte(cc.HighBitDepth)<<6 | boolByte(cc.TwelveBit)<<5 |
		boolByte(cc.MonoChrome)<<4 | boolByte(cc.SubsamplingX)<<3 | boolByte(cc.SubsamplingY)<<2 |
		byte(cc.ChromaSamplePosition)&3
	b := []byte{0x81, h.SeqProfile<<5 | h.SeqLevelIdx[0]&0x1f, flags, 0}
	return AppendOBU(b, c.SequenceHeader)
}

// parseAV1C keeps views of b.
func parseAV1C(b []byte) (Codec, error) {
	if len(b) < 4 || b[0] != 0x81 {
		return nil, badCodec(nameAV1, "not an av1C record")
	}
	for obu := range OBUs(b[4:]) {
		if obuType(obu) == obuSequenceHeader {
			c := &AV1{SequenceHeader: obu}
			if _, ok := c.header(); !ok {
				return nil, badCodec(nameAV1, "sequence header cannot be read")
			}
			return c, nil
		}
	}
	return nil, badCodec(nameAV1, "av1C record lacks a sequence header")
}

func obuType(obu []byte) byte { return obu[0] >> 3 & 0xf }

// OBUs iterates over the OBUs of a temporal unit in the low-overhead format. They are
// views of tu, with header and size; an OBU without a size takes the rest. Iteration ends
// at a size that lies.
func OBUs(tu []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(tu) > 0 {
			n := obuLen(tu)
			if n == 0 || !yield(tu[:n:n]) {
				return
			}
			tu = tu[n:]
		}
	}
}

// obuLen is the length of the first OBU of b with its header, 0 when it is damaged.
func obuLen(b []byte) int {
	head := 1 + int(b[0]>>2&1)
	if b[0]&2 == 0 {
		return len(b)
	}
	if len(b) <= head {
		return 0
	}
	var size av1.LEB128
	n, err := size.Unmarshal(b[head:])
	if err != nil || uint64(size) > uint64(len(b)-head-n) {
		return 0
	}
	return head + n + int(size)
}

// AppendOBU appends one OBU in the low-overhead format: it adds the size field that OBUs
// from RTP lack. A temporal delimiter is left out, and so is an empty obu.
func AppendOBU(dst, obu []byte) []byte {
	if len(obu) == 0 || obuType(obu) == obuTemporalDelimiter {
		return dst
	}
	head := 1 + int(obu[0]>>2&1)
	if obu[0]&2 != 0 || len(obu) < head {
		return append(dst, obu...)
	}
	dst = append(dst, obu[0]|2)
	dst = append(dst, obu[1:head]...)
	for n := uint(len(obu) - head); ; n >>= 7 {
		if n < 0x80 {
			dst = append(dst, byte(n))
			break
		}
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, obu[head:]...)
}

// AV1IsSync reports whether a decoder can start at the temporal unit tu: whether it
// brings a sequence header, which encoders repeat with key frames (AV1 RTP §4.4 demands it).
func AV1IsSync(tu []byte) bool {
	for obu := range OBUs(tu) {
		if obuType(obu) == obuSequenceHeader {
			return true
		}
	}
	return false
}

// AV1Update looks for a sequence header in the temporal unit tu and returns the
// configuration that holds from tu on: cur itself and false when it repeats what is
// known. cur may be nil.
func AV1Update(cur *AV1, tu []byte) (*AV1, bool) {
	for obu := range OBUs(tu) {
		if obuType(obu) != obuSequenceHeader {
			continue
		}
		if cur != nil && (bytes.Equal(cur.SequenceHeader, obu) || bytes.Equal(AppendOBU(nil, cur.SequenceHeader), obu)) {
			return cur, false
		}
		next := &AV1{SequenceHeader: bytes.Clone(obu)}
		if _, ok := next.header(); ok && len(obu) <= setMax {
			return next, true
		}
	}
	return cur, false
}
