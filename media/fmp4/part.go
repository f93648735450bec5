package fmp4

import (
	"math"
	"slices"
	"strconv"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/bmff"
)

// Sample flags (§8.8.3.1): whether others are needed to decode a sample.
const (
	flagsSync    = 0x02000000 // depends on none
	flagsNonSync = 0x01010000 // depends on others, not a sync sample
)

// Sizes in bytes of the boxes of a part.
const (
	boxHead    = 8
	mfhdSize   = 16
	tfhdSize   = 16 // track and flags
	tfhdSound  = 20 // with default flags of samples
	tfdtSize   = 20
	trunSize   = 20
	videoEntry = 16 // duration, size, flags, composition offset
	soundEntry = 8  // duration, size
)

// partMax bounds the media of a part: trun counts its offset in 31 bits. A part is
// seconds long; the longest fragment of 8K is below 200 MiB.
const partMax = 1 << 30

// AppendPart appends a media part (moof and mdat) with the samples of tracks, which stay
// in the order of each track; samples of other tracks are left out, and so are tracks
// without samples. seq is the part's number in its presentation. A sample lasts until the
// next of its track; ends[i], when there, says where the sample after the last one of
// tracks[i] would start, and where it is missing the last sample lasts as long as the one
// before it, or as its codec says. Composition offsets may be negative.
//
// It appends nothing when none of the samples is of these tracks, and allocates at most
// once, to make dst longer. fault.Invalid: decode times that fall or are negative, or
// too much for one part.
func AppendPart(dst []byte, seq uint32, tracks []media.Track, samples []media.Sample, ends []int64) ([]byte, error) {
	moof, data := boxHead+mfhdSize, 0
	for _, t := range tracks {
		n, size, err := measure(t, samples)
		if err != nil {
			return dst, err
		}
		if n > 0 {
			moof += trafSize(t, n)
			data += size
		}
	}
	if data > partMax {
		return dst, fault.New(fault.Invalid, "write part", strconv.Itoa(int(seq)), "more than 1 GiB of media").
			WithHint("cut the part")
	}
	if data == 0 {
		return dst, nil
	}
	b := slices.Grow(dst, moof+boxHead+data)
	b, at := bmff.Start(b, "moof")
	b, mfhd := bmff.StartFull(b, "mfhd", 0, 0)
	b = bmff.End(bmff.U32(b, seq), mfhd)
	offset := moof + boxHead
	for i, t := range tracks {
		n, size, _ := measure(t, samples)
		if n == 0 {
			continue
		}
		end := int64(math.MinInt64)
		if i < len(ends) {
			end = ends[i]
		}
		b = traf(b, t, samples, n, offset, end)
		offset += size
	}
	b = bmff.End(b, at)
	b, at = bmff.Start(b, "mdat")
	for _, t := range tracks {
		for i := range samples {
			if samples[i].Track == t.ID {
				b = append(b, samples[i].Data...)
			}
		}
	}
	return bmff.End(b, at), nil
}

// Part is AppendPart into memory of its own.
func Part(seq uint32, tracks []media.Track, samples []media.Sample, ends []int64) ([]byte, error) {
	return AppendPart(nil, seq, tracks, samples, ends)
}

// measure counts the samples of t and their bytes, and checks their times.
func measure(t media.Track, samples []media.Sample) (n, size int, err error) {
	last := int64(0)
	for i := range samples {
		s := &samples[i]
		if s.Track != t.ID {
			continue
		}
		if s.DTS < last {
			return 0, 0, fault.New(fault.Invalid, "write part", "", "decode time "+
				strconv.FormatInt(s.DTS, 10)+" of track "+strconv.Itoa(int(t.ID))+" is before "+strconv.FormatInt(last, 10))
		}
		last = s.DTS
		n++
		size += len(s.Data)
	}
	return n, size, nil
}

func sound(t media.Track) bool { return t.Codec.Kind() == media.Audio }

func trafSize(t media.Track, n int) int {
	if sound(t) {
		return boxHead + tfhdSound + tfdtSize + trunSize + n*soundEntry
	}
	return boxHead + tfhdSize + tfdtSize + trunSize + n*videoEntry
}

// traf appends the track fragment (§8.8.6) of t, whose n samples begin at offset from
// the start of the moof.
func traf(b []byte, t media.Track, samples []media.Sample, n, offset int, end int64) []byte {
	first := slices.IndexFunc(samples, func(s media.Sample) bool { return s.Track == t.ID })
	b, at := bmff.Start(b, "traf")
	b, box := bmff.StartFull(b, "tfhd", 0, tfhdFlags(t))
	b = bmff.U32(b, uint32(t.ID))
	if sound(t) {
		b = bmff.U32(b, flagsSync)
	}
	b = bmff.End(b, box)
	b, box = bmff.StartFull(b, "tfdt", 1, 0)
	b = bmff.End(bmff.U64(b, uint64(samples[first].DTS)), box)
	b, box = bmff.StartFull(b, "trun", 1, trunFlags(t))
	b = bmff.U32(bmff.U32(b, uint32(n)), uint32(offset))
	b = entries(b, t, samples[first:], end)
	return bmff.End(bmff.End(b, box), at)
}

// tfhdFlags: offsets count from the moof; sound has default flags.
func tfhdFlags(t media.Track) uint32 {
	if sound(t) {
		return 0x020020
	}
	return 0x020000
}

func trunFlags(t media.Track) uint32 {
	if sound(t) {
		return 0x000301
	}
	return 0x000f01
}

// entries appends the sample entries of trun. samples[0] is of t.
func entries(b []byte, t media.Track, samples []media.Sample, end int64) []byte {
	cur, before := &samples[0], int64(-1)
	quiet := sound(t)
	for i := 1; i <= len(samples); i++ {
		if i < len(samples) && samples[i].Track != t.ID {
			continue
		}
		next := end
		if i < len(samples) {
			next = samples[i].DTS
		} else if end < cur.DTS {
			next = cur.DTS + nominal(t, cur, before)
		}
		before = next - cur.DTS
		b = bmff.U32(b, uint32(min(before, math.MaxUint32)))
		b = bmff.U32(b, uint32(len(cur.Data)))
		if !quiet {
			flags := uint32(flagsNonSync)
			if cur.Sync {
				flags = flagsSync
			}
			b = bmff.U32(bmff.U32(b, flags), uint32(cur.CTO))
		}
		if i < len(samples) {
			cur = &samples[i]
		}
	}
	return b
}

// nominal is how long a last sample lasts when nobody says where the next would start.
// The step before it is truer for video: cameras lie about their frame rate.
func nominal(t media.Track, s *media.Sample, before int64) int64 {
	if before > 0 && !sound(t) {
		return before
	}
	if d := media.Nominal(t, s.Data); d > 0 {
		return d
	}
	if before > 0 {
		return before
	}
	return int64(t.Timescale) / 30
}
