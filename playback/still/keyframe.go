package still

import (
	"context"

	"penstock/internal/fault"
	"penstock/media"
)

// keyFrameWidth is the width of the picture that a camera test shows.
const keyFrameWidth = 640

// Picture makes a JPEG of one key frame that is not in any log, for a camera that is
// only being tried. fault.Unavailable: there is no ffmpeg.
func (s *Server) Picture(ctx context.Context, track media.Track, keyFrame media.Sample) ([]byte, error) {
	if !s.Available() && track.Codec.Name() != "mjpeg" {
		return nil, fault.New(fault.Unavailable, "make picture", "", "ffmpeg is not installed").WithHint("apt-get install ffmpeg, then restart")
	}
	if track.Codec.Name() == "mjpeg" {
		return keyFrame.Data, nil
	}
	select {
	case s.run <- struct{}{}:
		defer func() { <-s.run }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.decode(ctx, &frame{track: track, samples: []media.Sample{keyFrame}, pts: keyFrame.DTS + int64(keyFrame.CTO), key: true}, keyFrameWidth)
}
