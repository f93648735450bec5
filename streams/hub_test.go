package streams_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/fragments"
	"penstock/media"
	"penstock/storage/mem"
	"penstock/streams"
)

// rig is a Hub on a real store with a clock moved by hand.
type rig struct {
	t     testing.TB
	clock handClock
	hub   *streams.Hub
	cat   *streams.Catalogue
	store *fragments.Store
	reg   *prometheus.Registry
	st    streams.Stream
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, clock: newClock(), reg: prometheus.NewRegistry()}
	db := openMeta(t, filepath.Join(dir, "meta.db"))
	store, err := fragments.Open(context.Background(), fragments.Config{Dir: filepath.Join(dir, "spool"), Bucket: mem.New(mem.Config{}), Meta: db,
		Clock: r.clock.Clock, SyncEvery: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r.store = store
	runFor(t, func(ctx context.Context) error {
		if err := store.Run(ctx); err != nil && !errors.Is(err, context.Canceled) { // a test may end before it began
			return err
		}
		return nil
	})
	r.cat = openCatalogue(t, db, r.clock, func(ctx context.Context, s streams.Stream) error { return r.hub.Erase(ctx, s) })
	r.hub = streams.NewHub(streams.HubConfig{Store: store, Catalogue: r.cat, Clock: r.clock, Registerer: r.reg})
	r.st = create(t, r.cat, "front-door")
	return r
}

// The camera: 25 frames/s, a key frame each second, with sound.
const (
	videoScale, audioScale = 90000, 8000
	frameTicks             = videoScale / 25
	frame                  = 40 * time.Millisecond
)

func tracks() []media.Track {
	return []media.Track{
		{ID: 1, Timescale: videoScale, Codec: &media.H264{SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8}, PPS: []byte{0x68, 0xce, 0x3c, 0x80}}},
		{ID: 2, Timescale: audioScale, Codec: &media.G711{SampleRate: 8000, Channels: 1}},
	}
}

func (r *rig) publish(stored func(fragments.Head, error)) *streams.Session {
	r.t.Helper()
	s, err := r.hub.Publish(context.Background(), r.st, streams.Producer{Remote: "192.0.2.9:5000", Protocol: "rtsp"}, tracks(), stored)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close(nil) })
	return s
}

// camera writes what a camera sends.
type camera struct {
	r     *rig
	s     *streams.Session
	n     int   // frames sent
	gop   int   // frames between key frames
	base  int64 // added to each DTS
	bytes int
}

func (r *rig) camera(s *streams.Session) *camera {
	return &camera{r: r, s: s, gop: 25, bytes: 100}
}

// frame sends one frame and its sound, and lets its time pass.
func (c *camera) frame() error {
	data := make([]byte, c.bytes)
	copy(data, fmt.Sprintf("frame %06d", c.n))
	err := c.s.Write(media.Sample{Track: 1, DTS: c.base + int64(c.n)*frameTicks, Sync: c.n%c.gop == 0, Data: data})
	err = errors.Join(err, c.s.Write(media.Sample{Track: 2, DTS: c.base*audioScale/videoScale + int64(c.n)*320, Sync: true, Data: make([]byte, 320)}))
	c.n++
	c.r.clock.Add(frame)
	return err
}

func (c *camera) frames(n int) {
	c.r.t.Helper()
	for range n {
		if err := c.frame(); err != nil {
			c.r.t.Fatal(err)
		}
	}
}

func text(e streams.Event) string {
	if len(e.Sample.Data) < 12 {
		return ""
	}
	return string(e.Sample.Data[:12])
}

// drain reads what waits.
func drain(l *streams.Listener) (list []streams.Event) {
	for {
		e, ok := l.TryNext()
		if !ok {
			return list
		}
		list = append(list, e)
	}
}

func video(list []streams.Event) (out []streams.Event) {
	for _, e := range list {
		if e.Sample.Track == 1 {
			out = append(out, e)
		}
	}
	return out
}

func TestAListenerHearsEverySampleInOrder(t *testing.T) {
	r := newRig(t)
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer l.Close()
	c := r.camera(r.publish(nil))
	c.frames(100)
	got := video(drain(l))
	if len(got) != 100 {
		t.Fatalf("%d frames, want 100", len(got))
	}
	for i, e := range got {
		if text(e) != fmt.Sprintf("frame %06d", i) {
			t.Fatalf("event %d is %s", i, text(e))
		}
		if (e.Tracks != nil) != (i == 0) {
			t.Errorf("event %d: tracks %v", i, e.Tracks)
		}
		if e.Skipped != 0 {
			t.Errorf("event %d: skipped %d", i, e.Skipped)
		}
	}
}

func TestAViewerSeesAPictureAtOnce(t *testing.T) {
	r := newRig(t)
	c := r.camera(r.publish(nil))
	c.frames(60)
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{From: streams.LiveGOP})
	defer l.Close()
	late := r.hub.Listen(r.st.ID, streams.ListenOptions{From: streams.LiveNextSync})
	defer late.Close()
	if got := video(drain(l)); len(got) != 10 || text(got[0]) != "frame 000050" || !got[0].Sample.Sync || got[0].Tracks == nil {
		t.Fatalf("the current GOP: %d frames", len(got))
	}
	if got := drain(late); len(got) != 0 {
		t.Fatalf("before the next key frame: %d events", len(got))
	}
	c.frames(20)
	if got := video(drain(l)); len(got) != 20 || text(got[0]) != "frame 000060" {
		t.Errorf("going on: %d frames", len(got))
	}
	if got := video(drain(late)); len(got) != 5 || text(got[0]) != "frame 000075" || got[0].Tracks == nil {
		t.Errorf("from the next key frame: %d frames", len(got))
	}
}

func TestALongGOPIsKeptForNewViewersAcrossAForcedCut(t *testing.T) {
	r := newRig(t)
	c := r.camera(r.publish(nil))
	c.gop = 100000
	c.frames(25 * 14) // fragments are cut at 10 s
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer l.Close()
	got := video(drain(l))
	if len(got) != 350 || text(got[0]) != "frame 000000" {
		t.Errorf("%d frames, want the whole GOP of 350", len(got))
	}
}

func TestASlowViewerLosesUpToAKeyFrameAndHearsHowMuch(t *testing.T) {
	r := newRig(t)
	s := r.publish(nil)
	c := r.camera(s)
	c.bytes = 10_000
	slow := r.hub.Listen(r.st.ID, streams.ListenOptions{Bytes: 500_000})
	defer slow.Close()
	quick := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer quick.Close()
	heard := 0
	for range 210 {
		c.frames(1)
		heard += len(video(drain(quick)))
	}
	if heard != 210 {
		t.Errorf("the quick viewer heard %d of 210 frames", heard)
	}
	got := drain(slow)
	samples, skipped := 0, 0
	first := true
	for _, e := range got {
		if e.Fragment != nil {
			continue
		}
		samples++
		skipped += e.Skipped
		if first {
			if !e.Sample.Sync || e.Sample.Track != 1 || e.Tracks == nil || e.Skipped == 0 {
				t.Errorf("the first after a loss: sync %v, track %d, skipped %d", e.Sample.Sync, e.Sample.Track, e.Skipped)
			}
			first = false
		}
	}
	size := 0
	for _, e := range got {
		size += len(e.Sample.Data)
	}
	if size > 500_000 {
		t.Errorf("%d bytes waited, want at most 500,000", size)
	}
	if samples+skipped != 420 {
		t.Errorf("%d samples and %d skipped, want 420 together", samples, skipped)
	}
	if n := r.hub.State(r.st.ID).Lost[streams.SkippedByViewer]; n != uint64(skipped) {
		t.Errorf("state says %d skipped, the events %d", n, skipped)
	}
}

func TestAViewerThatNeverReadsDoesNotHoldTheProducer(t *testing.T) {
	r := newRig(t)
	c := r.camera(r.publish(nil))
	for range 20 {
		l := r.hub.Listen(r.st.ID, streams.ListenOptions{Bytes: 1000})
		defer l.Close()
	}
	done := make(chan struct{})
	go func() {
		for range 2000 {
			c.frame()
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the producer is held up")
	}
}

func TestNextWaitsForAProducerAndAcrossProducers(t *testing.T) {
	r := newRig(t)
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer l.Close()
	got := make(chan streams.Event)
	go func() {
		for {
			e, err := l.Next(context.Background())
			if err != nil {
				close(got)
				return
			}
			if e.Fragment == nil && e.Sample.Track == 1 {
				got <- e
			}
		}
	}()
	s := r.publish(nil)
	r.camera(s).frames(1)
	if e := <-got; e.Tracks == nil {
		t.Error("no tracks with the first sample")
	}
	s.Close(nil)
	r.camera(r.publish(nil)).frames(1)
	if e := <-got; e.Tracks == nil || !e.Sample.Sync {
		t.Error("no tracks, or no key frame, from the second producer")
	}
	l.Close()
	if _, ok := <-got; ok {
		t.Error("an event after Close")
	}
}
