package rtpin

import (
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
		if i == 100 {
			r.Report(0, report(epoch, 0), at)
			r.Report(1, report(epoch, 0), at) // sound began with the picture, not 200 ms later
		}
	}
	a := b.of(2)
	if a[0].DTS != 1600 {
		t.Fatalf("audio begins at %d", a[0].DTS)
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
