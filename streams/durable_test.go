package streams_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/media"
	"penstock/streams"
)

// fates notes what became of fragments.
type fates struct {
	mu    sync.Mutex
	heads []fragments.Head
	errs  []error
}

func (f *fates) stored(h fragments.Head, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heads = append(f.heads, h)
	f.errs = append(f.errs, err)
}

func (f *fates) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.heads)
}

// recorded reads all samples of the stream back from the log.
func (r *rig) recorded() (list []media.Sample, heads []fragments.Head) {
	r.t.Helper()
	log := r.hub.Log(r.st)
	for h, err := range log.Select(context.Background(), fragments.Range{Start: r.st.Created.Add(-time.Hour), End: r.clock.Now().Add(time.Hour)}) {
		if err != nil {
			r.t.Fatal(err)
		}
		f, err := log.Read(context.Background(), h.Number)
		if err != nil {
			r.t.Fatal(err)
		}
		heads = append(heads, f.Head)
		list = append(list, f.Samples...)
	}
	return list, heads
}

func TestEverySampleIsRecordedOnceAndTheProducerHears(t *testing.T) {
	r := newRig(t)
	var f fates
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer l.Close()
	s := r.publish(f.stored)
	r.camera(s).frames(25 * 11)
	s.Close(nil)
	samples, heads := r.recorded()
	if len(samples) != 2*25*11 {
		t.Fatalf("%d samples recorded, want %d", len(samples), 2*25*11)
	}
	n := 0
	for _, m := range samples {
		if m.Track == 1 {
			if want := fmt.Sprintf("frame %06d", n); string(m.Data[:12]) != want {
				t.Fatalf("recorded %s, want %s", m.Data[:12], want)
			}
			n++
		}
	}
	var bounds []fragments.Number
	between := 0
	for _, e := range drain(l) {
		if e.Fragment == nil {
			between++
			continue
		}
		if e.Fragment.Samples != between {
			t.Errorf("fragment %d has %d samples, the listener heard %d", e.Fragment.Number, e.Fragment.Samples, between)
		}
		bounds, between = append(bounds, e.Fragment.Number), 0
	}
	if len(bounds) != len(heads) {
		t.Fatalf("the listener heard %d boundaries, %d fragments are recorded", len(bounds), len(heads))
	}
	for i := range heads {
		if bounds[i] != heads[i].Number {
			t.Errorf("boundary %d: %d, recorded %d", i, bounds[i], heads[i].Number)
		}
		if heads[i].Forced {
			t.Errorf("fragment %d does not begin with a key frame", i)
		}
	}
	soon(t, "the producer hears of each fragment", func() bool { return f.count() == len(heads) })
	for i, err := range f.errs {
		if err != nil || f.heads[i].Number != heads[i].Number || !f.heads[i].Persisted {
			t.Errorf("fate %d: %+v %v", i, f.heads[i], err)
		}
	}
	soon(t, "the state says what is durable", func() bool { return r.hub.State(r.st.ID).Recorded.Equal(heads[len(heads)-1].End) })
}

func TestAJumpOfAnHourLosesNothingAndBeginsARun(t *testing.T) {
	r := newRig(t)
	s := r.publish(nil)
	c := r.camera(s)
	c.frames(60)
	c.base = 3600 * videoScale
	c.frames(115)
	s.Close(nil)
	samples, heads := r.recorded()
	if len(samples) != 350 {
		t.Errorf("%d samples recorded, want 350", len(samples))
	}
	last := map[media.TrackID]int64{}
	for i, m := range samples {
		if before, ok := last[m.Track]; ok && m.DTS <= before {
			t.Errorf("sample %d of track %d: DTS %d after %d", i, m.Track, m.DTS, before)
		}
		last[m.Track] = m.DTS
	}
	runs := map[uint32]bool{}
	for i, h := range heads {
		runs[h.Run] = true
		if i > 0 && h.Start.Sub(heads[i-1].End).Abs() > frame {
			t.Errorf("fragment %d starts %v after the end of the one before", i, h.Start.Sub(heads[i-1].End))
		}
		if h.Forced {
			t.Errorf("fragment %d does not begin with a key frame", i)
		}
	}
	if len(runs) != 2 {
		t.Errorf("%d runs, want 2", len(runs))
	}
	if len(heads) == 0 {
		return
	}
	if end := heads[len(heads)-1].End; end.Sub(r.clock.Now()).Abs() > 2*frame {
		t.Errorf("the recording ends %v from now", end.Sub(r.clock.Now()))
	}
}

func TestNewTracksBeginARunAndAreTold(t *testing.T) {
	r := newRig(t)
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer l.Close()
	s := r.publish(nil)
	c := r.camera(s)
	c.frames(50)
	if err := s.SetTracks(tracks()); err != nil {
		t.Fatal(err)
	}
	c.frames(25)
	other := tracks()
	other[0].Codec = &media.H264{SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc9}, PPS: []byte{0x68, 0xce, 0x3c, 0x80}}
	if err := s.SetTracks(other); err != nil {
		t.Fatal(err)
	}
	c.frames(25)
	s.Close(nil)
	var told []int
	n := 0
	for _, e := range drain(l) {
		if e.Fragment != nil || e.Sample.Track != 1 {
			continue
		}
		if e.Tracks != nil {
			told = append(told, n)
		}
		n++
	}
	if fmt.Sprint(told) != "[0 75]" {
		t.Errorf("tracks told with frames %v, want the first and the 75th", told)
	}
	samples, heads := r.recorded()
	if len(samples) != 200 {
		t.Errorf("%d samples, want 200", len(samples))
	}
	runs := map[uint32]bool{}
	for _, h := range heads {
		runs[h.Run] = true
	}
	if len(runs) != 2 {
		t.Errorf("%d runs, want 2: the same tracks again are no change", len(runs))
	}
}

func TestTheTimelineSaysWhyNothingCame(t *testing.T) {
	r := newRig(t)
	start := r.clock.Now()
	s := r.publish(nil)
	r.camera(s).frames(75)
	s.Close(streams.Ending{Cause: fragments.CauseConnectionLost, Detail: "connection reset"})
	r.clock.Add(20 * time.Second)
	s = r.publish(nil)
	r.camera(s).frames(75)
	s.Close(nil)
	line, err := r.hub.Log(r.st).Coverage(t.Context(), start, r.clock.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(line.Spans) != 2 {
		t.Errorf("%d spans, want 2", len(line.Spans))
	}
	if len(line.Gaps) != 1 || line.Gaps[0].Cause != fragments.CauseConnectionLost || line.Gaps[0].Detail != "connection reset" {
		t.Errorf("gaps %+v, want the lost connection", line.Gaps)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, listeners := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("%d listeners", listeners), func(b *testing.B) {
			r := newRig(b)
			var wg sync.WaitGroup
			ctx, cancel := context.WithCancel(context.Background())
			for range listeners {
				l := r.hub.Listen(r.st.ID, streams.ListenOptions{})
				defer l.Close()
				wg.Go(func() {
					for {
						if _, err := l.Next(ctx); err != nil {
							return
						}
					}
				})
			}
			s := r.publish(nil)
			data := make([]byte, 512)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := s.Write(media.Sample{Track: 1, DTS: int64(n) * frameTicks, Sync: n%50 == 0, Data: data}); err != nil {
					b.Fatal(err)
				}
				n++
				r.clock.Add(frame)
			}
			b.StopTimer()
			cancel()
			wg.Wait()
		})
	}
}

func TestRetentionComesToAStreamThatNobodyAsksFor(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	log := r.store.Log(r.st.ID, nil)
	f := &fragments.Fragment{Tracks: tracks()[1:], Ends: []int64{160}, Samples: []media.Sample{{Track: 2, Sync: true, Data: make([]byte, 160)}}}
	f.Start, f.End = r.clock.Now(), r.clock.Now().Add(time.Second)
	stored := make(chan error, 1)
	if err := log.Append(f, func(_ fragments.Head, err error) { stored <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	r.clock.Add(r.st.Retention + time.Minute)
	if _, ok := log.First(ctx); !ok {
		t.Fatal("it expired though nobody said what is kept")
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.hub.Run(over); err != nil {
		t.Fatal(err)
	}
	if h, ok := log.First(ctx); ok {
		t.Errorf("what ended at %v is still shown", h.End)
	}
}
