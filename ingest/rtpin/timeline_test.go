package rtpin

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
)

// report is a sender report as bytes.
func report(at time.Time, ts uint32) []byte {
	sec := uint64(at.Unix() - ntpEpoch)
	b, err := (&rtcp.SenderReport{SSRC: 0xcafe, NTPTime: sec<<32 | uint64(at.Nanosecond())<<32/1e9, RTPTime: ts}).Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func avReceiver(t *testing.T) (*Receiver, *box) {
	return receiver(t, 0, mediaOf(h264Format()), mediaOf(&format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}))
}

func TestTracksAreAlignedByArrivalWithoutReports(t *testing.T) {
	r, b := avReceiver(t)
	_ = r.Packet(0, raw(96, true, 0, 1000, slice(0x65, 40, 1)...), epoch)
	_ = r.Packet(1, raw(8, true, 0, 77777, 1, 2), epoch.Add(500*time.Millisecond))
	if v, a := b.of(1)[0], b.of(2)[0]; v.DTS != 0 || a.DTS != 4000 || !a.Wall.IsZero() {
		t.Fatalf("video at %d, audio at %d", v.DTS, a.DTS)
	}
}

func TestTracksAreAlignedByReports(t *testing.T) {
	r, b := avReceiver(t)
	camera := epoch.Add(42 * time.Hour)
	r.Report(0, report(camera, 1000), epoch)
	r.Report(1, report(camera.Add(-time.Second), 80000), epoch)
	_ = r.Packet(0, raw(96, true, 0, 1000+90000, slice(0x65, 40, 1)...), epoch) // camera + 1 s
	_ = r.Packet(1, raw(8, true, 0, 80000+16000, 1, 2), epoch)                  // camera + 1 s
	_ = r.Packet(1, raw(8, true, 1, 80000+16000+160, 1, 2), epoch)
	v, a := b.of(1)[0], b.of(2)
	if v.DTS != 0 || a[0].DTS != 0 || a[1].DTS != 160 {
		t.Fatalf("video at %d, audio at %d and %d", v.DTS, a[0].DTS, a[1].DTS)
	}
	for i, w := range []time.Time{v.Wall, a[0].Wall} {
		if d := w.Sub(camera.Add(time.Second)); d > time.Millisecond || d < -time.Millisecond {
			t.Errorf("wall clock %d is off by %v", i, d)
		}
	}
}

// TestLateReportsTurnTheTracksSlowly: the first estimate by arrival was 200 ms off.
func TestLateReportsTurnTheTracksSlowly(t *testing.T) {
	r, b := avReceiver(t)
	_ = r.Packet(0, raw(96, true, 0, 0, slice(0x65, 40, 1)...), epoch)
	for i := range 6000 {
		at := epoch.Add(200*time.Millisecond + time.Duration(i)*20*time.Millisecond)
		_ = r.Packet(1, raw(8, true, uint16(i), uint32(i*160), 1, 2), at)
		if i >= 100 && i < 100+100*reportsAgree && i%100 == 0 {
			r.Report(0, report(epoch, 0), at)
			r.Report(1, report(epoch, 0), at) // sound began with the picture, not 200 ms later
		}
	}
	a := b.of(2)
	if a[0].DTS != 1600 {
		t.Fatalf("audio begins at %d", a[0].DTS)
	}
	last := 100 * reportsAgree // the report that makes them enough comes after this sample
	if off := a[last].DTS - int64(last*160); off != 1600 {
		t.Fatalf("%d reports moved the audio to %d", reportsAgree-1, off)
	}
	for i := 1; i < len(a); i++ {
		if d := a[i].DTS - a[i-1].DTS; d < 159 || d > 161 {
			t.Fatalf("a step of %d ticks", d)
		}
	}
	if off := a[5999].DTS - 5999*160; off != 0 {
		t.Fatalf("still %d ticks off after two minutes", off)
	}
}

// told is a camera whose sound was late by apart when it began, and whose reports, one of
// each track every 5 s, are off by what noise says. Its sound's clock runs fast by ppm.
type told struct {
	apart time.Duration
	noise func() time.Duration
	ppm   int64
}

// after is how far sound lies from the picture, each second for a while.
func (c told) after(t *testing.T, seconds int) []time.Duration {
	r, b := avReceiver(t)
	const step = 200 // milliseconds between packets of sound
	sound := func(at time.Duration) uint32 {
		return uint32(int64(at/time.Microsecond) * (1_000_000 + c.ppm) / 125 / 1_000_000)
	}
	for i := range seconds * 1000 / step {
		media := time.Duration(i) * step * time.Millisecond
		at := epoch.Add(media)
		if i%5 == 0 {
			_ = r.Packet(0, raw(96, true, uint16(i/5), uint32(media/time.Millisecond)*90, slice(0x65, 40, 1)...), at)
		}
		_ = r.Packet(1, raw(8, true, uint16(i), sound(media), 1, 2), at.Add(c.apart))
		if i%25 == 24 {
			r.Report(0, report(at.Add(c.noise()), uint32(media/time.Millisecond)*90), at.Add(c.apart))
			r.Report(1, report(at.Add(c.noise()), sound(media)), at.Add(c.apart))
		}
	}
	var out []time.Duration
	for i, s := range b.of(2) {
		if i%5 == 0 {
			out = append(out, time.Duration(s.DTS)*time.Second/8000-time.Duration(i)*step*time.Millisecond)
		}
	}
	return out
}

// most is the farthest of all from one on.
func most(all []time.Duration, from int) (far time.Duration) {
	for _, d := range all[from:] {
		far = max(far, d.Abs())
	}
	return far
}

func TestReportsAreBelievedWhereTheyAgree(t *testing.T) {
	const ms = time.Millisecond
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		exact := func() time.Duration { return 0 }
		noisy := func() time.Duration { return time.Duration(rng.Int64N(int64(80*ms))) - 40*ms }
		late := func() time.Duration { // what a sender says that waits for its turn
			if rng.IntN(4) == 0 {
				return time.Duration(rng.Int64N(int64(2 * time.Second)))
			}
			return time.Duration(rng.Int64N(int64(5 * ms)))
		}
		for _, c := range []struct {
			what    string
			camera  told
			seconds int
			from    int // the second from which on the bound holds
			bound   time.Duration
		}{
			{"exact reports that leave it", told{15 * ms, exact, 0}, 600, 0, 15 * ms},
			{"reports off by up to 40 ms either way", told{0, noisy, 0}, 1800, 0, 50 * ms},
			{"late reports", told{0, late, 0}, 1800, 0, 0},
			{"exact reports, tracks apart", told{300 * ms, exact, 0}, 600, 5*reportsAgree + 60, alignMin},
			{"noisy reports, tracks apart", told{300 * ms, noisy, 0}, 600, 5*reportsAgree + 60, 50 * ms},
			{"late reports, tracks apart", told{300 * ms, late, 0}, 600, 120, 30 * ms},
			{"exact reports, a clock that drifts", told{0, exact, 50}, 5400, 0, alignMin + 5*ms},
			{"noisy reports, a clock that drifts", told{0, noisy, 50}, 5400, 0, 100 * ms},
			{"late reports, a clock that drifts the other way", told{0, late, -50}, 5400, 0, alignMin + 15*ms},
		} {
			if far := most(c.camera.after(t, c.seconds), c.from); far > c.bound {
				t.Errorf("%s (%d): sound and picture are %v apart, want at most %v", c.what, seed, far, c.bound)
			}
		}
	}
}

func TestReportsOfDifferentClocksAreNotBelieved(t *testing.T) {
	r, b := avReceiver(t)
	r.Report(0, report(epoch, 0), epoch)
	r.Report(1, report(epoch.Add(time.Hour), 0), epoch)
	_ = r.Packet(0, raw(96, true, 0, 0, slice(0x65, 40, 1)...), epoch)
	_ = r.Packet(1, raw(8, true, 0, 0, 1, 2), epoch)
	if a := b.of(2)[0]; a.DTS != 0 {
		t.Fatalf("audio at %d", a.DTS)
	}
}

func TestJumpsArePassedOnAndEndTheWallClock(t *testing.T) {
	r, b := avReceiver(t)
	r.Report(0, report(epoch, 0), epoch)
	_ = r.Packet(0, raw(96, true, 0, 0, slice(0x65, 40, 1)...), epoch)
	_ = r.Packet(0, raw(96, true, 1, 3600*90000, slice(0x65, 40, 1)...), epoch)
	if s := b.samples[1]; s.DTS != 3600*90000 || !s.Wall.IsZero() {
		t.Fatalf("dts %d, wall %v", s.DTS, s.Wall)
	}
}

// TestMediaTimeIsNeverNegative: MP4 cannot say it, and pictures are decoded before they
// are shown.
func TestMediaTimeIsNeverNegative(t *testing.T) {
	l := timeline{clock: 90000}
	r := &Receiver{start: epoch}
	pts, _ := l.at(0, epoch, r)
	order := dtsOrder{depth: reorderMax, step: 90000}
	if dts := order.next(pts); dts < 0 || l.ticks(alignMax) > dts {
		t.Errorf("the first of %d pictures a second apart is decoded at %d", reorderMax, dts)
	}
}

func TestDTSOfReorderedPictures(t *testing.T) {
	for name, c := range map[string]struct {
		depth int
		pts   []int64
		dts   []int64
	}{
		"none":                    {0, []int64{0, 1, 2}, []int64{0, 1, 2}},
		"one B picture":           {1, []int64{0, 2, 1, 4, 3}, []int64{-1, 0, 1, 2, 3}},
		"a pyramid":               {2, []int64{0, 4, 2, 1, 3, 8, 6, 5, 7}, []int64{-2, -1, 0, 1, 2, 3, 4, 5, 6}},
		"allowed, but not used":   {2, []int64{0, 1, 2, 3}, []int64{-2, -1, 0, 1}},
		"a picture is lost":       {1, []int64{0, 2, 4, 3, 6, 5}, []int64{-1, 0, 2, 3, 4, 5}},
		"a jump of the timestamp": {1, []int64{0, 2, 1, 5002, 5001}, []int64{-1, 0, 1, 5001, 5001}},
	} {
		t.Run(name, func(t *testing.T) {
			o := dtsOrder{depth: c.depth, step: 1}
			for i, pts := range c.pts {
				if dts := o.next(pts); dts != c.dts[i] {
					t.Errorf("picture %d shown at %d: decoded at %d, want %d", i, pts, dts, c.dts[i])
				}
			}
		})
	}
}
