package playback

import (
	"context"
	"strings"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/flac"
	"penstock/media/fmp4"
)

// Playable returns the tracks that browsers play out of MP4, in their order: H.264, H.265,
// AV1, AAC and Opus as they are, and G.711 as the FLAC that Sound makes of it. Motion JPEG
// is left to the other outputs.
func Playable(tracks []media.Track) []media.Track {
	keep := make([]media.Track, 0, len(tracks))
	for _, t := range tracks {
		if c, ok := flac.NewCoder(t); ok {
			keep = append(keep, c.Track())
			continue
		}
		switch t.Codec.Name() {
		case "h264", "h265", "av1", "aac", "opus":
			keep = append(keep, t)
		}
	}
	return keep
}

// RequirePlayable is Playable that refuses, in words, tracks of which none can be played.
func RequirePlayable(op string, tracks []media.Track) ([]media.Track, error) {
	keep := Playable(tracks)
	if len(keep) > 0 {
		return keep, nil
	}
	return nil, fault.New(fault.Invalid, op, "", "no browser plays "+Codecs(tracks)).
		WithHint("set the camera to H.264 or H.265, or use the .mkv of a fragment")
}

// KeyTrack returns the video track of which there are key frames for browsers.
// fault.Invalid: there is none.
func KeyTrack(tracks []media.Track) (media.Track, error) {
	for _, t := range Playable(tracks) {
		if t.Codec.Kind() == media.Video {
			return t, nil
		}
	}
	return media.Track{}, fault.New(fault.Invalid, "find key frames", "", "no browser shows pictures of "+Codecs(tracks)).
		WithHint("set the camera to H.264 or H.265, or use still.jpg")
}

// Codecs names the codecs of tracks for a person: "h264 and pcmu".
func Codecs(tracks []media.Track) string {
	names := make([]string, len(tracks))
	for i, t := range tracks {
		names[i] = t.Codec.Name()
	}
	if len(names) == 0 {
		return "no track"
	}
	return strings.Join(names, " and ")
}

// MIME is the RFC 6381 type of a fragmented MP4 with those tracks.
func MIME(tracks []media.Track) string {
	codecs, kind := make([]string, len(tracks)), "audio/mp4"
	for i, t := range tracks {
		codecs[i] = t.Codec.MIME()
		if t.Codec.Kind() == media.Video {
			kind = "video/mp4"
		}
	}
	return kind + `; codecs="` + strings.Join(codecs, ",") + `"`
}

// Lead is the index of the track that times a fragment: the first video track, else
// the first; -1 without tracks.
func Lead(tracks []media.Track) int {
	for i, t := range tracks {
		if t.Codec.Kind() == media.Video {
			return i
		}
	}
	return min(len(tracks), 1) - 1
}

// Segment writes f as one movie fragment of tracks, which are some of its Playable ones.
// Samples of other tracks are left out.
func Segment(f *fragments.Fragment, tracks []media.Track) ([]byte, error) {
	ends := make([]int64, len(tracks))
	for i, t := range tracks {
		ends[i] = f.Ends[f.Track(t.ID)]
	}
	return fmp4.Part(uint32(f.Number/1_000_000), tracks, NewSound(f.Tracks).Samples(f.Samples), ends)
}

// Breaks reports whether a player needs a discontinuity between two fragments that
// follow each other in the log.
func Breaks(a, b fragments.Head) bool { return a.Run != b.Run || b.Gap != fragments.CauseNone }

// BreaksBy reports whether a player needs a discontinuity between two fragments of an answer
// to a question by a clock: by the producer's there may be others between them in the log.
func BreaksBy(a, b fragments.Head, c fragments.Clock) bool {
	return Breaks(a, b) || c == fragments.ProducerClock && !a.End.Equal(b.Start)
}

// How Before looks: close by first, since media is there as a rule; then in the few
// stretches of media before at that the timeline names.
const (
	closeBy       = 15 * time.Second
	stretchesBack = 8
)

// Before returns the newest fragment of log that starts at or before at. It reads a few
// heads and, where at lies in a gap, the timeline: what is stored makes it no slower.
// With nothing that old it is fault.NotFound.
func Before(ctx context.Context, log *fragments.Log, at time.Time) (fragments.Head, error) {
	nothing := fault.New(fault.NotFound, "find media", "", "nothing is recorded at or before that time").
		WithHint("the timeline shows what there is")
	first, ok := log.First(ctx)
	if !ok || first.Start.After(at) {
		return fragments.Head{}, nothing
	}
	if last, ok := log.Last(ctx); ok && at.After(last.End) {
		at = last.End
	}
	if h, err := newest(ctx, log, at.Add(-closeBy), at); err != nil || h.Number != 0 {
		return h, err
	}
	line, err := log.Coverage(ctx, first.Start, at.Add(time.Microsecond), 0)
	if err != nil {
		return fragments.Head{}, err
	}
	spans := line.Spans[max(0, len(line.Spans)-stretchesBack):]
	for i := len(spans) - 1; i >= 0; i-- {
		if h, err := newest(ctx, log, spans[i].End.Add(-closeBy), at); err != nil || h.Number != 0 {
			return h, err
		}
	}
	return fragments.Head{}, nothing
}

// AtProducer returns the fragment in which the producer's clock said at, else the one in which it
// said the closest before it, not long before; of several the newest. fault.NotFound: there
// is none.
func AtProducer(ctx context.Context, log *fragments.Log, at time.Time) (found fragments.Head, err error) {
	for h, err := range log.SelectBy(ctx, fragments.ProducerClock, fragments.Range{Start: at.Add(-closeBy), End: at.Add(time.Microsecond)}) {
		if err != nil {
			return found, err
		}
		if !h.Producer.After(at) && !earlier(h, found, at) {
			found = h
		}
	}
	if found.Number == 0 {
		err = fault.New(fault.NotFound, "find media", "", "nothing is recorded at that time by the producer's clock").
			WithHint("timeline?clock=producer shows what there is")
	}
	return found, err
}

// earlier reports whether a says less of the instant at than b.
func earlier(a, b fragments.Head, at time.Time) bool {
	if in := a.ProducerEnd().After(at); b.Number == 0 || in {
		return false
	}
	return b.ProducerEnd().After(at) || a.Producer.Before(b.Producer)
}

// newest returns the last fragment that overlaps [from, at] and starts at or before at;
// its Number is 0 when there is none.
func newest(ctx context.Context, log *fragments.Log, from, at time.Time) (found fragments.Head, err error) {
	for h, err := range log.Select(ctx, fragments.Range{Start: from, End: at.Add(time.Microsecond)}) {
		if err != nil {
			return fragments.Head{}, err
		}
		if !h.Start.After(at) {
			found = h
		}
	}
	return found, nil
}
