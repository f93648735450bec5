package export

import (
	"bytes"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/media/fmp4"
	"penstock/media/mkv"
	"penstock/media/mpegts"
	"penstock/playback"
	"penstock/streams"
)

// sendTimeout is what a client has to take one fragment.
const sendTimeout = 2 * time.Minute

// format is one way to write a fragment.
type format struct {
	contentType string
	write       func(f *fragments.Fragment) ([]byte, error)
}

// formatOf takes a file name apart. MP4 has the tracks that browsers play, the others
// all that they carry as it was sent.
func formatOf(file string, r *http.Request) (number string, f format, ok bool) {
	end := path.Ext(file)
	number = strings.TrimSuffix(file, end)
	if n, found := strings.CutPrefix(number, "init-"); found {
		return n, format{"video/mp4", writeInit}, end == ".mp4"
	}
	switch end {
	case ".mp4":
		if r.URL.Query().Get("init") == "0" {
			return number, format{"video/mp4", writeMedia}, true
		}
		return number, format{"video/mp4", writeMP4}, true
	case ".m4s":
		return number, format{"video/mp4", writeMedia}, true
	case ".mkv":
		return number, format{"video/x-matroska", writeMKV}, true
	case ".ts":
		return number, format{"video/mp2t", writeTS}, true
	}
	return number, f, false
}

// ServeFragment answers GET fragments/{file}, where file is one of {number}.mp4 (playable
// alone; ?init=0 leaves the initialization out), {number}.m4s (media only),
// init-{number}.mp4 (the initialization section of that fragment's run), {number}.mkv and
// {number}.ts. Byte ranges are honoured. A fragment never changes, so neither does its
// answer. fault.NotFound: no such fragment; fault.Expired: retention took it.
func (s *Server) ServeFragment(w http.ResponseWriter, r *http.Request, st streams.Stream, file string) error {
	text, form, ok := formatOf(file, r)
	if !ok {
		return fault.New(fault.NotFound, "find fragment", strconv.Quote(path.Base(file)), "no such file").
			WithHint("fragments end in .mp4, .m4s, .mkv or .ts")
	}
	number, err := fragments.ParseNumber(text)
	if err != nil {
		return err
	}
	f, err := s.c.Hub.Log(st).Read(r.Context(), number)
	if err != nil {
		return err
	}
	data, err := form.write(f)
	if err != nil {
		return err
	}
	s.c.Metrics.Requests.WithLabelValues("fragment").Inc()
	s.sendImmutable(w, r, f, file+"-"+r.URL.Query().Get("init"), form.contentType, data)
	return nil
}

// sendImmutable answers with what never changes, made of f.
func (s *Server) sendImmutable(w http.ResponseWriter, r *http.Request, f *fragments.Fragment, name, contentType string, data []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("ETag", `"`+name+`"`)
	h.Set("Cache-Control", "private, max-age=86400, immutable")
	h.Set("X-Penstock-Start", f.Start.UTC().Format(timeStyle))
	h.Set("X-Penstock-End", f.End.UTC().Format(timeStyle))
	// A server without deadlines (a test's recorder) sends without one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func writeInit(f *fragments.Fragment) ([]byte, error) {
	tracks, err := playback.RequirePlayable("write fragment "+f.Number.String(), f.Tracks)
	if err != nil {
		return nil, err
	}
	return fmp4.Init(tracks)
}

func writeMedia(f *fragments.Fragment) ([]byte, error) {
	tracks, err := playback.RequirePlayable("write fragment "+f.Number.String(), f.Tracks)
	if err != nil {
		return nil, err
	}
	return playback.Segment(f, tracks)
}

// writeMP4 writes what writeInit and writeMedia do.
func writeMP4(f *fragments.Fragment) ([]byte, error) {
	init, err := writeInit(f)
	if err != nil {
		return nil, err
	}
	part, err := writeMedia(f)
	if err != nil {
		return nil, err
	}
	return append(init, part...), nil
}

// writeMKV writes all tracks; times begin at 0.
func writeMKV(f *fragments.Fragment) ([]byte, error) {
	b, err := mkv.AppendHeader(make([]byte, 0, f.Size+f.Size/16+4096), f.Tracks)
	if err != nil {
		return nil, err
	}
	zero := time.Duration(math.MaxInt64)
	for _, s := range f.Samples {
		if i := f.Track(s.Track); i >= 0 {
			zero = min(zero, f.Tracks[i].Duration(s.DTS+int64(s.CTO)))
		}
	}
	return mkv.AppendCluster(b, f.Tracks, f.Samples, -zero)
}

// writeTS writes the tracks that MPEG-TS carries.
func writeTS(f *fragments.Fragment) ([]byte, error) {
	tracks := carried(f.Tracks, "mjpeg", "pcma", "pcmu", "av1")
	if len(tracks) == 0 {
		return nil, fault.New(fault.Unavailable, "write fragment", f.Number.String(), "MPEG-TS does not carry "+playback.Codecs(f.Tracks)).
			WithHint("ask for .mp4 or .mkv")
	}
	var b bytes.Buffer
	b.Grow(int(f.Size + f.Size/8))
	w, err := mpegts.NewWriter(&b, tracks)
	if err != nil {
		return nil, err
	}
	for _, s := range f.Samples {
		if err := w.Write(s); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// carried returns tracks without those of the codecs that a container does not know.
func carried(tracks []media.Track, not ...string) []media.Track {
	keep := make([]media.Track, 0, len(tracks))
next:
	for _, t := range tracks {
		for _, name := range not {
			if t.Codec.Name() == name {
				continue next
			}
		}
		keep = append(keep, t)
	}
	return keep
}
