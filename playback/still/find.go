package still

import (
	"context"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/playback"
	"penstock/streams"
)

// frame is the wanted frame and all that it takes to decode it.
type frame struct {
	track   media.Track
	samples []media.Sample // in decode order, from a sync sample; the wanted one is shown at pts
	pts     int64
	at      time.Time // server time of the wanted frame
	said    time.Time // the producer's clock then; zero: unknown
	key     bool
}

// clipMax is how many samples one decoding may take: ten seconds at 120 frames/s.
const clipMax = 1200

// onServer makes a question by the producer's clock one by the server's. Only what is
// recorded is found by it; the fragment that is open is not.
func (s *Server) onServer(ctx context.Context, st streams.Stream, q question) (question, error) {
	if q.clock == fragments.ServerClock || q.at.IsZero() {
		return q, nil
	}
	h, err := playback.AtProducer(ctx, s.c.Hub.Log(st), q.at)
	if err != nil {
		return q, err
	}
	q.at = playback.ServerTime(h, q.clock, q.at)
	if !q.at.Before(h.End) {
		q.at = h.End.Add(-time.Microsecond)
	}
	return q, nil
}

// find looks for the frame in the open fragment, then in the log.
func (s *Server) find(ctx context.Context, st streams.Stream, q question) (*frame, error) {
	if cur, ok := s.c.Hub.Current(st.ID); ok && len(cur.Samples) > 0 && (q.at.IsZero() || !q.at.Before(cur.Start)) {
		if f, ok := pick(openFragment(cur), q); ok {
			return f, nil
		}
	}
	at := q.at
	log := s.c.Hub.Log(st)
	for range 8 { // back over fragments that hold no key frame: at most 80 s
		var head fragments.Head
		var err error
		if at.IsZero() {
			var ok bool
			if head, ok = log.Last(ctx); !ok {
				return nil, errNothing(st)
			}
		} else if head, err = playback.Before(ctx, log, at); fault.Is(err, fault.NotFound) {
			return nil, errNothing(st) // sound, perhaps
		} else if err != nil {
			return nil, err
		}
		f, err := log.Read(ctx, head.Number)
		if err != nil {
			return nil, err
		}
		if found, ok := pick(f, q); ok {
			return found, nil
		}
		at = head.Start.Add(-time.Microsecond)
	}
	return nil, errNothing(st)
}

func errNothing(st streams.Stream) error {
	return fault.New(fault.NotFound, "make still of", st.Name, "there is no picture at or before that time").
		WithHint("the timeline shows what is recorded")
}

// openFragment makes the open fragment look like a closed one.
func openFragment(cur streams.Current) *fragments.Fragment {
	f := &fragments.Fragment{Tracks: cur.Tracks, Samples: cur.Samples, Ends: make([]int64, len(cur.Tracks))}
	f.Start, f.End = cur.Start, cur.Start
	for i, t := range f.Tracks {
		var first int64
		seen := false
		for _, s := range f.Samples {
			if s.Track != t.ID {
				continue
			}
			if !seen {
				first, seen = s.DTS, true
			}
			f.Ends[i] = s.DTS + 1
		}
		if i == f.Reference() && seen {
			f.End = f.Start.Add(t.Duration(f.Ends[i] - first))
		}
	}
	return f
}

// pick chooses the frame of f that q asks for: of the video samples that are shown at or
// before q.at, the one shown last. False: there is none, or no key frame before it.
func pick(f *fragments.Fragment, q question) (*frame, bool) {
	ref := f.Reference()
	if ref < 0 || f.Tracks[ref].Codec.Kind() != media.Video {
		return nil, false
	}
	video := make([]media.Sample, 0, len(f.Samples))
	for _, s := range f.Samples {
		if s.Track == f.Tracks[ref].ID {
			video = append(video, s)
		}
	}
	offset := int64(0) // with B-frames all are shown later than decoded: the first at its fragment's start
	if len(video) > 0 {
		offset = int64(video[0].CTO)
	}
	best, key := -1, -1
	for i, s := range video {
		shown := s.DTS + int64(s.CTO)
		if !q.at.IsZero() && f.ServerTime(ref, shown-offset).After(q.at) {
			continue
		}
		if (best < 0 || shown > video[best].DTS+int64(video[best].CTO)) && (!q.key || s.Sync) {
			best = i
		}
	}
	for i := range best + 1 {
		if video[i].Sync {
			key = i
		}
	}
	if best < 0 || key < 0 || best-key >= clipMax {
		return nil, false
	}
	s := video[best]
	pts := s.DTS + int64(s.CTO)
	out := &frame{track: f.Tracks[ref], samples: video[key : best+1], pts: pts,
		at: f.ServerTime(ref, pts-offset), key: best == key}
	if !f.Producer.IsZero() {
		out.said = f.Producer.Add(out.at.Sub(f.Start))
	}
	return out, true
}
