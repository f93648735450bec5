package bmff

import "penstock/media"

// MovieTimescale is that of mvhd, tkhd and elst: that of video, so that edits of video
// are exact.
const MovieTimescale = 90000

// Edit is one entry of an edit list (§8.6.6).
type Edit struct {
	Duration  uint64 // in MovieTimescale; 0 in a fragmented file: to the end
	MediaTime int64  // in the track's time scale; -1: nothing is shown
}

// Trak is what a track box holds.
type Trak struct {
	Track         media.Track
	Duration      uint64 // with its edits, in MovieTimescale; 0 in a fragmented file
	MediaDuration uint64 // in the track's time scale
	Edits         []Edit
	// Tables appends the sample tables behind stsd; nil: empty ones.
	Tables func(b []byte) []byte
}

// appendMatrix appends the transformation that leaves a picture as it is.
func appendMatrix(b []byte) []byte {
	for _, v := range [9]uint32{0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000} {
		b = U32(b, v)
	}
	return b
}

// AppendMvhd appends the movie header (§8.2.2).
func AppendMvhd(b []byte, duration uint64, nextTrack uint32) []byte {
	b, at := StartFull(b, "mvhd", 1, 0)
	b = U64(U64(b, 0), 0) // no creation and modification time: the same media, the same bytes
	b = U64(U32(b, MovieTimescale), duration)
	b = U16(U32(b, 0x10000), 0x100) // rate and volume 1
	b = appendMatrix(Zeros(b, 10))
	b = U32(Zeros(b, 24), nextTrack)
	return End(b, at)
}

// AppendTrak appends a track (§8.3). It fails for a codec that MP4 does not carry.
func AppendTrak(b []byte, t Trak) ([]byte, error) {
	video := t.Track.Codec.Kind() == media.Video
	b, trak := Start(b, "trak")
	b = tkhd(b, t, video)
	if len(t.Edits) > 0 {
		b = edts(b, t.Edits)
	}
	b, mdia := Start(b, "mdia")
	b, at := StartFull(b, "mdhd", 1, 0)
	b = U64(U64(b, 0), 0)
	b = U64(U32(b, t.Track.Timescale), t.MediaDuration)
	b = End(U16(U16(b, 0x55c4), 0), at) // language "und"
	b = hdlr(b, video)
	b, minf := Start(b, "minf")
	if video {
		b, at = StartFull(b, "vmhd", 0, 1)
		b = End(Zeros(b, 8), at)
	} else {
		b, at = StartFull(b, "smhd", 0, 0)
		b = End(Zeros(b, 4), at)
	}
	b, dinf := Start(b, "dinf")
	b, dref := StartFull(b, "dref", 0, 0)
	b, at = StartFull(U32(b, 1), "url ", 0, 1) // media is in this file
	b = End(End(End(b, at), dref), dinf)
	b, stbl := Start(b, "stbl")
	b, stsd := StartFull(b, "stsd", 0, 0)
	b, err := appendEntry(U32(b, 1), t.Track.Codec)
	if err != nil {
		return b, err
	}
	b = End(b, stsd)
	if t.Tables != nil {
		b = t.Tables(b)
	} else {
		b = emptyTables(b)
	}
	return End(End(End(End(b, stbl), minf), mdia), trak), nil
}

func tkhd(b []byte, t Trak, video bool) []byte {
	b, at := StartFull(b, "tkhd", 1, 3) // enabled, in movie
	b = U64(U64(b, 0), 0)
	b = U32(U32(b, uint32(t.Track.ID)), 0)
	b = Zeros(U64(b, t.Duration), 8)
	if video {
		b = Zeros(b, 8) // layer, group, volume
	} else {
		b = U16(U16(b, 0), 1) // players choose one sound track of the group
		b = U16(U16(b, 0x100), 0)
	}
	b = appendMatrix(b)
	if p, ok := t.Track.Codec.(media.Picture); ok {
		b = U32(U32(b, uint32(p.Width())<<16), uint32(p.Height())<<16)
	} else {
		b = U64(b, 0)
	}
	return End(b, at)
}

func edts(b []byte, edits []Edit) []byte {
	b, at := Start(b, "edts")
	b, elst := StartFull(b, "elst", 1, 0)
	b = U32(b, uint32(len(edits)))
	for _, e := range edits {
		b = U32(U64(U64(b, e.Duration), uint64(e.MediaTime)), 0x10000)
	}
	return End(End(b, elst), at)
}

func hdlr(b []byte, video bool) []byte {
	kind, name := "soun", "sound"
	if video {
		kind, name = "vide", "video"
	}
	b, at := StartFull(b, "hdlr", 0, 0)
	b = append(U32(b, 0), kind...)
	b = append(Zeros(b, 12), name...)
	return End(append(b, 0), at)
}

// emptyTables are the sample tables of a fragmented file.
func emptyTables(b []byte) []byte {
	for _, kind := range []string{"stts", "stsc", "stsz", "stco"} {
		var at int
		b, at = StartFull(b, kind, 0, 0)
		b = U32(b, 0)
		if kind == "stsz" {
			b = U32(b, 0)
		}
		b = End(b, at)
	}
	return b
}
