// Package fmp4 writes fragmented MP4 (ISO/IEC 14496-12 §8.8), the form in which media
// source extensions, HLS and DASH take media: an initialization section with the codec
// configuration and media parts that hold samples.
//
// The part writer is the hot path of live viewing: it computes sizes first, appends to
// memory of the caller and allocates nothing of its own. H.264, H.265, AV1, AAC, Opus,
// FLAC and G.711 are carried; Motion JPEG is not.
package fmp4

import (
	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/internal/bmff"
)

// Init returns the initialization section (ftyp, moov) of tracks. The same tracks give
// the same bytes. fault.Unavailable: a codec that MP4 does not carry; fault.Invalid: a
// codec without its configuration, or no tracks.
func Init(tracks []media.Track) ([]byte, error) {
	if len(tracks) == 0 {
		return nil, fault.New(fault.Invalid, "write initialization section", "", "no tracks")
	}
	b := bmff.AppendFtyp(make([]byte, 0, 2048), "iso6", 512, "iso6", "mp41", "cmfc", "dash")
	b, moov := bmff.Start(b, "moov")
	next := uint32(0)
	for _, t := range tracks {
		next = max(next, uint32(t.ID))
	}
	b = bmff.AppendMvhd(b, 0, next+1)
	var err error
	for _, t := range tracks {
		if b, err = bmff.AppendTrak(b, bmff.Trak{Track: t}); err != nil {
			return nil, err
		}
	}
	b, mvex := bmff.Start(b, "mvex")
	for _, t := range tracks {
		var at int
		b, at = bmff.StartFull(b, "trex", 0, 0)
		b = bmff.U32(bmff.U32(b, uint32(t.ID)), 1) // sample description
		b = bmff.End(bmff.Zeros(b, 12), at)        // parts say the rest themselves
	}
	return bmff.End(bmff.End(b, mvex), moov), nil
}
