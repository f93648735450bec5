package rtpin

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"penstock/internal/fault"
	"penstock/media"
)

// lossy sends pictures of three FU-A packets each, without the packets that drop names,
// and returns what came out.
func lossy(t *testing.T, drop ...int) (*Receiver, *box) {
	r, b := receiver(t, 0, mediaOf(h264Format()))
	for i := range 30 {
		skip := false
		for _, d := range drop {
			skip = skip || i == d
		}
		if skip {
			continue
		}
		fu := [][]byte{{0x5c, 0x81, 0x88}, {0x5c, 0x01, 1}, {0x5c, 0x41, 2}}[i%3]
		if err := r.Packet(0, raw(96, i%3 == 2, uint16(65530+i), uint32(i/3*3600), fu...), epoch); err != nil {
			t.Fatal(err)
		}
	}
	return r, b
}

func TestDamagedPicturesAreDroppedAndCounted(t *testing.T) {
	for _, c := range []struct {
		name             string
		drop             []int
		samples, damaged int
		lost             int
	}{
		{"nothing is lost", nil, 10, 0, 0},
		{"the first fragment", []int{9}, 9, 1, 1},
		{"a middle fragment", []int{10}, 9, 1, 1},
		{"the last fragment", []int{11}, 9, 1, 1},
		{"a whole picture", []int{9, 10, 11}, 9, 0, 3},
		{"the end of one and the beginning of the next", []int{11, 12}, 8, 2, 2},
		{"far apart", []int{4, 22}, 8, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, b := lossy(t, c.drop...)
			st := r.Stats()
			if len(b.samples) != c.samples || int(st.Damaged) != c.damaged || b.lost != c.lost {
				t.Errorf("%d samples, %d damaged, %d lost: want %d, %d, %d", len(b.samples), st.Damaged, b.lost,
					c.samples, c.damaged, c.lost)
			}
			for _, s := range b.samples {
				if !bytes.Equal(s.Data, au([]byte{0x41, 0x88, 1, 2})) {
					t.Errorf("picture %x", s.Data)
				}
			}
		})
	}
}

func TestParameterSetsInBandAreWaitedFor(t *testing.T) {
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	r, b := receiver(t, 0, mediaOf(f))
	seq := uint16(0)
	send := func(ts uint32, nals ...[]byte) error {
		for i, n := range nals {
			if err := r.Packet(0, raw(96, i == len(nals)-1, seq, ts, n...), epoch); err != nil {
				return err
			}
			seq++
		}
		return nil
	}
	_ = send(0, slice(0x41, 50, 1))
	if r.Opened() || r.Stats().NoConfig != 1 {
		t.Fatalf("opened without parameter sets: %+v", r.Stats())
	}
	_ = send(3600, testSPS, testPPS, slice(0x65, 50, 2))
	if !r.Opened() || len(b.samples) != 1 || !b.samples[0].Sync {
		t.Fatalf("opened %v with %d samples", r.Opened(), len(b.samples))
	}
	other := bytes.Clone(testPPS)
	other[2] ^= 4
	_ = send(7200, testSPS, other, slice(0x65, 50, 3))
	_ = send(10800, testSPS, other, slice(0x65, 50, 4))
	if len(b.tracks) != 2 || !bytes.Equal(b.tracks[1][0].Codec.(*media.H264).PPS, other) {
		t.Fatalf("new parameter sets: tracks were set %d times", len(b.tracks))
	}
}

func TestTheWaitForParameterSetsEnds(t *testing.T) {
	r, _ := receiver(t, 0, mediaOf(&format.H264{PayloadTyp: 96, PacketizationMode: 1}))
	if err := r.Packet(0, raw(96, true, 1, 0, slice(0x41, 50, 1)...), epoch); err != nil {
		t.Fatal(err)
	}
	err := r.Packet(0, raw(96, true, 2, 0, slice(0x41, 50, 1)...), epoch.Add(WaitTime+time.Second))
	if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Fatalf("err = %v, hint %q", err, fault.HintOf(err))
	}
}

func TestParameterSetsWithTheirOwnMarkerBelongToTheNextPicture(t *testing.T) {
	r, b := receiver(t, 0, mediaOf(h264Format()))
	for i, n := range [][]byte{testSPS, testPPS, slice(0x65, 40, 1)} {
		_ = r.Packet(0, raw(96, true, uint16(i), 100, n...), epoch)
	}
	if len(b.samples) != 1 || !bytes.Equal(b.samples[0].Data, au(testSPS, testPPS, slice(0x65, 40, 1))) {
		t.Fatalf("%d samples", len(b.samples))
	}
}

func TestPicturesWithoutMarkersEndAtTheNextTimestamp(t *testing.T) {
	r, b := receiver(t, 0, mediaOf(h264Format()))
	for i := range 5 {
		_ = r.Packet(0, raw(96, false, uint16(i), uint32(i/2)*3600, slice(0x41, 40, byte(i))...), epoch)
	}
	if len(b.samples) != 2 {
		t.Fatalf("%d samples before the end", len(b.samples))
	}
	r.Close()
	if len(b.samples) != 3 {
		t.Fatalf("%d samples after it", len(b.samples))
	}
}

func TestReordering(t *testing.T) {
	send := func(order ...int) (*Receiver, *box) {
		r, b := receiver(t, 16, mediaOf(h264Format()))
		for n, i := range order {
			_ = r.Packet(0, raw(96, true, uint16(65534+i), uint32(i)*3600, slice(0x41, 40, byte(i))...),
				epoch.Add(time.Duration(n)*time.Millisecond))
		}
		r.Close()
		return r, b
	}
	for _, c := range []struct {
		name  string
		order []int
		want  int
		late  int
	}{
		{"in order", []int{0, 1, 2, 3}, 4, 0},
		{"two swapped", []int{0, 2, 1, 3}, 4, 0},
		{"one long delayed", []int{0, 2, 3, 4, 5, 6, 1, 7}, 8, 0},
		{"one lost", []int{0, 2, 3, 4, 5}, 5, 0},
		{"one twice", []int{0, 1, 1, 2}, 3, 1},
		{"one too late", []int{0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 1}, 18, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, b := send(c.order...)
			if len(b.samples) != c.want || int(r.Stats().Late) != c.late {
				t.Fatalf("%d samples, %d late, want %d, %d", len(b.samples), r.Stats().Late, c.want, c.late)
			}
			for i := 1; i < len(b.samples); i++ {
				if b.samples[i].DTS <= b.samples[i-1].DTS {
					t.Fatal("not in order")
				}
			}
		})
	}
}

func TestALostPacketIsGivenUpAfterATime(t *testing.T) {
	r, b := receiver(t, 64, mediaOf(h264Format()))
	for i, at := range []int{0, 2, 3} {
		_ = r.Packet(0, raw(96, true, uint16(at), uint32(at)*3600, slice(0x41, 40, 1)...), epoch.Add(time.Duration(i)*60*time.Millisecond))
	}
	_ = r.Packet(0, raw(96, true, 4, 4*3600, slice(0x41, 40, 1)...), epoch.Add(250*time.Millisecond))
	if len(b.samples) != 4 || b.lost != 1 {
		t.Fatalf("%d samples, %d lost", len(b.samples), b.lost)
	}
}

func TestSinkErrors(t *testing.T) {
	r, b := receiver(t, 0, mediaOf(h264Format()))
	b.err = fault.New(fault.Throttled, "append", "", "storage is behind")
	if err := r.Packet(0, raw(96, true, 0, 0, slice(0x65, 40, 1)...), epoch); err != nil || r.Stats().Refused != 1 {
		t.Fatalf("a throttled sink ended the session: %v", err)
	}
	b.err = errors.New("replaced")
	if err := r.Packet(0, raw(96, true, 1, 3600, slice(0x65, 40, 1)...), epoch); !errors.Is(err, b.err) {
		t.Fatalf("err = %v", err)
	}
	if err := r.Packet(0, raw(96, true, 2, 3600, slice(0x65, 40, 1)...), epoch); !errors.Is(err, b.err) {
		t.Fatalf("err = %v", err)
	}
}

func TestUnitsPastTheLimitAreDropped(t *testing.T) {
	r, b := receiver(t, 0, mediaOf(h264Format()))
	p := append([]byte{0x5c, 0x81, 0x88}, make([]byte, 60_000)...)
	for i := range UnitMax/60_000 + 10 {
		_ = r.Packet(0, raw(96, false, uint16(i), 0, p...), epoch)
		p[1] = 0x01
	}
	_ = r.Packet(0, raw(96, true, uint16(UnitMax/60_000+10), 3600, slice(0x65, 40, 1)...), epoch)
	if len(b.samples) != 1 || r.Stats().TooBig != 1 {
		t.Fatalf("%d samples, %+v", len(b.samples), r.Stats())
	}
}

func TestNothingToRecord(t *testing.T) {
	err := Check([]*description.Media{mediaOf(&format.KLV{PayloadTyp: 96})})
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("err = %v", err)
	}
}
