// Package mp4 writes progressive MP4 files (ISO/IEC 14496-12) with the header first,
// for clips that people download.
//
// The header follows from the times and sizes of the samples alone, so the length of the
// file is known, and any byte range can be served, before media is read. The media itself
// follows the header: the samples in the order they were given, nothing in between; the
// caller copies them. H.264, H.265, AV1, AAC, Opus, FLAC and G.711 are carried.
package mp4

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/bmff"
)

// Sample is what the header needs to know of a media.Sample.
type Sample struct {
	Track media.TrackID
	Sync  bool
	CTO   int32  // composition offset, ticks; may be negative
	Size  uint32 // bytes
	DTS   int64  // ticks of the track's time scale
}

// File is a progressive MP4 without its media. It does not change and may be shared.
type File struct {
	header []byte
	data   int64
}

// chunkSamples bounds a chunk: a run of samples of one track. Players read whole chunks.
const chunkSamples = 256

// New lays out a file of samples, all of which must be of tracks. Decode times rise
// within a track; tracks need not start together and keep their offsets by edit lists,
// so that the earliest picture or sound is at 0. A gap is a sample that lasts longer. ends[i] is
// the decode time at which tracks[i] ends; where it is missing its last sample lasts as
// long as the one before it. A track without samples is left out.
//
// fault.Invalid: no samples, falling decode times, a sample of no track, a codec without
// configuration; fault.Unavailable: a codec that MP4 does not carry.
func New(tracks []media.Track, samples []Sample, ends []int64) (*File, error) {
	all := make([]layout, len(tracks))
	index := [256]int16{}
	for i := range index {
		index[i] = -1
	}
	for i, t := range tracks {
		all[i] = newLayout(t)
		index[t.ID] = int16(i)
	}
	f := &File{}
	previous := int16(-1)
	for i := range samples {
		s := &samples[i]
		at := index[s.Track]
		if at < 0 {
			return nil, invalid("a sample is of track " + strconv.Itoa(int(s.Track)) + ", which is not there")
		}
		if err := all[at].add(s, f.data, at != previous); err != nil {
			return nil, err
		}
		f.data += int64(s.Size)
		previous = at
	}
	if len(samples) == 0 {
		return nil, invalid("no samples")
	}
	for i := range all {
		end := int64(math.MinInt64)
		if i < len(ends) {
			end = ends[i]
		}
		all[i].finish(end)
	}
	all = slices.DeleteFunc(all, func(l layout) bool { return l.count == 0 })
	return f, f.write(all)
}

// Header returns all that comes before the media. It must not be changed.
func (f *File) Header() []byte { return f.header }

// DataSize is the number of bytes of media behind the header.
func (f *File) DataSize() int64 { return f.data }

// Size is the length of the whole file in bytes.
func (f *File) Size() int64 { return int64(len(f.header)) + f.data }

func invalid(why string) error { return fault.New(fault.Invalid, "write MP4", "", why) }

// write makes the header. Offsets of chunks count from the end of the header, which
// is known last, so they are added up at the end.
func (f *File) write(all []layout) error {
	wide := false
	for {
		if err := f.build(all, wide); err != nil {
			return err
		}
		if wide || f.Size() <= math.MaxUint32 {
			break
		}
		wide = true
	}
	base := uint64(len(f.header))
	for i := range all {
		l := &all[i]
		for n := range l.chunks {
			if wide {
				p := f.header[l.offsetsAt+8*n:]
				binary.BigEndian.PutUint64(p, binary.BigEndian.Uint64(p)+base)
			} else {
				p := f.header[l.offsetsAt+4*n:]
				binary.BigEndian.PutUint32(p, binary.BigEndian.Uint32(p)+uint32(base))
			}
		}
	}
	return nil
}

// build writes ftyp, moov and the header of mdat.
func (f *File) build(all []layout, wide bool) error {
	size := 4096
	origin := int64(math.MaxInt64)
	for i := range all {
		size += all[i].size()
		origin = min(origin, all[i].origin())
	}
	b := bmff.AppendFtyp(make([]byte, 0, size), "isom", 512, "isom", "iso6", "mp41")
	b, moov := bmff.Start(b, "moov")
	longest, next := uint64(0), uint32(0)
	for i := range all {
		longest = max(longest, all[i].place(origin))
		next = max(next, uint32(all[i].track.ID))
	}
	b = bmff.AppendMvhd(b, longest, next+1)
	var err error
	for i := range all {
		if b, err = all[i].trak(b, wide); err != nil {
			return err
		}
	}
	b = bmff.End(b, moov)
	if f.data+8 <= math.MaxUint32 {
		b = bmff.U32(b, uint32(f.data+8))
		b = append(b, "mdat"...)
	} else {
		b = append(bmff.U32(b, 1), "mdat"...)
		b = bmff.U64(b, uint64(f.data+16))
	}
	f.header = b
	return nil
}
