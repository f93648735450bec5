package web

import (
	"context"
	"time"

	"penstock/ingest/camera"
	"penstock/internal/quantity"
	"penstock/media"
	"penstock/streams"
)

// streamView is a stream as the native API shows it.
type streamView struct {
	Name          string            `json:"name"`
	ARN           string            `json:"arn"`
	Account       string            `json:"account"`
	State         streams.Status    `json:"state"`
	Reason        string            `json:"reason,omitempty"`
	Since         *time.Time        `json:"since,omitempty"`
	Source        *sourceView       `json:"source"`
	Producer      *producerView     `json:"producer,omitempty"`
	Tracks        []trackView       `json:"tracks"`
	Retention     string            `json:"retention"`
	RetentionSize int64             `json:"retention_bytes"` // 0: no bound
	Created       time.Time         `json:"created"`
	Live          bool              `json:"live"`
	Bytes         int64             `json:"bytes"`
	KeptBytes     int64             `json:"kept_bytes"`  // of Bytes, what events alone keep
	DailyBytes    int64             `json:"daily_bytes"` // what it stores in a day at its present rate
	FragmentCount int64             `json:"fragment_count"`
	First         *time.Time        `json:"first,omitempty"`
	Last          *time.Time        `json:"last,omitempty"`
	Bitrate       float64           `json:"bitrate"`
	FPS           float64           `json:"fps"`
	KeyInterval   float64           `json:"key_interval"` // seconds; 0 unknown
	ClockOffset   *float64          `json:"clock_offset_ms"`
	Viewers       int               `json:"viewers"`
	Lost          uint64            `json:"lost"`
	LostBy        map[string]uint64 `json:"lost_by,omitempty"`
	Talk          *camera.Voice     `json:"talk"` // what its camera's loudspeaker takes; null: none, or not asked yet
	Demo          bool              `json:"demo"`
	Tags          map[string]string `json:"tags,omitempty"`
	Version       string            `json:"version"`
}

type sourceView struct {
	URL         string            `json:"url"`
	Username    string            `json:"username,omitempty"`
	PasswordSet bool              `json:"password_set"`
	Transport   streams.Transport `json:"transport"`
}

type producerView struct {
	Remote   string    `json:"remote"`
	Protocol string    `json:"protocol"`
	Since    time.Time `json:"since"`
}

type trackView struct {
	ID         media.TrackID `json:"id"`
	Kind       string        `json:"kind"`
	Codec      string        `json:"codec"`
	MIME       string        `json:"mime"`
	Width      int           `json:"width,omitempty"`
	Height     int           `json:"height,omitempty"`
	FPS        float64       `json:"fps,omitempty"`
	SampleRate int           `json:"sample_rate,omitempty"`
	Channels   int           `json:"channels,omitempty"`
}

// DemoTag marks the stream that the built-in camera feeds.
const DemoTag = "penstock:demo"

// view describes a stream. It waits for its log no longer than storedWait.
func (s *Server) view(ctx context.Context, st streams.Stream) streamView {
	ctx, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	state := s.c.Hub.State(st.ID)
	v := streamView{
		Name: st.Name, ARN: st.ARN(), Account: st.Account, Version: st.Version, Tags: st.Tags,
		State: state.Status, Reason: state.Reason, Since: instant(state.Since),
		Tracks: trackViews(state.Tracks), Retention: quantity.Days(st.Retention), RetentionSize: st.RetentionBytes, Created: st.Created,
		Live: state.Status == streams.Live, Bitrate: state.Bitrate, FPS: state.FPS, DailyBytes: daily(state.Bitrate),
		KeyInterval: state.KeyInterval.Seconds(), Viewers: state.Viewers, Lost: state.LostTotal(),
		Demo: st.Tags[DemoTag] != "", Talk: s.known(st),
	}
	if state.HasClock {
		ms := float64(state.ClockOffset) / float64(time.Millisecond)
		v.ClockOffset = &ms
	}
	for reason, n := range state.Lost {
		if v.LostBy == nil {
			v.LostBy = map[string]uint64{}
		}
		v.LostBy[string(reason)] = n
	}
	if st.Source != nil {
		v.Source = &sourceView{URL: st.Source.URL, Username: st.Source.Username, PasswordSet: !st.Source.Password.Empty(), Transport: st.Source.Transport}
	}
	if state.Producer != (streams.Producer{}) {
		v.Producer = &producerView{Remote: state.Producer.Remote, Protocol: state.Producer.Protocol, Since: state.ProducerSince}
	}
	held := s.holds(ctx, st)
	v.Bytes, v.FragmentCount, v.KeptBytes = held.total.Bytes, held.total.Fragments, held.total.Kept
	v.First, v.Last = instant(held.first), instant(held.last)
	return v
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func trackViews(tracks []media.Track) []trackView {
	out := []trackView{}
	for _, t := range tracks {
		v := trackView{ID: t.ID, Kind: t.Codec.Kind().String(), Codec: t.Codec.Name(), MIME: t.Codec.MIME()}
		if p, ok := t.Codec.(interface {
			Width() int
			Height() int
		}); ok {
			v.Width, v.Height = p.Width(), p.Height()
		}
		if p, ok := t.Codec.(interface{ FrameRate() float64 }); ok {
			v.FPS = p.FrameRate()
		}
		switch c := t.Codec.(type) {
		case *media.AAC:
			v.SampleRate, v.Channels = c.SampleRate(), c.Channels()
		case *media.Opus:
			v.SampleRate, v.Channels = 48000, c.Channels
		case *media.G711:
			v.SampleRate, v.Channels = c.SampleRate, c.Channels
		}
		out = append(out, v)
	}
	return out
}
