package playback

import (
	"penstock/media"
	"penstock/media/flac"
)

// Sound turns the samples of a stream's G.711 tracks into the FLAC that Playable says
// they are: no browser plays G.711 out of MP4. A nil Sound changes nothing. It is not for
// concurrent use.
type Sound struct {
	coders []coder
	data   []byte // of the samples last returned
}

type coder struct {
	id media.TrackID
	*flac.Coder
}

// NewSound returns what makes the samples of tracks, as they were sent, into those of
// Playable(tracks); nil when they are the same.
func NewSound(tracks []media.Track) *Sound {
	var s *Sound
	for _, t := range tracks {
		if c, ok := flac.NewCoder(t); ok {
			if s == nil {
				s = &Sound{}
			}
			s.coders = append(s.coders, coder{t.ID, c})
		}
	}
	return s
}

// Plain makes frames whose lengths Coder's Sizes knows beforehand. It returns s.
func (s *Sound) Plain() *Sound {
	if s != nil {
		for _, c := range s.coders {
			c.Plain = true
		}
	}
	return s
}

// Restart says that samples are missing on purpose before the next ones. It returns s.
func (s *Sound) Restart() *Sound {
	if s != nil {
		for _, c := range s.coders {
			c.Restart()
		}
	}
	return s
}

// Coder is what a track's samples go through; nil: nothing.
func (s *Sound) Coder(id media.TrackID) *flac.Coder {
	if s != nil {
		for _, c := range s.coders {
			if c.id == id {
				return c.Coder
			}
		}
	}
	return nil
}

// Samples returns in with its G.711 as FLAC, in the same order, and silence where packets
// are missing. in, which follows what came before, does not change; what is returned holds
// until the next call.
func (s *Sound) Samples(in []media.Sample) []media.Sample {
	if s == nil {
		return in
	}
	out, data := make([]media.Sample, 0, len(in)), s.data[:0]
	for _, x := range in {
		if c := s.Coder(x.Track); c != nil {
			out, data = c.Append(out, data, x)
		} else {
			out = append(out, x)
		}
	}
	s.data = data
	return out
}
