package rtsp

import (
	"context"
	"strconv"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"penstock/internal/fault"
	"penstock/media"
	"penstock/streams"
)

// Payload types of what is served, all dynamic but the static ones of RFC 3551.
const (
	firstDynamic = 96
	rtpVideo     = 90000 // Hz, of every video payload format
)

// sight is what DESCRIBE showed of a stream: SETUP refers to its medias by number.
type sight struct {
	stream string // id
	tracks []media.Track
	desc   *description.Session
	when   time.Time
}

// see finds out what a stream is made of, waiting a little for one that is just
// beginning. fault.NotFound: nobody sends.
func (h *handler) see(g Grant) (*sight, error) {
	id := g.Stream.ID
	state := h.s.c.Hub.State(id)
	if state.Status != streams.Live && state.Status != streams.Connecting {
		why := string(state.Status)
		if state.Reason != "" {
			why += ", " + state.Reason
		}
		return nil, fault.New(fault.NotFound, "watch", g.Stream.Name, "it is not live ("+why+")").
			WithHint("recorded media is played from the console or over HLS")
	}
	ctx, cancel := context.WithTimeout(h.ctx, DescribeWait)
	defer cancel()
	l := h.s.c.Hub.Listen(id)
	defer l.Close()
	for {
		ev, err := l.Next(ctx)
		if err != nil {
			return nil, fault.New(fault.NotFound, "watch", g.Stream.Name, "no media came from it").
				WithHint("try again when the camera is connected")
		}
		if ev.Tracks == nil {
			continue
		}
		desc := describeTracks(ev.Tracks)
		if len(desc.Medias) == 0 {
			return nil, fault.New(fault.Invalid, "watch", g.Stream.Name, "it has no track that RTSP can carry")
		}
		return &sight{stream: id, tracks: ev.Tracks, desc: desc, when: h.s.c.Clock.Now()}, nil
	}
}

// describe answers DESCRIBE and keeps what it showed for SETUP.
func (h *handler) describe(k *caller, g Grant) ([]byte, error) {
	si, err := h.see(g)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.sight = si
	k.mu.Unlock()
	return si.desc.Marshal(false)
}

// describeTracks makes the session description of tracks, one media each; tracks
// whose codec has no RTP payload format here are left out.
func describeTracks(tracks []media.Track) *description.Session {
	d := &description.Session{}
	for _, t := range tracks {
		f := formatOf(t, uint8(firstDynamic+len(d.Medias)))
		if f == nil {
			continue
		}
		m := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f},
			Control: "trackID=" + strconv.Itoa(len(d.Medias))}
		if t.Codec.Kind() == media.Audio {
			m.Type = description.MediaTypeAudio
		}
		d.Medias = append(d.Medias, m)
	}
	return d
}

// formatOf is the RTP payload format of a track, nil when there is none.
func formatOf(t media.Track, pt uint8) format.Format {
	switch c := t.Codec.(type) {
	case *media.H264:
		return &format.H264{PayloadTyp: pt, SPS: c.SPS, PPS: c.PPS, PacketizationMode: 1}
	case *media.H265:
		return &format.H265{PayloadTyp: pt, VPS: c.VPS, SPS: c.SPS, PPS: c.PPS}
	case *media.AV1:
		return &format.AV1{PayloadTyp: pt}
	case *media.MJPEG:
		return &format.MJPEG{}
	case *media.AAC:
		var config mpeg4audio.AudioSpecificConfig
		if config.Unmarshal(c.Config) != nil {
			return nil
		}
		return &format.MPEG4Audio{PayloadTyp: pt, Config: &config, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	case *media.Opus:
		return &format.Opus{PayloadTyp: pt, ChannelCount: c.Channels}
	case *media.G711:
		f := &format.G711{PayloadTyp: pt, MULaw: c.MuLaw, SampleRate: c.SampleRate, ChannelCount: c.Channels}
		if c.SampleRate == 8000 && c.Channels == 1 {
			f.PayloadTyp = 8
			if c.MuLaw {
				f.PayloadTyp = 0
			}
		}
		return f
	}
	return nil
}

// sameShape reports whether readers of a can go on with b: the same codecs in the same
// order. New parameter sets travel in band.
func sameShape(a, b []media.Track) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].ID != b[i].ID || a[i].Codec.Name() != b[i].Codec.Name() {
			return false
		}
		if a[i].Codec.Kind() == media.Audio && !media.EqualCodecs(a[i].Codec, b[i].Codec) {
			return false // its configuration is in the SDP only
		}
	}
	return true
}
