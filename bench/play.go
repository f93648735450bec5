package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"penstock/internal/loadgen"
)

// play measures what a viewer of the demo camera waits for.
func (b *bench) play(ctx context.Context) error {
	s, err := b.serve(ctx, filepath.Join(b.dir, "play"), "--demo")
	if err != nil {
		return err
	}
	defer s.end()
	if !loadgen.Sleep(ctx, 12*time.Second) {
		return ctx.Err()
	}
	for _, q := range []struct{ name, path string }{
		{"timeline of a day", "/v1/streams/demo/timeline?start=-24h"},
		{"list of 10 minutes", "/v1/streams/demo/fragments?start=-10m"},
		{"first byte of a clip", "/v1/streams/demo/clip.mp4?start=-8s&end=-2s"},
		{"live playlist", "/v1/streams/demo/live.m3u8"},
	} {
		ms, err := s.firstByte(ctx, q.path)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		b.add(figure{Name: q.name, Value: ms, Unit: "ms", Note: "median of 15, little stored"})
	}
	return nil
}

func (s *server) firstByte(ctx context.Context, path string) (float64, error) {
	var all []float64
	for range 15 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		begin := time.Now()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		var one [1]byte
		_, err = io.ReadFull(res.Body, one[:])
		all = append(all, float64(time.Since(begin).Microseconds())/1000)
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%s: %s %w", res.Status, strings.TrimSpace(string(text)), err)
		}
	}
	sort.Float64s(all)
	return all[len(all)/2], nil
}
