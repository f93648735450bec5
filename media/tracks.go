package media

import (
	"encoding/binary"

	"penstock/internal/fault"
)

// Limits of UnmarshalTracks. A camera has two or three tracks.
const (
	TracksMax = 32
	// nameMax bounds a codec's name.
	nameMax = 16
	// tracksVersion is the first byte of what MarshalTracks writes.
	tracksVersion = 1
)

// EqualTracks reports whether a and b are the same tracks in the same order with the
// same codec configuration.
func EqualTracks(a, b []Track) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].ID != b[i].ID || a[i].Timescale != b[i].Timescale || !EqualCodecs(a[i].Codec, b[i].Codec) {
			return false
		}
	}
	return true
}

// FindTrack returns the track with the given id.
func FindTrack(tracks []Track, id TrackID) (Track, bool) {
	for _, t := range tracks {
		if t.ID == id {
			return t, true
		}
	}
	return Track{}, false
}

// MarshalTracks writes tracks as docs/format/tracks.md says. It is the reverse of
// UnmarshalTracks for valid tracks.
func MarshalTracks(tracks []Track) []byte {
	b := []byte{tracksVersion, byte(len(tracks))}
	for _, t := range tracks {
		name, private := t.Codec.Name(), t.Codec.Private()
		b = append(b, byte(t.ID))
		b = binary.BigEndian.AppendUint32(b, t.Timescale)
		b = append(b, byte(len(name)))
		b = append(b, name...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(private)))
		b = append(b, private...)
	}
	return b
}

// UnmarshalTracks reads what MarshalTracks wrote; it keeps nothing of b. fault.Invalid:
// b is not that, or goes on behind it.
func UnmarshalTracks(b []byte) ([]Track, error) {
	bad := func(why string) ([]Track, error) {
		return nil, fault.New(fault.Invalid, "read tracks", "", why)
	}
	if len(b) < 2 || b[0] != tracksVersion {
		return bad("not version 1 of the record")
	}
	if b[1] > TracksMax {
		return bad("more tracks than any camera has")
	}
	tracks := make([]Track, b[1])
	b = b[2:]
	for i := range tracks {
		if len(b) < 6 || b[5] > nameMax || len(b) < 6+int(b[5])+4 {
			return bad("record is cut off")
		}
		t := Track{ID: TrackID(b[0]), Timescale: binary.BigEndian.Uint32(b[1:])}
		name, rest := string(b[6:6+b[5]]), b[6+b[5]:]
		n := binary.BigEndian.Uint32(rest)
		if rest = rest[4:]; uint64(n) > uint64(len(rest)) {
			return bad("record is cut off")
		}
		if _, twice := FindTrack(tracks[:i], t.ID); twice || t.ID == 0 || t.Timescale == 0 {
			return bad("track has no time scale, or an id that is not its own")
		}
		var err error
		if t.Codec, err = ParseCodec(name, rest[:n]); err != nil {
			return nil, err
		}
		tracks[i], b = t, rest[n:]
	}
	if len(b) > 0 {
		return bad("record goes on behind its end")
	}
	return tracks, nil
}
