package camera

import (
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

// recordable reports whether the samples of f can be stored.
func recordable(f format.Format) bool {
	switch f.(type) {
	case *format.H264, *format.H265, *format.AV1, *format.MPEG4Audio, *format.Opus, *format.G711, *format.MJPEG:
		return true
	}
	return false
}

// Pick returns the first video and the first sound of s that are recordable. Back
// channels and metadata are left alone.
func Pick(s *description.Session) []*description.Media {
	var out []*description.Media
	for _, kind := range []description.MediaType{description.MediaTypeVideo, description.MediaTypeAudio} {
		if m := pickOne(s, kind); m != nil {
			out = append(out, m)
		}
	}
	return out
}

func pickOne(s *description.Session, kind description.MediaType) *description.Media {
	for _, m := range s.Medias {
		if m.Type != kind || m.IsBackChannel {
			continue
		}
		for _, f := range m.Formats {
			if recordable(f) {
				return m
			}
		}
	}
	return nil
}
