// Package wave reads speech from WAV files (Microsoft RIFF) as G.711: what telephones and
// the loudspeakers of cameras take, 8000 samples a second of one channel.
//
// It does not resample: a file of another rate is refused with what it is.
package wave

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"penstock/internal/fault"
	"penstock/media"
)

// Rate is the only rate that is read, in samples a second.
const Rate = 8000

const (
	// chunkMax bounds what stands before the sound: tags and pictures.
	chunkMax = 1 << 20
	// chunksMax bounds how many chunks that is.
	chunksMax = 64
)

// The formats of a fmt chunk (RFC 2361).
const (
	formatPCM        = 1
	formatALaw       = 6
	formatMuLaw      = 7
	formatExtensible = 0xfffe
)

// Reader reads octets of G.711, one a sample. It is not for sharing.
type Reader struct {
	r      *bufio.Reader
	format uint16
	law    func(int) byte // makes an octet of one sample of the file
}

// NewReader reads the head of a WAV file: 16-bit PCM, A-law or mu-law. What is no WAV file
// is taken for bare octets of mu-law. Faults: Invalid, with what to do.
func NewReader(r io.Reader) (*Reader, error) {
	w := &Reader{r: bufio.NewReader(r), format: formatMuLaw}
	w.As(true)
	head, err := w.r.Peek(12)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(head) < 12 || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return w, nil
	}
	if _, err := w.r.Discard(12); err != nil {
		return nil, err
	}
	format, size, err := w.chunks()
	if err != nil {
		return nil, err
	}
	w.format = format
	w.As(true)
	if size > 0 && size < 0xffffffff { // 0 and -1: a program that wrote into a pipe did not know
		w.r = bufio.NewReader(io.LimitReader(w.r, int64(size)))
	}
	return w, nil
}

// As says what Read returns from now on: mu-law, as it does without, or A-law.
func (w *Reader) As(muLaw bool) {
	to, same := media.ToALaw, uint16(formatALaw)
	if muLaw {
		to, same = media.ToMuLaw, formatMuLaw
	}
	switch w.format {
	case same:
		w.law = func(v int) byte { return byte(v) }
	case formatMuLaw:
		w.law = func(v int) byte { return to(media.MuLaw(byte(v))) }
	case formatALaw:
		w.law = func(v int) byte { return to(media.ALaw(byte(v))) }
	default:
		w.law = func(v int) byte { return to(int16(v)) }
	}
}

// chunks reads up to the sound.
func (w *Reader) chunks() (format uint16, size uint32, err error) {
	for range chunksMax {
		var head [8]byte
		if _, err := io.ReadFull(w.r, head[:]); err != nil {
			return 0, 0, bad("it ends before its sound begins")
		}
		id, size := string(head[:4]), binary.LittleEndian.Uint32(head[4:])
		if id == "data" {
			if format == 0 {
				return 0, 0, bad("its sound comes before its format")
			}
			return format, size, nil
		}
		if size > chunkMax {
			return 0, 0, bad(fmt.Sprintf("a chunk of %d bytes stands before its sound", size))
		}
		body := make([]byte, size+size%2) // chunks begin at even places
		if _, err := io.ReadFull(w.r, body); err != nil {
			return 0, 0, bad("it ends before its sound begins")
		}
		if id == "fmt " {
			if format, err = formatOf(body); err != nil {
				return 0, 0, err
			}
		}
	}
	return 0, 0, bad("more than 64 chunks stand before its sound")
}

// formatOf reads a fmt chunk, and refuses what is no speech of this package.
func formatOf(b []byte) (uint16, error) {
	if len(b) < 16 {
		return 0, bad("its format is cut short")
	}
	format, channels := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
	rate, width := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint16(b[14:])
	if format == formatExtensible && len(b) >= 26 {
		format = binary.LittleEndian.Uint16(b[24:]) // the first two bytes of a GUID
	}
	switch {
	case format == formatPCM && width == 16, (format == formatALaw || format == formatMuLaw) && width == 8:
	default:
		return 0, bad(fmt.Sprintf("it has %d bits a sample in format %d, and 16-bit PCM, A-law and mu-law can be spoken", width, format))
	}
	if rate != Rate || channels != 1 {
		return 0, bad(fmt.Sprintf("it has %d channels of %d Hz, and one of %d Hz can be spoken", channels, rate, Rate))
	}
	return format, nil
}

func bad(text string) error {
	return fault.New(fault.Invalid, "read WAV file", "", text).WithHint("make one with: ffmpeg -i FILE -ar 8000 -ac 1 -c:a pcm_s16le speech.wav")
}

// Read reads octets of G.711; half a sample at the end is left out.
func (w *Reader) Read(b []byte) (int, error) {
	size := 1
	if w.format == formatPCM {
		size = 2
	}
	for n := range b {
		v := 0
		for i := range size {
			c, err := w.r.ReadByte()
			if err != nil {
				if n > 0 && errors.Is(err, io.EOF) {
					return n, nil
				}
				return n, err
			}
			v |= int(c) << (8 * i)
		}
		b[n] = w.law(v)
	}
	return len(b), nil
}
