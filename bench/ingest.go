package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// window is what one process did while the cameras sent.
type window struct {
	seconds             float64
	cpu, rss, peak      float64 // s, MB, MB
	calls               float64 // read and write system calls
	bytes, packets      float64 // that the cameras sent
	copied              float64 // bytes over system calls, both ways
	connected           time.Duration
	late, failed, alive int64
}

// watch runs n cameras against s and measures its process once all are connected.
func (b *bench) watch(ctx context.Context, s *server, n int, l load, auth string) (w window, err error) {
	cams, stop := context.WithCancel(ctx)
	defer stop()
	st := &sent{}
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- fleet(cams, n, l, s.rtsp, auth, st) }()
	for st.live.Load()+st.errors.Load() < int64(n) {
		if !sleep(ctx, 5*time.Millisecond) || time.Since(begin) > time.Minute {
			stop()
			return w, fmt.Errorf("only %d of %d cameras connected: %w", st.live.Load(), n, <-ended)
		}
	}
	w.connected = time.Since(begin)
	sleep(ctx, b.warm)
	from, err := read(s.cmd.Process.Pid)
	if err != nil {
		return w, err
	}
	bytes, packets := st.bytes.Load(), st.packets.Load()
	sleep(ctx, b.seconds)
	to, err := read(s.cmd.Process.Pid)
	if err != nil {
		return w, err
	}
	w.bytes, w.packets = float64(st.bytes.Load()-bytes), float64(st.packets.Load()-packets)
	w.seconds = to.at.Sub(from.at).Seconds()
	w.cpu = (to.cpu - from.cpu).Seconds()
	w.rss, w.peak = float64(to.rss)/1e6, float64(to.rssPeak)/1e6
	w.calls = float64(to.reads + to.writes - from.reads - from.writes)
	w.copied = float64(to.readBytes + to.wroteBytes - from.readBytes - from.wroteBytes)
	w.late, w.failed, w.alive = st.late.Load(), st.errors.Load(), st.live.Load()
	stop()
	<-ended
	return w, nil
}

// ingest pairs a run of the server with one of the floor.
func (b *bench) ingest(ctx context.Context, n int, l load, label string) error {
	fl, err := b.floor(ctx)
	if err != nil {
		return err
	}
	base, err := b.watch(ctx, fl, n, l, "")
	fl.end()
	if err != nil {
		return fmt.Errorf("floor, %s: %w", label, err)
	}
	if err := os.RemoveAll(fl.dir); err != nil {
		return err
	}
	dir := filepath.Join(b.dir, fmt.Sprintf("ingest-%d", n))
	s, err := b.serve(ctx, dir)
	if err != nil {
		return err
	}
	here, err := b.watch(ctx, s, n, l, s.auth())
	s.end()
	if err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	if here.failed > 0 {
		return fmt.Errorf("%s: %d cameras failed", label, here.failed)
	}
	perMinute := func(w window) float64 { return w.cpu / (float64(n) * w.seconds / 60) }
	perGB := func(w window) float64 { return w.cpu / (w.bytes / 1e9) }
	b.add(figure{label + ": CPU per camera-minute", perMinute(here), "s", perMinute(base), ""})
	b.add(figure{label + ": CPU per GB", perGB(here), "s", perGB(base), fmt.Sprintf("%d writes late", here.late)})
	b.add(figure{label + ": RSS per camera", here.rss / float64(n), "MB", base.rss / float64(n), fmt.Sprintf("%.0f MB in all, peak %.0f", here.rss, here.peak)})
	b.add(figure{label + ": system calls per packet", here.calls / here.packets, "", base.calls / base.packets, "reads and writes"})
	b.add(figure{label + ": bytes over system calls per byte", here.copied / here.bytes, "", base.copied / base.bytes, "in and out"})
	b.add(figure{label + ": all connected after", here.connected.Seconds(), "s", base.connected.Seconds(), ""})
	return os.RemoveAll(dir)
}
