// Package demo feeds a stream from the built-in camera, so that a first page has a
// moving picture before anything is connected.
//
// The camera itself is internal/testcam; this package gives its frames their times
// and publishes them through the Hub, as every other door does.
package demo

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/testcam"
	"penstock/media"
	"penstock/streams"
)

// timescale is that of RTP video, so that the demo exercises the same arithmetic.
const timescale = 90000

// retryAfter is how long the camera waits when its stream is taken or its place is gone.
const retryAfter = time.Second

// Camera publishes the synthetic camera into one stream. Hub and Stream are
// required; Run owns it.
type Camera struct {
	Hub    *streams.Hub
	Stream func() (streams.Stream, error) // looked up anew for each session: NotFound ends Run
	Clock  host.Clock                     // host.System
	Logger *slog.Logger                   // discards
}

// Run publishes until ctx ends or the stream is deleted.
func (c *Camera) Run(ctx context.Context) error {
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	for ctx.Err() == nil {
		st, err := c.Stream()
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil {
			err = c.session(ctx, st)
		}
		if err != nil && ctx.Err() == nil {
			c.Logger.Warn("demo camera stopped", "err", err)
		}
		if !c.wait(ctx, retryAfter) {
			return nil
		}
	}
	return nil
}

// wait reports false when ctx ended first.
func (c *Camera) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := c.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Camera) session(ctx context.Context, st streams.Stream) error {
	cam := testcam.New()
	track := media.Track{ID: 1, Timescale: timescale, Codec: &media.H264{SPS: cam.SPS(), PPS: cam.PPS()}}
	s, err := c.Hub.Publish(ctx, st, streams.Producer{Remote: "built in", Protocol: "demo"}, []media.Track{track}, nil)
	if err != nil {
		return err
	}
	return s.Close(c.frames(ctx, cam, s))
}

// frames sends frame after frame at its time; when the machine was busy it skips the
// frames it is late for, as a camera does, so that the clock in the picture is right.
func (c *Camera) frames(ctx context.Context, cam *testcam.Camera, s *streams.Session) error {
	begin := c.Clock.Now()
	for n := int64(0); ; n++ {
		due := begin.Add(time.Duration(n) * time.Second / testcam.FPS)
		if late := c.Clock.Now().Sub(due); late > time.Second || late < -time.Second {
			n += int64(late * testcam.FPS / time.Second)
			due = begin.Add(time.Duration(n) * time.Second / testcam.FPS)
		}
		if !c.wait(ctx, due.Sub(c.Clock.Now())) {
			return ctx.Err() // the server ends, not the camera: the timeline says so
		}
		select {
		case <-s.Done():
			return nil
		default:
		}
		data, sync := cam.Frame(c.Clock.Now())
		if err := s.Write(media.Sample{Track: 1, DTS: n * timescale / testcam.FPS, Sync: sync, Wall: c.Clock.Now(), Data: data}); err != nil {
			return err
		}
	}
}
