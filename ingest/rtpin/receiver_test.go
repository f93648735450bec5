package rtpin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"penstock/internal/fault"
	"penstock/media"
)

// Parameter sets of x264 (main, 1920x1080, reorder depth 0) and x265.
var (
	testSPS = []byte{0x67, 0x42, 0xc0, 0x28, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04,
		0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc9, 0x20}
	testPPS  = []byte{0x68, 0xcb, 0x8c, 0xb2}
	testVPS5 = []byte{0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03,
		0x00, 0x00, 0x03, 0x00, 0x78, 0x99, 0x98, 0x09}
	testSPS5 = []byte{0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
		0x00, 0x78, 0xa0, 0x03, 0xc0, 0x80, 0x10, 0xe5, 0x96, 0x66, 0x69, 0x24, 0xca, 0xe0, 0x10, 0x00, 0x00, 0x03,
		0x00, 0x10, 0x00, 0x00, 0x03, 0x01, 0xe0, 0x80}
	testPPS5 = []byte{0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40}
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// box is a Sink that keeps everything.
type box struct {
	tracks  [][]media.Track
	samples []media.Sample
	lost    int
	err     error
}

func (b *box) Write(s media.Sample) error {
	if b.err != nil {
		return b.err
	}
	for _, t := range b.tracks[len(b.tracks)-1] { // tests count from the first packet
		if t.ID == s.Track {
			s.DTS -= t.Ticks(mediaStart)
		}
	}
	b.samples = append(b.samples, s)
	return nil
}
func (b *box) SetTracks(t []media.Track) error    { b.tracks = append(b.tracks, t); return nil }
func (b *box) Lost(_ media.TrackID, n int)        { b.lost += n }
func (b *box) open(t []media.Track) (Sink, error) { b.tracks = append(b.tracks, t); return b, nil }
func (b *box) of(id media.TrackID) []media.Sample {
	var out []media.Sample
	for _, s := range b.samples {
		if s.Track == id {
			out = append(out, s)
		}
	}
	return out
}

func mediaOf(f ...format.Format) *description.Media {
	return &description.Media{Type: description.MediaTypeVideo, Formats: f}
}

func receiver(t testing.TB, reorder int, medias ...*description.Media) (*Receiver, *box) {
	t.Helper()
	b := &box{}
	r, err := New(Config{Medias: medias, Open: b.open, Reorder: reorder})
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

// raw is one packet by hand.
func raw(pt uint8, marker bool, seq uint16, ts uint32, payload ...byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, pt
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], 0xcafe)
	return append(b, payload...)
}

// feed gives packets that an encoder made, at their timestamp ts.
func feed(t testing.TB, r *Receiver, index int, ts uint32, arrival time.Time, packets []*rtp.Packet) {
	t.Helper()
	for _, p := range packets {
		p.Timestamp += ts
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Packet(index, b, arrival); err != nil {
			t.Fatal(err)
		}
	}
}

// slice is a NAL unit of n bytes with the first bits of a slice header: first of its picture.
func slice(typ byte, n int, fill byte) []byte {
	b := bytes.Repeat([]byte{fill}, n)
	b[0], b[1] = typ, 0x88
	return b
}

func au(nals ...[]byte) []byte {
	var b []byte
	for _, n := range nals {
		b = media.AppendNAL(b, n)
	}
	return b
}

func h264Format() *format.H264 {
	return &format.H264{PayloadTyp: 96, SPS: testSPS, PPS: testPPS, PacketizationMode: 1}
}

func TestH264PicturesComeOutAsTheyWentIn(t *testing.T) {
	f := h264Format()
	r, b := receiver(t, 0, mediaOf(f))
	e, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for i := range 60 {
		nals := [][]byte{slice(0x41, 20+i*300, byte(i))}
		switch {
		case i%25 == 0: // parameter sets in one packet, a large IDR in fragments
			nals = [][]byte{testSPS, testPPS, slice(0x65, 90_000, byte(i))}
		case i%7 == 0: // two slices and an SEI
			nals = [][]byte{{6, 5, 1, 2, 3}, slice(0x41, 30, 1), slice(0x41, 5000, 2)}
		}
		packets, err := e.Encode(nals)
		if err != nil {
			t.Fatal(err)
		}
		feed(t, r, 0, uint32(i*3600)-7200, epoch.Add(time.Duration(i)*40*time.Millisecond), packets) // wraps at once
		want = append(want, au(nals...))
	}
	if len(b.samples) != len(want) {
		t.Fatalf("%d samples, want %d: %+v", len(b.samples), len(want), r.Stats())
	}
	for i, s := range b.samples {
		if !bytes.Equal(s.Data, want[i]) {
			t.Fatalf("picture %d: %d bytes, want %d", i, len(s.Data), len(want[i]))
		}
		if s.DTS != int64(i*3600) || s.CTO != 0 || s.Sync != (i%25 == 0) {
			t.Fatalf("picture %d: dts %d cto %d sync %v", i, s.DTS, s.CTO, s.Sync)
		}
	}
	if len(b.tracks) != 1 {
		t.Errorf("the tracks were set %d times", len(b.tracks))
	}
	c := b.tracks[0][0].Codec.(*media.H264)
	if !bytes.Equal(c.SPS, testSPS) || !bytes.Equal(c.PPS, testPPS) {
		t.Error("the codec is not what the SDP said")
	}
}

// queue is packets at hand, as a connection that read them together has them.
type queue struct{ packets [][]byte }

func (q *queue) ahead(_, at int) ([]byte, int) {
	if at >= len(q.packets) {
		return nil, at
	}
	return q.packets[at], at + 1
}

func TestAUnitAtHandComesOutAsItWentIn(t *testing.T) {
	for name, marker := range map[string]bool{"with its marker": true, "with the next one's packets": false} {
		t.Run(name, func(t *testing.T) {
			f := h264Format()
			q, b := &queue{}, &box{}
			r, err := New(Config{Medias: []*description.Media{mediaOf(f)}, Open: b.open, Ahead: q.ahead})
			if err != nil {
				t.Fatal(err)
			}
			e, err := f.CreateEncoder()
			if err != nil {
				t.Fatal(err)
			}
			var all [][]byte
			var want [][]byte
			for i := range 10 {
				nals := [][]byte{{6, 5, 1, 2, 3}, slice(0x41, 9000+i, byte(i)), slice(0x41, 800, 1)}
				packets, err := e.Encode(nals)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range packets {
					p.Timestamp += uint32(i * 3600)
					p.Marker = p.Marker && marker
					raw, err := p.Marshal()
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, raw)
				}
				want = append(want, au(nals...))
			}
			for i, p := range all {
				q.packets = all[i+1:]
				if err := r.Packet(0, p, epoch.Add(time.Duration(i)*time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
			r.Close()
			if len(b.samples) != len(want) {
				t.Fatalf("%d samples, want %d: %+v", len(b.samples), len(want), r.Stats())
			}
			for i, s := range b.samples {
				if !bytes.Equal(s.Data, want[i]) {
					t.Fatalf("picture %d: %d bytes, want %d", i, len(s.Data), len(want[i]))
				}
			}
		})
	}
}

func TestAUnitIsMeasuredOnlyWhole(t *testing.T) {
	q := &queue{}
	r, err := New(Config{Medias: []*description.Media{mediaOf(h264Format())}, Open: (&box{}).open, Ahead: q.ahead})
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{t: r.tracks[0]}
	b.t.size = 1000 // of the first packet
	more := make([]byte, 500)
	for name, c := range map[string]struct {
		first header
		next  [][]byte
		want  int
	}{
		"one packet is all":           {header{ts: 7, marker: true}, [][]byte{raw(96, true, 2, 8, more...)}, 1004},
		"the marker ends it":          {header{ts: 7}, [][]byte{raw(96, false, 2, 7, more...), raw(96, true, 3, 7, more...), raw(96, true, 4, 7, more...)}, 2012},
		"the next timestamp ends it":  {header{ts: 7}, [][]byte{raw(96, false, 2, 7, more...), raw(96, false, 3, 8, more...)}, 1508},
		"other payload types are not": {header{ts: 7}, [][]byte{raw(97, true, 2, 7, more...), raw(96, true, 3, 7, more...)}, 1508},
		"garbage is not":              {header{ts: 7}, [][]byte{{1}, raw(96, true, 3, 7, more...)}, 1508},
		"its end did not come":        {header{ts: 7}, [][]byte{raw(96, false, 2, 7, more...)}, 0},
		"nothing else came":           {header{ts: 7}, nil, 0},
	} {
		q.packets = c.next
		if got := b.room(c.first); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
}

func TestH265PicturesComeOutAsTheyWentIn(t *testing.T) {
	f := &format.H265{PayloadTyp: 96, VPS: testVPS5, SPS: testSPS5, PPS: testPPS5}
	r, b := receiver(t, 0, mediaOf(f))
	e, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for i := range 40 {
		p := slice(0x02, 100+i*500, byte(i))
		nals := [][]byte{p}
		p[1], p[2] = 1, 0x80
		if i%20 == 0 {
			k := slice(0x26, 50_000, byte(i))
			k[1], k[2] = 1, 0x80
			nals = [][]byte{testVPS5, testSPS5, testPPS5, k}
		}
		packets, err := e.Encode(nals)
		if err != nil {
			t.Fatal(err)
		}
		feed(t, r, 0, uint32(i*3600), epoch, packets)
		want = append(want, au(nals...))
	}
	if len(b.samples) != len(want) {
		t.Fatalf("%d samples, want %d: %+v", len(b.samples), len(want), r.Stats())
	}
	for i, s := range b.samples {
		if !bytes.Equal(s.Data, want[i]) || s.Sync != (i%20 == 0) {
			t.Fatalf("picture %d differs, sync %v", i, s.Sync)
		}
	}
}

func TestSoundComesOutAsItWentIn(t *testing.T) {
	aac := &format.MPEG4Audio{PayloadTyp: 97, Config: &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC,
		SampleRate: 48000, ChannelCount: 2}, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	opus := &format.Opus{PayloadTyp: 98, ChannelCount: 2}
	law := &format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}
	r, b := receiver(t, 0, mediaOf(aac), mediaOf(opus), mediaOf(law))
	e, err := aac.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for i := range 5 {
		frames = append(frames, bytes.Repeat([]byte{byte(i + 1)}, 100+i))
	}
	frames = append(frames, bytes.Repeat([]byte{9}, 4000)) // larger than a packet
	packets, err := e.Encode(frames)
	if err != nil {
		t.Fatal(err)
	}
	feed(t, r, 0, 0, epoch, packets)
	for i := range 3 {
		if err := r.Packet(1, raw(98, true, uint16(i), uint32(i*960), 0xfc, byte(i)), epoch); err != nil {
			t.Fatal(err)
		}
		if err := r.Packet(2, raw(8, false, uint16(i), uint32(i*160), bytes.Repeat([]byte{byte(i)}, 160)...), epoch); err != nil {
			t.Fatal(err)
		}
	}
	got := b.of(1)
	if len(got) != len(frames) {
		t.Fatalf("%d AAC frames, want %d: %+v", len(got), len(frames), r.Stats())
	}
	for i, s := range got {
		if !bytes.Equal(s.Data, frames[i]) || s.DTS != int64(i)*1024 || !s.Sync {
			t.Errorf("AAC frame %d: %d bytes at %d", i, len(s.Data), s.DTS)
		}
	}
	for id, step := range map[media.TrackID]int64{2: 960, 3: 160} {
		got := b.of(id)
		if len(got) != 3 || got[2].DTS != 2*step {
			t.Errorf("track %d: %d samples", id, len(got))
		}
	}
}

func TestLATMFramesAreToldByLength(t *testing.T) {
	long := append([]byte{255, 255, 2}, bytes.Repeat([]byte{7}, 512)...)
	if au, ok := plainElement(long); !ok || len(au) != 512 {
		t.Errorf("512 bytes: %d, %v", len(au), ok)
	}
	for _, bad := range [][]byte{nil, {0}, {2, 1}, {1, 1, 1}, {255}, {255, 255}} {
		if _, ok := plainElement(bad); ok {
			t.Errorf("% x is a frame", bad)
		}
	}
}

func TestADTSHeadersAreRemoved(t *testing.T) {
	frame := []byte{0xff, 0xf1, 0x50, 0x80, 0x01, 0x7f, 0xfc, 1, 2, 3, 4}
	if got := stripADTS(frame); !bytes.Equal(got, []byte{1, 2, 3, 4}) {
		t.Errorf("got %x", got)
	}
	if got := stripADTS(frame[:10]); len(got) != 10 {
		t.Error("a frame whose length does not fit was cut")
	}
}

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
