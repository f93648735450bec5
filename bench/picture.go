package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"penstock/internal/loadgen"
)

const (
	pictureCameras = 4
	pictureTries   = 30
	pictureTarget  = 800 // ms, p95
	pictureWait    = 20 * time.Second
)

// pictures measures how long a viewer who comes at any moment waits for the first
// picture: until the bytes of a whole key frame are there, from before the connection is
// made. Decoding is not in it.
func (b *bench) pictures(ctx context.Context) error {
	for _, gop := range []int{25, 100} {
		l := loadgen.Load{Bitrate: 3_000_000, FPS: 25, GOP: gop, Audio: true}
		s, err := b.serve(ctx, filepath.Join(b.dir, fmt.Sprintf("picture-%d", gop)))
		if err != nil {
			return err
		}
		here, err := b.watchPictures(ctx, s, l, s.auth(), []way{
			{"RTSP", func(ctx context.Context, cam string) error {
				return s.viewer(s.auth()).PlayRTSP(ctx, cam, untilPicture)
			}},
			{"LL-HLS", func(ctx context.Context, cam string) error {
				return s.viewer("").PlayHLS(ctx, "/v1/streams/"+cam+"/live.m3u8", untilPicture)
			}},
			{"WebSocket", func(ctx context.Context, cam string) error { return s.viewer("").PlaySocket(ctx, cam, untilPicture) }},
		})
		s.end()
		if err != nil {
			return fmt.Errorf("first picture: %w", err)
		}
		peer := map[string]waits{}
		if b.peer != "" {
			p, err := b.startPeer(ctx, false, true)
			if err != nil {
				return err
			}
			peer, err = b.watchPictures(ctx, p, l, "", []way{
				{"RTSP", func(ctx context.Context, cam string) error { return p.viewer("").PlayRTSP(ctx, cam, untilPicture) }},
				{"LL-HLS", func(ctx context.Context, cam string) error {
					return p.viewer("").PlayHLS(ctx, "/"+cam+"/index.m3u8", untilPicture)
				}},
			})
			p.end()
			if err != nil {
				return fmt.Errorf("first picture of the peer: %w", err)
			}
		}
		for _, name := range []string{"RTSP", "LL-HLS", "WebSocket"} {
			label := fmt.Sprintf("first picture, %s, GOP %d s", name, gop/l.FPS)
			note := fmt.Sprintf("%d viewers, one after the other", pictureTries)
			b.add(figure{Name: label + ": p50", Value: here[name].at(0.5), Unit: "ms", Peer: peer[name].at(0.5), Note: note})
			b.add(figure{Name: label + ": p95", Value: here[name].at(0.95), Unit: "ms", Peer: peer[name].at(0.95), Target: pictureTarget, Note: note})
		}
	}
	return nil
}

// way is how a viewer gets to a picture.
type way struct {
	name string
	see  func(ctx context.Context, cam string) error
}

// waits are sorted, in ms.
type waits []float64

func (w waits) at(share float64) float64 {
	if len(w) == 0 {
		return 0
	}
	return w[min(int(share*float64(len(w))), len(w)-1)]
}

// watchPictures runs a few cameras against s and lets viewers come by each way.
func (b *bench) watchPictures(ctx context.Context, s *server, l loadgen.Load, auth string, ways []way) (map[string]waits, error) {
	cams, stop := context.WithCancel(ctx)
	st := &loadgen.Sent{}
	ended := make(chan error, 1)
	go func() { ended <- fleet(cams, pictureCameras, l, s.rtsp, auth, st) }()
	defer func() { stop(); <-ended }()
	if !loadgen.Sleep(ctx, 12*time.Second) { // some GOPs, so that history is there for a playlist
		return nil, ctx.Err()
	}
	out := map[string]waits{}
	for _, w := range ways {
		for i := range pictureTries {
			if !loadgen.Sleep(ctx, time.Duration(rand.Int64N(int64(400*time.Millisecond)))) {
				return nil, ctx.Err()
			}
			try, cancel := context.WithTimeout(ctx, pictureWait)
			begin := time.Now()
			err := w.see(try, fmt.Sprintf("cam%d", i%pictureCameras))
			cancel()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			out[w.name] = append(out[w.name], float64(time.Since(begin).Microseconds())/1000)
		}
		slices.Sort(out[w.name])
	}
	return out, nil
}

// viewer is how to look at s.
func (s *server) viewer(auth string) loadgen.Viewer {
	return loadgen.Viewer{HTTP: "http://" + s.http, Token: s.token, RTSP: s.rtsp, Auth: auth}
}

// untilPicture ends a viewer's watching at the first key frame.
func untilPicture(a loadgen.Arrival) bool { return !a.Key }
