// Package export hands out single fragments: the list of them, and each one as an
// MP4, a bare CMAF segment, Matroska or MPEG-TS, made from its samples without
// decoding.
//
// Routes, relative to /v1/streams/{name}/: fragments (ServeList), fragments/{file}
// (ServeFragment).
package export

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/media"
	"penstock/playback"
	"penstock/streams"
)

const (
	// listSpan is the window of a list that names no start.
	listSpan = time.Hour
	// pageUsual and pageMax bound one page of the list.
	pageUsual = 1000
	pageMax   = 10_000
)

// Config is what a Server needs. Hub is required; the rest has defaults.
type Config struct {
	Hub     *streams.Hub
	Clock   host.Clock        // nil: the machine's
	Logger  *slog.Logger      // nil: discards
	Metrics *playback.Metrics // nil: counted unseen
	// Window is the longest window of a list. 0: ten years.
	Window time.Duration
}

// Server serves fragments. Its methods may be called at once.
type Server struct{ c Config }

// New checks c.
func New(c Config) (*Server, error) {
	if c.Hub == nil {
		return nil, fault.New(fault.Invalid, "configure export", "", "Hub is missing")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Metrics = cmp.Or(c.Metrics, playback.NewMetrics(nil))
	if c.Window <= 0 {
		c.Window = streams.RetentionMax
	}
	return &Server{c: c}, nil
}

// item is a fragment's head in the list.
type item struct {
	Number    fragments.Number `json:"number"`
	Start     string           `json:"start"`
	End       string           `json:"end"`
	Producer  string           `json:"producer,omitempty"`
	Duration  float64          `json:"duration"` // seconds
	Bytes     int64            `json:"bytes"`
	Samples   int              `json:"samples"`
	Run       uint32           `json:"run"`
	Tracks    []track          `json:"tracks,omitempty"`
	Forced    bool             `json:"forced,omitempty"`
	Gap       string           `json:"gap,omitempty"`
	GapDetail string           `json:"gap_detail,omitempty"`
	Persisted bool             `json:"persisted"`
}

type track struct {
	ID    media.TrackID `json:"id"`
	Kind  string        `json:"kind"`
	Codec string        `json:"codec"`
	MIME  string        `json:"mime"`
}

// timeStyle is RFC 3339 with microseconds, the resolution of fragment numbers.
const timeStyle = "2006-01-02T15:04:05.000000Z"

// ServeList answers GET fragments?start&end&clock&limit&next: the heads of the fragments
// that overlap [start, end) by that clock, in the order in which they came, a page at a
// time. next is a fragment number: the page begins after it.
func (s *Server) ServeList(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	start, end, err := playback.Window(r, s.c.Clock.Now(), listSpan, s.c.Window)
	if err != nil {
		return err
	}
	limit, after, err := page(r)
	if err != nil {
		return err
	}
	clock, err := playback.Clock(w, r)
	if err != nil {
		return err
	}
	log := s.c.Hub.Log(st)
	answer := struct {
		Clock     string `json:"clock"`
		Fragments []item `json:"fragments"`
		Next      string `json:"next,omitempty"`
	}{Clock: w.Header().Get(playback.ClockHeader), Fragments: []item{}}
	var prev fragments.Head
	var tracks []track
	for h, err := range log.SelectBy(r.Context(), clock, fragments.Range{Start: start, End: end, After: after, Limit: limit + 1}) {
		if err != nil {
			return err
		}
		if len(answer.Fragments) == limit {
			answer.Next = prev.Number.String()
			break
		}
		if len(answer.Fragments) == 0 || h.Run != prev.Run {
			tracks = nil
			// Tracks are the same through a run. A damaged fragment has none to show.
			if f, err := log.ReadIndex(r.Context(), h.Number); err == nil {
				tracks = describe(f.Tracks)
			} else if r.Context().Err() != nil {
				return err
			}
		}
		answer.Fragments = append(answer.Fragments, newItem(h, tracks))
		prev = h
	}
	s.c.Metrics.Requests.WithLabelValues("list").Inc()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.c.Logger.Debug("list cut short", "stream", st.Name, "err", err)
	}
	return nil
}

func page(r *http.Request) (limit int, after fragments.Number, err error) {
	limit = pageUsual
	if v := r.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > pageMax {
			return 0, 0, fault.New(fault.Invalid, "read limit", "", "not a number from 1 to "+strconv.Itoa(pageMax))
		}
		limit = n
	}
	if v := r.URL.Query().Get("next"); v != "" {
		if after, err = fragments.ParseNumber(v); err != nil {
			return 0, 0, err
		}
	}
	return limit, after, nil
}

func newItem(h fragments.Head, tracks []track) item {
	it := item{Number: h.Number, Start: h.Start.UTC().Format(timeStyle), End: h.End.UTC().Format(timeStyle),
		Duration: h.Duration().Seconds(), Bytes: h.Size, Samples: h.Samples, Run: h.Run, Tracks: tracks,
		Forced: h.Forced, Gap: h.Gap.String(), GapDetail: h.GapDetail, Persisted: h.Persisted}
	if !h.Producer.IsZero() {
		it.Producer = h.Producer.UTC().Format(timeStyle)
	}
	return it
}

func describe(tracks []media.Track) []track {
	out := make([]track, len(tracks))
	for i, t := range tracks {
		out[i] = track{ID: t.ID, Kind: t.Codec.Kind().String(), Codec: t.Codec.Name(), MIME: t.Codec.MIME()}
	}
	return out
}
