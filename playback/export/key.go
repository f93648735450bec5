package export

import (
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/fmp4"
	"penstock/playback"
	"penstock/streams"
)

// keyLongest bounds how long a playlist shows one key frame: no window is longer.
const keyLongest = streams.RetentionMax

// ParseKey takes the name of a key frame's file apart: init-{number}.mp4, or
// {number}-{ms}.m4s, where ms is for how long the key frame is shown. shown is 0 for the
// former. fault.NotFound: it is no such name.
func ParseKey(file string) (n fragments.Number, shown time.Duration, err error) {
	none := fault.New(fault.NotFound, "find key frame", strconv.Quote(path.Base(file)), "no such file").
		WithHint("iframes.m3u8 names them")
	if text, ok := strings.CutPrefix(file, "init-"); ok {
		if text, ok = strings.CutSuffix(text, ".mp4"); !ok {
			return 0, 0, none
		}
		n, err = fragments.ParseNumber(text)
		return n, 0, err
	}
	text, ok := strings.CutSuffix(file, ".m4s")
	first, second, both := strings.Cut(text, "-")
	ms, msErr := strconv.ParseUint(second, 10, 63)
	if !ok || !both || msErr != nil || ms == 0 || ms > uint64(keyLongest/time.Millisecond) {
		return 0, 0, none
	}
	n, err = fragments.ParseNumber(first)
	return n, time.Duration(ms) * time.Millisecond, err
}

// ServeKey answers GET keys/{file}, which an I-frame playlist names: the first key frame
// of a fragment alone, shown for as long as the name says, or the initialization section
// that goes with it, which has the video track only. Neither ever changes. fault.NotFound:
// no such fragment, or no key frame is in it; fault.Expired: retention took it;
// fault.Invalid: no browser shows its pictures.
func (s *Server) ServeKey(w http.ResponseWriter, r *http.Request, st streams.Stream, file string) error {
	number, shown, err := ParseKey(file)
	if err != nil {
		return err
	}
	f, err := s.c.Hub.Log(st).Read(r.Context(), number)
	if err != nil {
		return err
	}
	data, err := keyOf(f, shown)
	if err != nil {
		return err
	}
	s.c.Metrics.Requests.WithLabelValues("key").Inc()
	s.sendImmutable(w, r, f, file, "video/mp4", data)
	return nil
}

// keyOf writes the initialization section, or the key frame when it is to be shown.
func keyOf(f *fragments.Fragment, shown time.Duration) ([]byte, error) {
	track, err := playback.KeyTrack(f.Tracks)
	if err != nil {
		return nil, err
	}
	tracks := []media.Track{track}
	if shown == 0 {
		return fmp4.Init(tracks)
	}
	i := slices.IndexFunc(f.Samples, func(s media.Sample) bool { return s.Track == track.ID && s.Sync })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "find key frame of", f.Number.String(), "the fragment has none")
	}
	end := f.Samples[i].DTS + max(1, track.Ticks(shown))
	return fmp4.Part(uint32(f.Number/1_000_000), tracks, f.Samples[i:i+1], []int64{end})
}
