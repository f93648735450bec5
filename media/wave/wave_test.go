package wave

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strings"
	"testing"

	"penstock/internal/fault"
	"penstock/internal/repotest"
	"penstock/media"
)

// file makes a WAV file; extra chunks stand before its sound.
func file(format, channels, width uint16, rate uint32, sound []byte, extra ...string) []byte {
	b := []byte("RIFF\xff\xff\xff\xffWAVE")
	for _, e := range extra {
		b = append(b, "LIST"...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e)))
		b = append(b, e...)
		if len(e)%2 == 1 {
			b = append(b, 0)
		}
	}
	b = append(b, "fmt \x10\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint16(b, format)
	b = binary.LittleEndian.AppendUint16(b, channels)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, rate*uint32(channels)*uint32(width)/8)
	b = binary.LittleEndian.AppendUint16(b, channels*width/8)
	b = binary.LittleEndian.AppendUint16(b, width)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(sound)))
	return append(b, sound...)
}

func open(b []byte, muLaw bool) (*Reader, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err == nil {
		r.As(muLaw)
	}
	return r, err
}

// tone is a second of 440 Hz.
func tone() (pcm []byte) {
	for i := range Rate {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(int16(20000*math.Sin(2*math.Pi*440*float64(i)/Rate))))
	}
	return pcm
}

func TestWhatCanBeSpoken(t *testing.T) {
	pcm := tone()
	var mu, a []byte
	for i := 0; i < len(pcm); i += 2 {
		v := int16(binary.LittleEndian.Uint16(pcm[i:]))
		mu, a = append(mu, media.ToMuLaw(v)), append(a, media.ToALaw(v))
	}
	cut := append([]byte(nil), file(formatPCM, 1, 16, 8000, pcm)...)
	piped := bytes.Clone(cut)
	copy(piped[40:], "\xff\xff\xff\xff")
	trailing := append(bytes.Clone(cut), "LIST\x04\x00\x00\x00tags"...)
	for name, c := range map[string]struct {
		in    []byte
		muLaw bool
		want  []byte
	}{
		"PCM as mu-law":        {cut, true, mu},
		"PCM as A-law":         {cut, false, a},
		"from a pipe":          {piped, true, mu},
		"tags behind":          {trailing, true, mu},
		"tags before":          {file(formatPCM, 1, 16, 8000, pcm, "odd", "even"), true, mu},
		"mu-law as it is":      {file(formatMuLaw, 1, 8, 8000, mu), true, mu},
		"A-law as it is":       {file(formatALaw, 1, 8, 8000, a), false, a},
		"bare octets":          {mu, true, mu},
		"a few bare octets":    {mu[:3], true, mu[:3]},
		"half a sample behind": {append(bytes.Clone(piped), 1), true, mu},
		"nothing":              {nil, true, nil},
	} {
		r, err := open(c.in, c.muLaw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d octets, want %d: %v", name, len(got), len(c.want), err)
		}
	}
	// From one law into the other and back, what is heard stays near.
	r, err := open(mu, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || len(got) != len(mu) {
		t.Fatalf("%d octets, %v", len(got), err)
	}
	for i := range got {
		if d := int(media.ALaw(got[i])) - int(media.MuLaw(mu[i])); max(d, -d) > 1024 {
			t.Fatalf("octet %d is %d, was %d", i, media.ALaw(got[i]), media.MuLaw(mu[i]))
		}
	}
}

func TestWhatCannotBeSpokenIsRefused(t *testing.T) {
	for want, in := range map[string][]byte{
		"2 channels of 8000 Hz":   file(formatPCM, 2, 16, 8000, tone()),
		"1 channels of 44100 Hz":  file(formatPCM, 1, 16, 44100, tone()),
		"24 bits a sample":        file(formatPCM, 1, 24, 8000, tone()),
		"in format 3":             file(3, 1, 32, 8000, tone()),
		"ends before":             file(formatPCM, 1, 16, 8000, nil)[:30],
		"stands before its sound": append([]byte("RIFF....WAVELIST"), 0xff, 0xff, 0xff, 0x7f),
		"before its format":       []byte("RIFF....WAVEdata\x04\x00\x00\x00abcd"),
		"more than 64 chunks":     append([]byte("RIFF....WAVE"), bytes.Repeat([]byte("LIST\x00\x00\x00\x00"), 100)...),
		"its format is cut short": []byte("RIFF....WAVEfmt \x04\x00\x00\x00abcd"),
	} {
		_, err := open(in, true)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), "ffmpeg") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFFmpegAgrees(t *testing.T) {
	ffmpeg := repotest.Need(t, "ffmpeg")
	cmd := repotest.Command(t, ffmpeg, "-v", "error", "-f", "lavfi", "-i", "sine=frequency=700:duration=1", "-ar", "8000", "-ac", "1", "-c:a", "pcm_s16le", "-f", "wav", "-")
	wav, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for format, muLaw := range map[string]bool{"mulaw": true, "alaw": false} {
		r, err := open(wav, muLaw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || len(got) != 8000 {
			t.Fatalf("%d octets, %v", len(got), err)
		}
		cmd := repotest.Command(t, ffmpeg, "-v", "error", "-i", "-", "-f", format, "-")
		cmd.Stdin = bytes.NewReader(wav)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		value := media.ALaw
		if muLaw {
			value = media.MuLaw
		}
		other := 0
		for i := range want {
			if got[i] != want[i] {
				other++
				// ffmpeg takes the nearest value, where G.711 has borders: neighbours, at most.
				if d := int(value(got[i])) - int(value(want[i])); max(d, -d) > 1024 {
					t.Fatalf("%s: sample %d is %d, ffmpeg has %d", format, i, value(got[i]), value(want[i]))
				}
			}
		}
		if other > len(want)/10 {
			t.Errorf("%s: %d of %d samples are others than ffmpeg's", format, other, len(want))
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(file(formatPCM, 1, 16, 8000, []byte{1, 2, 3, 4}), true)
	f.Add(file(formatMuLaw, 1, 8, 8000, []byte{1, 2, 3, 4}, "tags"), false)
	f.Add(file(formatExtensible, 1, 16, 8000, []byte{1, 2, 3, 4}), true)
	f.Add([]byte("RIFF....WAVEfmt \x04\x00\x00\x00abcd"), true)
	f.Fuzz(func(t *testing.T, b []byte, muLaw bool) {
		r, err := open(b, muLaw)
		if err != nil {
			return
		}
		if got, err := io.ReadAll(r); err != nil || len(got) > len(b) {
			t.Errorf("%d octets of %d, %v", len(got), len(b), err)
		}
	})
}
