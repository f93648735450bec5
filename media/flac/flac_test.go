package flac_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/flac"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"

	"penstock/internal/repotest"
	"penstock/media"
	. "penstock/media/flac"
)

func track(muLaw bool, rate, channels int) media.Track {
	return media.Track{ID: 3, Timescale: uint32(rate), Codec: &media.G711{MuLaw: muLaw, SampleRate: rate, Channels: channels}}
}

// decode is G.711 by a library that is not ours, as 16-bit little-endian PCM.
func decode(muLaw bool, b []byte) []byte {
	var out []byte
	if muLaw {
		var m g711.Mulaw
		m.Unmarshal(b)
		out = m
	} else {
		var a g711.Alaw
		a.Unmarshal(b)
		out = a
	}
	for i := 0; i+1 < len(out); i += 2 {
		out[i], out[i+1] = out[i+1], out[i]
	}
	return out
}

// stream is a .flac file of packets, by coder c.
func stream(t *testing.T, c *Coder, packets [][]byte) []byte {
	t.Helper()
	codec := c.Track().Codec.(*media.FLAC)
	file := append([]byte("fLaC\x80\x00\x00\x22"), codec.Private()...)
	dts := int64(0)
	for _, p := range packets {
		var sizes []int
		for _, n := range c.Sizes(dts, len(p)) {
			sizes = append(sizes, n)
		}
		samples, data := c.Append(nil, nil, media.Sample{Track: 3, DTS: dts, Sync: true, Data: p})
		if len(samples) != len(sizes) {
			t.Fatalf("%d frames, %d sizes", len(samples), len(sizes))
		}
		for i, s := range samples {
			if c.Plain && len(s.Data) != sizes[i] || len(s.Data) > sizes[i] {
				t.Fatalf("a frame of %d bytes, plain %d", len(s.Data), sizes[i])
			}
			if s.Track != 3 || !s.Sync {
				t.Fatalf("a frame of track %d, sync %v", s.Track, s.Sync)
			}
		}
		file = append(file, data...)
		dts += int64(len(p) / codec.Channels)
	}
	return file
}

// play decodes a file with ffmpeg, which must have nothing to say about it.
func play(t *testing.T, file []byte) []byte {
	t.Helper()
	ffmpeg := repotest.Need(t, "ffmpeg")
	name := filepath.Join(t.TempDir(), "a.flac")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, words bytes.Buffer
	cmd := repotest.Command(t, ffmpeg, "-v", "warning", "-xerror", "-err_detect", "crccheck+bitstream+buffer+explode", "-i", name, "-f", "s16le", "-")
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil || words.Len() > 0 {
		t.Fatalf("ffmpeg: %v\n%s", err, words.String())
	}
	return out.Bytes()
}

// sounds are G.711 of many kinds, n octets each.
func sounds(n int) map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	out := map[string][]byte{}
	fill := func(name string, f func(i int) byte) {
		b := make([]byte, n)
		for i := range b {
			b[i] = f(i)
		}
		out[name] = b
	}
	fill("every octet", func(i int) byte { return byte(i) })
	fill("noise", func(int) byte { return byte(r.Uint32()) })
	fill("full scale square", func(i int) byte { return []byte{0xaa, 0x2a, 0x80, 0x00}[i/7%4] })
	fill("silence of A-law", func(int) byte { return 0xd5 })
	fill("silence of mu-law", func(int) byte { return 0xff })
	fill("minus zero", func(i int) byte { return []byte{0x7f, 0xff}[i%2] })
	tone := func(amplitude float64) func(i int) byte {
		return func(i int) byte {
			var pcm g711.Alaw = binary.BigEndian.AppendUint16(nil, uint16(int16(amplitude*math.Sin(float64(i)/9)+r.NormFloat64()*amplitude/50)))
			b, _ := pcm.Marshal()
			return b[0]
		}
	}
	fill("loud tone", tone(20000))
	fill("quiet tone", tone(200))
	return out
}

// packets cuts b at lengths that come round again.
func packets(b []byte, lengths ...int) (out [][]byte) {
	for i := 0; len(b) > 0; i++ {
		n := min(lengths[i%len(lengths)], len(b))
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

func TestFLACIsG711SampleBySample(t *testing.T) {
	all := sounds(20_000)
	names := slices.Sorted(maps.Keys(all))
	for _, c := range []struct {
		rate, channels int
		lengths        []int
	}{
		{8000, 1, []int{160}},
		{8000, 1, []int{160, 320, 161, 480, 17, 1460}},
		{16000, 2, []int{640, 256, 1026}},
		{11025, 1, []int{256, 257, 4608, 4609, 9000}},
	} {
		for _, muLaw := range []bool{false, true} {
			for _, plain := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d Hz %d channels %v mu-law %v plain %v", c.rate, c.channels, c.lengths, muLaw, plain), func(t *testing.T) {
					coder, ok := NewCoder(track(muLaw, c.rate, c.channels))
					if !ok {
						t.Fatal("refused")
					}
					coder.Plain = plain
					var octets []byte
					for _, name := range names {
						octets = append(octets, all[name]...)
					}
					file := stream(t, coder, packets(octets, c.lengths...))
					if got, want := play(t, file), decode(muLaw, octets); !bytes.Equal(got, want) {
						t.Errorf("%d bytes of PCM are not the %d of the source", len(got), len(want))
					}
				})
			}
		}
	}
}

// ffmpeg has the laws too: they agree for every octet.
func TestTheLawsAreThoseOfFFmpeg(t *testing.T) {
	ffmpeg := repotest.Need(t, "ffmpeg")
	octets := sounds(256)["every octet"]
	for format, muLaw := range map[string]bool{"alaw": false, "mulaw": true} {
		cmd := repotest.Command(t, ffmpeg, "-v", "error", "-f", format, "-ar", "8000", "-i", "-", "-f", "s16le", "-")
		cmd.Stdin = bytes.NewReader(octets)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		coder, _ := NewCoder(track(muLaw, 8000, 1))
		if got := play(t, stream(t, coder, packets(octets, 160))); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, ffmpeg has %x", format, got, want)
		}
	}
}

func TestTheLastPacketMayBeShorterThanABlock(t *testing.T) {
	octets := sounds(2000)["loud tone"]
	coder, _ := NewCoder(track(false, 8000, 1))
	for _, n := range []int{1, 2, 4, 5, 15, 16} {
		want := decode(false, append(slices.Clone(octets), octets[:n]...))
		if got := play(t, stream(t, coder, append(packets(octets, 160), octets[:n]))); !bytes.Equal(got, want) {
			t.Errorf("a last packet of %d: %d bytes of PCM are not the %d of the source", n, len(got), len(want))
		}
	}
}

func TestCodingAllocatesNothing(t *testing.T) {
	octets := sounds(160)["loud tone"]
	coder, _ := NewCoder(track(false, 8000, 1))
	var samples []media.Sample
	var data []byte
	code := func() { samples, data = coder.Append(samples[:0], data[:0], media.Sample{Data: octets}) }
	code()
	if n := testing.AllocsPerRun(100, code); n > 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func TestLongPacketsBecomeEvenBlocks(t *testing.T) {
	coder, _ := NewCoder(media.Track{ID: 1, Timescale: 90000, Codec: &media.G711{SampleRate: 8000, Channels: 2}})
	samples, _ := coder.Append(nil, nil, media.Sample{Track: 1, DTS: 900, Data: make([]byte, 2*4609+1)})
	if len(samples) != 2 || samples[0].DTS != 900 || samples[1].DTS != 900+2304*90000/8000 {
		t.Errorf("%d frames", len(samples))
	}
	for _, data := range [][]byte{nil, {1}} {
		if samples, b := coder.Append(nil, nil, media.Sample{Data: data}); len(samples) != 0 || len(b) != 0 {
			t.Errorf("a packet of %d bytes makes %d frames", len(data), len(samples))
		}
	}
}

func TestGapsAreSilence(t *testing.T) {
	octets := sounds(1600)["loud tone"]
	for _, plain := range []bool{false, true} {
		coder, _ := NewCoder(track(true, 8000, 1))
		coder.Plain = plain
		var got, want []byte
		next := int64(0)
		for i, p := range packets(octets, 160) {
			at := int64(i) * 160
			switch i {
			case 2, 3: // lost
				continue
			case 5:
				at += 20 // 2.5 ms late: no gap
			case 7: // 1.25 s are missing: more than two blocks
				at += 10_000
			case 8: // 11 s are missing: no loss of packets
				at += 98_000
			case 9:
				at += 99_000
				coder.Restart()
			}
			sizes := map[int64]int{}
			other := *coder
			for dts, n := range other.Sizes(at, len(p)) {
				sizes[dts] = n
			}
			samples, _ := coder.Append(nil, nil, media.Sample{DTS: at, Data: p})
			for _, s := range samples {
				if s.DTS < next || plain && sizes[s.DTS] != len(s.Data) || len(sizes) != len(samples) {
					t.Fatalf("packet %d: a frame of %d bytes at %d, want %v after %d", i, len(s.Data), s.DTS, sizes, next)
				}
				next = s.DTS + 1
				pcm, _ := read(t, s.Data)
				got = append(got, pcm...)
			}
			switch i {
			case 4:
				want = append(want, make([]byte, 2*320)...)
			case 7:
				want = append(want, make([]byte, 2*10_000)...)
			}
			want = append(want, decode(true, p)...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("plain %v: %d bytes of PCM are not %d", plain, len(got), len(want))
		}
	}
}

func TestWhatIsNotG711IsRefused(t *testing.T) {
	for _, c := range []media.Codec{&media.Opus{Channels: 1}, &media.G711{SampleRate: 8000, Channels: 9}, &media.G711{SampleRate: 8000}} {
		if _, ok := NewCoder(media.Track{ID: 1, Timescale: 1, Codec: c}); ok {
			t.Errorf("%T is taken", c)
		}
	}
}

func TestStreamInfoIsReadByOthers(t *testing.T) {
	for _, want := range []media.FLAC{{SampleRate: 8000, Channels: 1}, {SampleRate: 768000, Channels: 8}} {
		var got flac.StreamInfo
		if err := got.Unmarshal(want.Private()); err != nil {
			t.Fatal(err)
		}
		if int(got.SampleRate) != want.SampleRate || int(got.ChannelCount) != want.Channels || got.BitDepth != 16 || got.MinBlockSize != 16 || got.MaxBlockSize != 4608 {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// Any packet at any time, decoded by the small reader of read_test.go.
func FuzzFrames(f *testing.F) {
	for _, b := range sounds(400) {
		f.Add(b, int64(0), false, uint8(1))
		f.Add(b[:161], int64(1)<<40, true, uint8(2))
	}
	f.Add([]byte{}, int64(-1), true, uint8(8))
	f.Fuzz(func(t *testing.T, b []byte, dts int64, muLaw bool, channels uint8) {
		n := int(channels)%8 + 1
		coder, _ := NewCoder(track(muLaw, 8000, n))
		for _, plain := range []bool{false, true} {
			coder.Plain = plain
			samples, _ := coder.Append(nil, nil, media.Sample{DTS: dts, Data: b})
			var pcm []byte
			for _, s := range samples {
				frame, number := read(t, s.Data)
				if want := uint64(s.DTS) & (1<<31 - 1); number != want {
					t.Fatalf("numbered %d, want %d", number, want)
				}
				pcm = append(pcm, frame...)
			}
			if want := decode(muLaw, b[:len(b)/n*n]); !bytes.Equal(pcm, want) {
				t.Fatalf("plain %v: %d bytes of PCM are not the %d of the source", plain, len(pcm), len(want))
			}
			i := 0
			for at, size := range coder.Sizes(dts, len(b)) {
				if plain && size != len(samples[i].Data) || at != samples[i].DTS {
					t.Fatalf("frame %d has %d bytes, not %d", i, len(samples[i].Data), size)
				}
				i++
			}
		}
	})
}

// BenchmarkCoder makes a second of FLAC per op.
func BenchmarkCoder(b *testing.B) {
	for _, plain := range []bool{false, true} {
		for _, name := range []string{"quiet tone", "loud tone", "noise", "silence of A-law"} {
			octets := sounds(8000)[name]
			b.Run(name+" plain "+strconv.FormatBool(plain), func(b *testing.B) {
				c, _ := NewCoder(track(false, 8000, 1))
				c.Plain = plain
				var samples []media.Sample
				var data []byte
				b.ReportAllocs()
				for b.Loop() {
					samples, data = samples[:0], data[:0]
					for _, p := range packets(octets, 160)[:50] {
						samples, data = c.Append(samples, data, media.Sample{Data: p})
					}
				}
				b.ReportMetric(float64(len(data)*8)/1000, "kbit/s")
			})
		}
	}
}
