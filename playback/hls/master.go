package hls

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/playback"
	"penstock/streams"
)

// masterHeads is how many fragments are looked at for the bandwidth that a master
// playlist must say.
const masterHeads = 64

// ServeMaster answers GET master.m3u8: a master playlist (RFC 8216 §4.3.4) that offers the
// stream and its key frames, so that players can scrub. With start and end both are of
// that window, else live, as far back as dvr says.
func (s *Server) ServeMaster(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	if err := onlyServer(w, r); err != nil {
		return err
	}
	q, live := url.Values{}, true
	log := s.c.Hub.Log(st)
	from := time.Time{}
	if v := r.URL.Query(); v.Has("start") || v.Has("end") {
		start, end, err := playback.Window(r, s.c.Clock.Now(), vodSpan, s.c.Window)
		if err != nil {
			return err
		}
		q.Set("start", strconv.FormatInt(start.UnixMicro(), 10))
		q.Set("end", strconv.FormatInt(end.UnixMicro(), 10))
		live, from = false, start
	} else if _, err := parsePast(r); err != nil {
		return err
	} else if dvr := v.Get("dvr"); dvr != "" {
		q.Set("dvr", dvr)
	}
	m, err := s.variant(r.Context(), log, st, from)
	if err != nil {
		return err
	}
	if t := r.URL.Query().Get("token"); playback.Token(r) != "" {
		q.Set("token", t)
	}
	list := "live.m3u8"
	if !live {
		list = "vod.m3u8"
	}
	s.c.Metrics.Requests.WithLabelValues("master").Inc()
	return send(w, r, typePlaylist, "no-store", m.render(list, q.Encode()))
}

// variant is what a master playlist says of a stream.
type variant struct {
	bandwidth, keys int64 // bits/s at most, with sound; of the key frames alone
	codecs, video   string
	width, height   int
	rate            float64
}

// variant looks at the fragments from an instant on; zero: at the newest.
func (s *Server) variant(ctx context.Context, log *fragments.Log, st streams.Stream, from time.Time) (v variant, err error) {
	if from.IsZero() {
		last, ok := log.Last(ctx)
		if !ok {
			return v, fault.New(fault.Unavailable, "play", st.Name, "nothing is recorded yet").WithAfter(askAgain).
				WithHint("live.m3u8 waits for a first picture")
		}
		from = last.Start.Add(-time.Minute)
	}
	number := fragments.Number(0)
	for h, err := range log.Select(ctx, fragments.Range{Start: from, Limit: masterHeads}) {
		if err != nil {
			return v, err
		}
		number = h.Number
		if d := h.Duration().Seconds(); d > 0 {
			v.bandwidth = max(v.bandwidth, int64(float64(h.Size)*8/d*overhead))
		}
	}
	if number == 0 {
		return v, nothingThere(st)
	}
	f, err := log.ReadIndex(ctx, number)
	if err != nil {
		return v, err
	}
	track, err := playback.KeyTrack(f.Tracks)
	if err != nil {
		return v, err
	}
	return v.describe(f, track), nil
}

// overhead is what containers add to media, at most: small packets of sound have the most.
const overhead = 1.1

// describe says what f, read without media, shows of its stream.
func (v variant) describe(f *fragments.Fragment, track media.Track) variant {
	for i, t := range playback.Playable(f.Tracks) {
		if i > 0 {
			v.codecs += ","
		}
		v.codecs += t.Codec.MIME()
	}
	v.video = track.Codec.MIME()
	if p, ok := track.Codec.(media.Picture); ok {
		v.width, v.height, v.rate = p.Width(), p.Height(), p.FrameRate()
	}
	for i, s := range f.Samples {
		if s.Track == track.ID && s.Sync && i < len(f.Sizes) {
			v.keys = max(v.keys, int64(float64(f.Sizes[i])*8/max(f.Duration().Seconds(), 0.1)*overhead))
		}
	}
	v.bandwidth, v.keys = max(v.bandwidth, 1), max(v.keys, 1)
	return v
}

func (v variant) render(list, query string) []byte {
	if query != "" {
		query = "?" + query
	}
	picture := ""
	if v.width > 0 && v.height > 0 {
		picture = ",RESOLUTION=" + strconv.Itoa(v.width) + "x" + strconv.Itoa(v.height)
	}
	rate := ""
	if v.rate > 0 && !math.IsInf(v.rate, 0) {
		rate = ",FRAME-RATE=" + strconv.FormatFloat(v.rate, 'f', 3, 64)
	}
	b := []byte("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=")
	b = strconv.AppendInt(b, v.bandwidth, 10)
	b = append(b, `,CODECS="`+v.codecs+`"`+picture+rate+"\n"+list+query+"\n#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH="...)
	b = strconv.AppendInt(b, v.keys, 10)
	return append(b, `,CODECS="`+v.video+`"`+picture+`,URI="iframes.m3u8`+query+"\"\n"...)
}
