package streams_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/media"
	"penstock/streams"
)

func TestOneProducerAtATime(t *testing.T) {
	r := newRig(t)
	s := r.publish(nil)
	c := r.camera(s)
	c.frames(30)
	_, err := r.hub.Publish(t.Context(), r.st, streams.Producer{Remote: "198.51.100.1:1", Protocol: "whip"}, tracks(), nil)
	if !fault.Is(err, fault.InUse) || !strings.Contains(err.Error(), "rtsp from 192.0.2.9:5000") || !strings.Contains(err.Error(), "2026-01-02T03:04:05Z") {
		t.Fatalf("%v; want who holds it and since when", err)
	}
	r.clock.Add(streams.Silence)
	second, err := r.hub.Publish(t.Context(), r.st, streams.Producer{Remote: "198.51.100.1:1", Protocol: "whip"}, tracks(), nil)
	if err != nil {
		t.Fatalf("a dead producer was not replaced: %v", err)
	}
	defer second.Close(nil)
	select {
	case <-s.Done():
	default:
		t.Error("the replaced session is not done")
	}
	if err := c.frame(); !fault.Is(err, fault.InUse) {
		t.Errorf("the replaced producer writes: %v", err)
	}
	if err := s.Close(nil); err != nil {
		t.Error(err)
	}
	if st := r.hub.State(r.st.ID); st.Producer.Protocol != "whip" {
		t.Errorf("closing the replaced session hurt the new one: %+v", st)
	}
}

func TestTracksThatAreRefused(t *testing.T) {
	r := newRig(t)
	good := tracks()
	for name, list := range map[string][]media.Track{
		"none":         {},
		"no codec":     {{ID: 1, Timescale: 1}},
		"no timescale": {{ID: 1, Codec: good[0].Codec}},
		"no id":        {{Timescale: 1, Codec: good[0].Codec}},
		"one id twice": {good[0], good[0]},
		"too many":     make([]media.Track, streams.TracksMax+1),
	} {
		if _, err := r.hub.Publish(t.Context(), r.st, streams.Producer{}, list, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatComesBeforeAKeyFrameIsCounted(t *testing.T) {
	r := newRig(t)
	c := r.camera(r.publish(nil))
	c.n = 5 // in the middle of a GOP
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer l.Close()
	c.frames(20)
	if st := r.hub.State(r.st.ID); st.Status != streams.Connecting || st.Lost[streams.LostNoKeyFrame] != 20 || st.Reason != "waiting for the first key frame" {
		t.Errorf("%s %q %v", st.Status, st.Reason, st.Lost)
	}
	if got := drain(l); len(got) != 0 {
		t.Errorf("%d events before a key frame", len(got))
	}
	c.frames(1)
	if st := r.hub.State(r.st.ID); st.Status != streams.Live {
		t.Errorf("%s %q", st.Status, st.Reason)
	}
	if got := video(drain(l)); len(got) != 1 || text(got[0]) != "frame 000025" {
		t.Errorf("%d events", len(got))
	}
}

func TestACameraWithoutKeyFramesIsRecordedAllTheSame(t *testing.T) {
	r := newRig(t)
	c := r.camera(r.publish(nil))
	c.n, c.gop = 1, 1<<30
	c.frames(25 * 25)
	st := r.hub.State(r.st.ID)
	if st.Status != streams.Live || !strings.Contains(st.Reason, "no key frame") {
		t.Errorf("%s %q", st.Status, st.Reason)
	}
	cur, ok := r.hub.Current(r.st.ID)
	if !ok || len(cur.Samples) == 0 {
		t.Error("nothing is recorded")
	}
}

func TestSamplesThatCannotBeKeptAreCounted(t *testing.T) {
	r := newRig(t)
	s := r.publish(nil)
	r.camera(s).frames(1)
	if err := s.Write(media.Sample{Track: 9, Data: []byte("x")}); err != nil {
		t.Error(err)
	}
	if err := s.Write(media.Sample{Track: 1, DTS: 99999}); err != nil {
		t.Error(err)
	}
	s.Lost(1, 7)
	st := r.hub.State(r.st.ID)
	if st.Lost[streams.LostUnknown] != 1 || st.Lost[streams.LostDamaged] != 1 || st.Lost[streams.LostNetwork] != 7 || st.LostTotal() != 9 {
		t.Errorf("%v", st.Lost)
	}
	s.Close(nil)
	if n := r.hub.State(r.st.ID).Lost[streams.LostNetwork]; n != 7 {
		t.Errorf("after the end: %d lost", n)
	}
}

func TestSilenceIsSeenOnMediaNotOnTheSocket(t *testing.T) {
	r := newRig(t)
	runFor(t, r.hub.Run)
	sub := r.hub.Subscribe()
	defer sub.Close()
	c := r.camera(r.publish(nil))
	c.frames(30)
	if st := r.hub.State(r.st.ID); st.Status != streams.Live || st.Reason != "" {
		t.Fatalf("%s %q", st.Status, st.Reason)
	}
	r.clock.Add(12 * time.Second)
	soon(t, "a subscriber hears that media stopped", func() bool {
		st, err := sub.Next(t.Context())
		return err == nil && st.Status == streams.Connecting && strings.HasPrefix(st.Reason, "no media for 12 s")
	})
	soon(t, "the open fragment was closed", func() bool {
		cur, _ := r.hub.Current(r.st.ID)
		return len(cur.Samples) == 0
	})
	c.frames(1)
	if st := r.hub.State(r.st.ID); st.Status != streams.Live {
		t.Errorf("after media came back: %s %q", st.Status, st.Reason)
	}
}

func TestThePullersWordShowsWhileNobodyProduces(t *testing.T) {
	r := newRig(t)
	if st := r.hub.State(r.st.ID); st.Status != streams.Idle {
		t.Errorf("at first: %s", st.Status)
	}
	r.hub.SetState(r.st.ID, streams.DeniedBy, "the camera answered 401; check user and password")
	if st := r.hub.State(r.st.ID); st.Status != streams.DeniedBy || !strings.Contains(st.Reason, "401") {
		t.Errorf("%s %q", st.Status, st.Reason)
	}
	s := r.publish(nil)
	if st := r.hub.State(r.st.ID); st.Status != streams.Connecting {
		t.Errorf("%s %q", st.Status, st.Reason)
	}
	r.camera(s).frames(1)
	s.Close(streams.Ending{Cause: fragments.CauseConnectionLost, Detail: "read: connection reset"})
	if st := r.hub.State(r.st.ID); st.Status != streams.Idle || !strings.Contains(st.Reason, "connection reset") || st.Tracks != nil {
		t.Errorf("%s %q", st.Status, st.Reason)
	}
}

func TestFigures(t *testing.T) {
	r := newRig(t)
	s := r.publish(nil)
	c := r.camera(s)
	c.bytes = 5000
	c.frames(25 * 8)
	if err := s.Write(media.Sample{Track: 1, DTS: int64(c.n) * frameTicks, Data: []byte("x"), Wall: r.clock.Now().Add(-3 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	st := r.hub.State(r.st.ID)
	if st.FPS < 24 || st.FPS > 26 {
		t.Errorf("fps %v", st.FPS)
	}
	if want := float64((5000 + 320) * 25 * 8); st.Bitrate < 0.95*want || st.Bitrate > 1.05*want {
		t.Errorf("bit rate %v, want about %v", st.Bitrate, want)
	}
	if st.KeyInterval != time.Second {
		t.Errorf("key interval %v", st.KeyInterval)
	}
	if !st.HasClock || st.ClockOffset != -3*time.Second {
		t.Errorf("clock offset %v", st.ClockOffset)
	}
	if len(st.Tracks) != 2 || st.Producer.Remote != "192.0.2.9:5000" {
		t.Errorf("%+v", st)
	}
	r.clock.Add(4 * time.Second)
	if st := r.hub.State(r.st.ID); st.Bitrate != 0 {
		t.Errorf("bit rate without media: %v", st.Bitrate)
	}
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			values[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if values["penstock_streams_received_samples_total"] != 401 || values["penstock_streams_live"] != 1 {
		t.Errorf("metrics %v", values)
	}
}

func TestDeletingAStreamEndsItsProducerAndListeners(t *testing.T) {
	r := newRig(t)
	runFor(t, r.cat.Run)
	s := r.publish(nil)
	c := r.camera(s)
	c.frames(30)
	l := r.hub.Listen(r.st.ID, streams.ListenOptions{From: streams.LiveNextSync})
	defer l.Close()
	if err := r.cat.Delete(t.Context(), account, r.st.Name); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := c.frame(); err == nil {
		t.Error("the producer still writes")
	}
	for {
		e, err := l.Next(t.Context())
		if err == nil && e.Fragment != nil {
			continue // the end of the last fragment
		}
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("listener: %v", err)
		}
		break
	}
	if _, err := r.hub.Publish(t.Context(), r.st, streams.Producer{}, tracks(), nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("publish: %v", err)
	}
	gone := r.hub.Listen(r.st.ID, streams.ListenOptions{})
	defer gone.Close()
	if _, err := gone.Next(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("listen: %v", err)
	}
}

func TestTheHubsEndFlushesAndRefuses(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.hub.Run(ctx) }()
	s := r.publish(nil)
	r.camera(s).frames(30)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-s.Done()
	var e streams.Ending
	if !errors.As(s.Err(), &e) || e.Cause != fragments.CauseServerStopped {
		t.Errorf("%v", s.Err())
	}
	if _, err := r.hub.Publish(t.Context(), r.st, streams.Producer{}, tracks(), nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestEverythingAtOnce(t *testing.T) {
	r := newRig(t)
	runFor(t, r.hub.Run)
	runFor(t, r.cat.Run)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		st := create(t, r.cat, fmt.Sprint("cam-", i))
		wg.Go(func() {
			for {
				s, err := r.hub.Publish(context.Background(), st, streams.Producer{Protocol: "test"}, tracks(), nil)
				if err != nil {
					return
				}
				c := r.camera(s)
				for range 40 {
					c.frame()
				}
				s.Close(nil)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		wg.Go(func() {
			for {
				l := r.hub.Listen(st.ID, streams.ListenOptions{Bytes: 3000})
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
				for {
					if _, err := l.Next(ctx); err != nil {
						break
					}
				}
				cancel()
				l.Close()
				r.hub.State(st.ID)
				r.hub.Current(st.ID)
				r.reg.Gather()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	time.AfterFunc(300*time.Millisecond, func() { close(stop) })
	wg.Wait()
}
