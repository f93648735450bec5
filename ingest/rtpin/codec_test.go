package rtpin

import (
	"bytes"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"penstock/media"
)

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
