package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"penstock/internal/loadgen"
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

// over divides; a window that was not measured has 0 of everything.
func (w window) over(a, b float64) float64 {
	if w.seconds == 0 || b == 0 {
		return 0
	}
	return a / b
}

// fleet runs n cameras, cam0 and so on, against an address until ctx ends.
func fleet(ctx context.Context, n int, l loadgen.Load, address, auth string, st *loadgen.Sent) error {
	f := loadgen.Fleet{Cameras: n, Load: l, Address: address, Auth: auth, Name: func(i int) string { return fmt.Sprintf("cam%d", i) }}
	return f.Run(ctx, st)
}

// watch runs n cameras against s and measures its process once all are connected.
func (b *bench) watch(ctx context.Context, s *server, n int, l loadgen.Load, auth string) (w window, err error) {
	cams, stop := context.WithCancel(ctx)
	defer stop()
	st := &loadgen.Sent{}
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- fleet(cams, n, l, s.rtsp, auth, st) }()
	for st.Live.Load()+st.Errors.Load() < int64(n) {
		if !loadgen.Sleep(ctx, 5*time.Millisecond) || time.Since(begin) > time.Minute {
			stop()
			return w, fmt.Errorf("only %d of %d cameras connected: %w", st.Live.Load(), n, <-ended)
		}
	}
	w.connected = time.Since(begin)
	loadgen.Sleep(ctx, b.warm)
	from, err := loadgen.ReadProcess(s.cmd.Process.Pid)
	if err != nil {
		return w, err
	}
	bytes, packets := st.Bytes.Load(), st.Packets.Load()
	loadgen.Sleep(ctx, b.seconds)
	to, err := loadgen.ReadProcess(s.cmd.Process.Pid)
	if err != nil {
		return w, err
	}
	w.bytes, w.packets = float64(st.Bytes.Load()-bytes), float64(st.Packets.Load()-packets)
	w.seconds = to.At.Sub(from.At).Seconds()
	w.cpu = (to.CPU - from.CPU).Seconds()
	w.rss, w.peak = float64(to.RSS)/1e6, float64(to.Peak)/1e6
	w.calls = float64(to.Reads + to.Writes - from.Reads - from.Writes)
	w.copied = float64(to.ReadBytes + to.WroteBytes - from.ReadBytes - from.WroteBytes)
	w.late, w.failed, w.alive = st.Late.Load(), st.Errors.Load(), st.Live.Load()
	stop()
	<-ended
	return w, nil
}

// ingest pairs a run of the server with one of the floor.
func (b *bench) ingest(ctx context.Context, n int, l loadgen.Load, label string) error {
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
	peer, idle, err := b.beside(ctx, n, l)
	if err != nil {
		return fmt.Errorf("peer, %s: %w", label, err)
	}
	f := float64(n)
	perMinute := func(w window) float64 { return w.over(w.cpu, f*w.seconds/60) }
	perGB := func(w window) float64 { return w.over(w.cpu, w.bytes/1e9) }
	add := func(what, unit string, target float64, of func(window) float64, note string) {
		b.add(figure{Name: label + ": " + what, Value: of(here), Unit: unit, Floor: of(base), Peer: of(peer), Target: target, Note: note})
	}
	target := func(v float64) float64 {
		if l.Bitrate != 3_000_000 { // what the targets were set for
			return 0
		}
		return v
	}
	note := ""
	if b.peer != "" {
		note = fmt.Sprintf("the peer without recording: %.4g s", perMinute(idle))
	}
	add("CPU per camera-minute", "s", target(0.12), perMinute, note)
	add("CPU per GB", "s", 0, perGB, fmt.Sprintf("%d writes late", here.late))
	add("RSS per camera", "MB", target(1), func(w window) float64 { return w.rss / f }, fmt.Sprintf("%.0f MB in all, peak %.0f", here.rss, here.peak))
	add("system calls per packet", "", 0.4, func(w window) float64 { return w.over(w.calls, w.packets) }, "reads and writes")
	add("bytes over system calls per byte", "", 0, func(w window) float64 { return w.over(w.copied, w.bytes) }, "in and out")
	add("all connected after", "s", 0, func(w window) float64 { return w.connected.Seconds() }, "")
	return os.RemoveAll(dir)
}
