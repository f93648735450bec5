package still

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"penstock/media"
	"penstock/media/fmp4"
)

const (
	// jpegMax bounds what is taken from ffmpeg: the largest pictures are 8K.
	jpegMax = 32 << 20
	// wordsMax bounds what it may say on stderr.
	wordsMax = 4 << 10
)

// arguments are ffmpeg's, for the frame that is shown at pts. The only numbers in them
// were read as numbers.
func arguments(format string, pts int64, width int) []string {
	filter := `select=gte(pts\,` + strconv.FormatInt(pts, 10) + `)`
	if width > 0 {
		filter += ",scale=w='min(iw," + strconv.Itoa(width) + ")':h=-2"
	}
	return []string{
		"-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1",
		"-protocol_whitelist", "pipe", "-f", format, "-copyts", "-i", "pipe:0",
		"-an", "-sn", "-dn", "-vf", filter, "-vsync", "passthrough", "-frames:v", "1",
		"-threads", "1", "-f", "image2pipe", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "3", "pipe:1",
	}
}

// decode has ffmpeg make the JPEG.
func (s *Server) decode(ctx context.Context, f *frame, width int) ([]byte, error) {
	input, format, pts, err := pack(f)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.c.FFmpeg, arguments(format, pts, width)...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out, words := &bounded{limit: jpegMax, over: cancel}, &bounded{limit: wordsMax}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), out, words
	err = cmd.Run()
	jpeg := out.data
	switch {
	case out.full:
		return nil, errors.New("ffmpeg made too large a picture")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("ffmpeg took longer than %v", s.c.Timeout)
	case len(jpeg) > 4 && jpeg[0] == 0xff && jpeg[1] == 0xd8:
		return jpeg, nil // what it complained of did not keep it from a picture
	case err != nil:
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, words.String())
	}
	return nil, errors.New("ffmpeg made no picture: " + words.String())
}

// pack writes the frame and what it depends on as a fragmented MP4 whose times begin at 0.
func pack(f *frame) (data []byte, format string, pts int64, err error) {
	if f.track.Codec.Name() == "mjpeg" {
		return f.samples[len(f.samples)-1].Data, "mjpeg", 0, nil
	}
	samples := make([]media.Sample, len(f.samples))
	base := f.samples[0].DTS
	for i, s := range f.samples {
		s.DTS -= base
		samples[i] = s
	}
	last := samples[len(samples)-1].DTS
	step := f.track.Ticks(40 * time.Millisecond)
	if len(samples) > 1 {
		step = max(1, last-samples[len(samples)-2].DTS)
	}
	tracks := []media.Track{f.track}
	init, err := fmp4.Init(tracks)
	if err != nil {
		return nil, "", 0, err
	}
	part, err := fmp4.Part(1, tracks, samples, []int64{last + step})
	if err != nil {
		return nil, "", 0, err
	}
	return append(init, part...), "mp4", f.pts - base, nil
}

// bounded is a buffer that takes limit bytes and drops the rest, telling over. It has
// none of bytes.Buffer's other ways in, which know no limit.
type bounded struct {
	data  []byte
	limit int
	over  func()
	full  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.data)+len(p) <= b.limit {
		b.data = append(b.data, p...)
		return len(p), nil
	}
	b.full = true
	if b.over != nil {
		b.over()
		return 0, io.ErrShortWrite
	}
	b.data = append(b.data, p[:b.limit-len(b.data)]...)
	return len(p), nil
}

// String returns what was taken as one line.
func (b *bounded) String() string { return strings.TrimSpace(string(b.data)) }
