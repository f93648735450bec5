// Package fragments is the video log: each stream's media as numbered fragments, oldest
// first, that never change.
//
// A Fragmenter cuts samples into fragments of whole GOPs and gives them server time. A
// Store keeps the fragments of all streams in chunks (docs/format/chunk.md), syncs them
// in groups, indexes them by time (docs/format/index.md), deletes what retention took
// and recovers what a crash left. A Log is one stream's door. What a stream is called,
// who sends it and who watches it live belongs to package streams.
//
// docs/design/fragments.md has the invariants and what a crash leaves at each step.
package fragments

import (
	"fmt"
	"strconv"
	"time"

	"penstock/internal/fault"
	"penstock/media"
)

// Number names a fragment within its stream: the server time of its start in µs since
// 1970, or the previous number plus one where the clock had not moved on. It strictly
// increases in a stream and is written in decimal. 0 is before every fragment.
type Number uint64

// String returns the number in decimal, as URLs have it.
func (n Number) String() string { return strconv.FormatUint(uint64(n), 10) }

// Time returns the server time that the number stands for.
func (n Number) Time() time.Time { return time.UnixMicro(int64(n)).UTC() }

// numberOf returns the number of a fragment that starts at t.
func numberOf(t time.Time) Number { return Number(max(t.UnixMicro(), 1)) }

// ParseNumber reads what String wrote. Anything else is fault.Invalid.
func ParseNumber(s string) (Number, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, fault.New(fault.Invalid, "read fragment number", fmt.Sprintf("%.40q", s), "it is not a positive decimal number")
	}
	return Number(n), nil
}

// Cause says why media is missing before a fragment. The numbers are stored; they are
// never reused.
type Cause uint8

// The causes.
const (
	CauseNone           Cause = 0  // nothing is missing
	CauseUnknown        Cause = 1  // nobody saw why
	CauseProducerEnded  Cause = 2  // the producer said goodbye
	CauseConnectionLost Cause = 3  // the connection broke, or went silent
	CauseUnreachable    Cause = 4  // the camera could not be reached
	CauseDenied         Cause = 5  // the camera refused user or password
	CauseServerStopped  Cause = 6  // this server was stopped in good order
	CauseServerCrashed  Cause = 7  // this server was killed, crashed, or lost power
	CauseStorageBehind  Cause = 8  // disk or object store did not take the media within the stall budget or the spool
	CauseDiskFull       Cause = 9  // no space was left
	CauseNoKeyFrame     Cause = 10 // the camera sent nothing that a decoder can start from
	CauseDamaged        Cause = 11 // it was stored and can no longer be read
	CauseTimestampJump  Cause = 12 // the camera's clock jumped
	CauseClockSet       Cause = 13 // this server's clock was set
	CauseSilent         Cause = 14 // the connection stayed, the camera sent nothing
	CausePacketsLost    Cause = 15 // media was lost on the way here
	CauseUnusable       Cause = 16 // the camera answers, with nothing that can be recorded
	CauseRefused        Cause = 17 // it came and could not be stored: malformed, too large, or the index could not be read
	CauseExpired        Cause = 18 // retention took it, and something older is kept; never stored
)

// String says the cause in words for a person.
func (c Cause) String() string {
	switch c {
	case CauseNone:
		return ""
	case CauseProducerEnded:
		return "the camera ended the stream"
	case CauseConnectionLost:
		return "the connection to the camera was lost"
	case CauseUnreachable:
		return "the camera could not be reached"
	case CauseDenied:
		return "the camera refused the user name or password"
	case CauseServerStopped:
		return "the server was stopped"
	case CauseServerCrashed:
		return "the server crashed or lost power"
	case CauseStorageBehind:
		return "storage did not keep up"
	case CauseDiskFull:
		return "the disk was full"
	case CauseNoKeyFrame:
		return "the camera sent no key frame"
	case CauseDamaged:
		return "the recording is damaged"
	case CauseTimestampJump:
		return "the camera's clock jumped"
	case CauseClockSet:
		return "the server's clock was set"
	case CauseSilent:
		return "the camera sent nothing"
	case CausePacketsLost:
		return "media was lost on the network"
	case CauseUnusable:
		return "the camera sent nothing that can be recorded"
	case CauseRefused:
		return "what came could not be stored"
	case CauseExpired:
		return "retention took it"
	}
	return "unknown"
}

// Head describes a fragment without its media.
type Head struct {
	Number   Number
	Start    time.Time // server clock, of the first sample; a multiple of 1 µs
	End      time.Time // server clock; the next fragment's Start unless media is missing between
	Producer time.Time // producer's clock at Start; zero: unknown
	Size     int64     // bytes of sample data
	Samples  int
	// Run changes with the codec configuration and where media time is not continuous: a
	// player needs a discontinuity there.
	Run       uint32
	Forced    bool   // does not begin with a sync sample
	Gap       Cause  // why media is missing before Start; CauseNone: none is known to be
	GapDetail string // more words, may be empty; at most MaxDetail bytes
	Persisted bool   // a crash can no longer lose it
}

// MaxDetail bounds Head.GapDetail in bytes; longer ones are cut.
const MaxDetail = 200

// Duration is the time on the server's clock that the fragment covers.
func (h Head) Duration() time.Duration { return h.End.Sub(h.Start) }

// Contains reports whether the fragment covers the instant t of the server clock.
func (h Head) Contains(t time.Time) bool { return !t.Before(h.Start) && t.Before(h.End) }

// Fragment is one or more whole GOPs of a session, playable alone. It is immutable once
// given to a Log; all who have it share it.
type Fragment struct {
	Head
	Tracks  []media.Track
	Samples []media.Sample // in order of arrival; each track's DTS rises and goes on through the run
	// Ends holds, for each of Tracks, the DTS at which its next sample would start.
	Ends []int64
	// Sizes holds the bytes of each of Samples where ReadIndex left Data nil; the samples'
	// bytes lie one after another in what OpenData reads. Nil otherwise.
	Sizes []uint32
}

// Reference returns the index in Tracks of the track that carries the time: the first
// video track, else the first track; -1 without tracks.
func (f *Fragment) Reference() int { return reference(f.Tracks) }

func reference(tracks []media.Track) int {
	for i, t := range tracks {
		if t.Codec != nil && t.Codec.Kind() == media.Video {
			return i
		}
	}
	return min(0, len(tracks)-1)
}

// Track returns the index in Tracks of the track with the given id, or -1.
func (f *Fragment) Track(id media.TrackID) int {
	for i, t := range f.Tracks {
		if t.ID == id {
			return i
		}
	}
	return -1
}

// span returns the reference track's first DTS and end in ticks.
func (f *Fragment) span() (ref int, first, end int64, ok bool) {
	ref = f.Reference()
	if ref < 0 || ref >= len(f.Ends) {
		return ref, 0, 0, false
	}
	for _, s := range f.Samples {
		if s.Track == f.Tracks[ref].ID {
			return ref, s.DTS, f.Ends[ref], f.Ends[ref] > s.DTS
		}
	}
	return ref, 0, 0, false
}

// ServerTime returns the instant on the server's clock at which a decode time of a track
// lies. Inside a fragment the two are linear: the reference track's first DTS is Start,
// its end is End; other tracks share its media time.
func (f *Fragment) ServerTime(track int, dts int64) time.Time {
	ref, first, end, ok := f.span()
	if !ok || track < 0 || track >= len(f.Tracks) {
		return f.Start
	}
	t := f.Tracks[ref]
	media, whole := f.Tracks[track].Duration(dts)-t.Duration(first), t.Duration(end)-t.Duration(first)
	return f.Start.Add(time.Duration(float64(media) / float64(whole) * float64(f.Duration())))
}

// At returns the index in Samples of the reference track's sample that is shown at the
// server time t, and false when the fragment does not cover t.
func (f *Fragment) At(t time.Time) (int, bool) {
	if !f.Contains(t) {
		return 0, false
	}
	ref := f.Reference()
	if ref < 0 {
		return 0, false
	}
	best, found := 0, false
	for i, s := range f.Samples {
		if s.Track != f.Tracks[ref].ID {
			continue
		}
		if found && f.ServerTime(ref, s.DTS).After(t) {
			break
		}
		best, found = i, true
	}
	return best, found
}
