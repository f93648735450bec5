// Package media describes what a camera sends, apart from how it came or where it
// goes: codecs, tracks, samples. It is pure: no I/O, no clock.
//
// Containers live in its sub-packages; transports and storage are other floors'.
// Terms follow ISO/IEC 14496-12.
package media

import "time"

// TrackID names a track within a session, from 1.
type TrackID uint8

// Kind tells pictures from sound.
type Kind uint8

// The kinds of tracks.
const (
	Video Kind = iota + 1
	Audio
)

// String returns "video" or "audio".
func (k Kind) String() string {
	switch k {
	case Video:
		return "video"
	case Audio:
		return "audio"
	}
	return "unknown"
}

// Codec is one elementary stream format with its configuration. Implementations
// are immutable once handed on and may be shared.
type Codec interface {
	// Name is stable and stored: "h264", "h265", "av1", "mjpeg", "aac", "opus", "pcma", "pcmu";
	// "flac" is never stored.
	Name() string
	Kind() Kind
	// MIME is the RFC 6381 codecs parameter, "avc1.64001f".
	MIME() string
	// Private is the configuration record of the codec's own mapping: avcC, hvcC, av1C,
	// AudioSpecificConfig, OpusHead. ParseCodec reads it back, but for FLAC.
	Private() []byte
}

// Track is one elementary stream of a session.
type Track struct {
	ID        TrackID
	Timescale uint32 // ticks per second; never 0
	Codec     Codec
}

// Ticks converts d to ticks, rounded to the nearest.
func (t Track) Ticks(d time.Duration) int64 {
	return scale(int64(d), int64(t.Timescale), int64(time.Second))
}

// Duration converts ticks to a duration, rounded to the nearest nanosecond.
func (t Track) Duration(ticks int64) time.Duration {
	return time.Duration(scale(ticks, int64(time.Second), int64(t.Timescale)))
}

// scale returns v*num/den, rounded, without overflow for any v whose result fits.
func scale(v, num, den int64) int64 {
	if den == 0 {
		return 0
	}
	whole, rest := v/den, v%den
	half := den / 2
	if rest < 0 {
		half = -half
	}
	return whole*num + (rest*num+half)/den
}

// Sample is one access unit: all of one track's data for one instant.
type Sample struct {
	Track TrackID
	DTS   int64     // decode time, in ticks of the track's Timescale
	CTO   int32     // composition offset, ticks; PTS = DTS + CTO
	Sync  bool      // a decoder can start here: IDR, IRAP, any audio frame
	Wall  time.Time // producer's clock; zero if it sent none
	Data  []byte    // H.264, H.265: NAL units with 4-byte length prefixes; read-only once handed on
}
