// Package flac carries G.711 as FLAC (RFC 9639), without loss: browsers and HLS players
// play no G.711 out of MP4, but all of them play FLAC. A packet of G.711 becomes a frame
// of the same samples, so that times stay what they are.
//
// Each frame stands for itself: its bytes follow from its packet and the packet's time
// alone, whoever makes it, and a decoder can start at any. G.711 has 13 (A-law) or 14
// bits (mu-law) of the 16 that a decoder makes of it; the rest are "wasted bits" to FLAC.
// Where packets are missing there are frames of silence: browsers play the frames they
// get one after another, and what follows a gap would be heard too early.
// Predictors are the fixed ones (§9.2.5): a linear one would gain little on so few samples.
package flac

import (
	"iter"
	"time"

	"penstock/media"
)

// How long a gap between packets is to be filled. What is shorter is a camera's clock that
// was set right; longer ones are no loss of packets any more.
const (
	gapLeast = 10 * time.Millisecond
	gapMost  = 10 * time.Second
)

// Coder makes FLAC of the samples of one G.711 track. It is not for concurrent use.
type Coder struct {
	// Plain leaves sound uncompressed within its frames, so that Size knows them by
	// their length. They are then about 1.7 times as long as G.711.
	Plain bool

	track    media.Track
	rate     int
	channels int
	wasted   uint // low bits of 16 that are always 0
	law      [256]int16
	pcm      []int32 // of one channel, without the wasted bits
	begun    bool
	next     int64 // where the newest packet ended, ticks; once begun
}

// NewCoder returns a coder for t; false when t is not G.711, or has more channels than FLAC.
func NewCoder(t media.Track) (*Coder, bool) {
	g, ok := t.Codec.(*media.G711)
	if !ok || g.FLAC() == nil {
		return nil, false
	}
	c := &Coder{track: t, rate: g.SampleRate, channels: g.Channels, wasted: 3}
	decode := media.ALaw
	if g.MuLaw {
		decode, c.wasted = media.MuLaw, 2
	}
	for i := range c.law {
		c.law[i] = decode(byte(i)) >> c.wasted
	}
	c.track.Codec = g.FLAC()
	return c, true
}

// Track is the track that holds the frames: the id and the time scale of the one that
// holds G.711.
func (c *Coder) Track() media.Track { return c.track }

// Restart says that the next packet does not follow the newest one: no gap is filled.
func (c *Coder) Restart() { c.begun = false }

// Append appends the frames of s to data, and a sample for each to samples: one, unless
// the packet follows a gap, is longer than a FLAC block, or holds no sample at all. The
// samples refer to data, grown or not; s is only read.
func (c *Coder) Append(samples []media.Sample, data []byte, s media.Sample) ([]media.Sample, []byte) {
	for b := range c.blocks(s.DTS, len(s.Data)) {
		at := len(data)
		octets := s.Data
		if b.silent {
			octets = nil
		} else {
			octets = octets[b.from*c.channels : b.to*c.channels]
		}
		data = c.frame(data, b.number, b.to-b.from, octets)
		frame := s
		frame.DTS, frame.Data = b.dts, data[at:len(data):len(data)]
		samples = append(samples, frame)
	}
	return samples, data
}

// Sizes are the decode time and the length in bytes of each frame that a Plain coder makes
// of a packet of n bytes. As after Append, the next packet follows it.
func (c *Coder) Sizes(dts int64, n int) iter.Seq2[int64, int] {
	return func(yield func(int64, int) bool) {
		for b := range c.blocks(dts, n) {
			if !yield(b.dts, c.plainSize(b.number, b.to-b.from)) {
				return
			}
		}
	}
}

// block is a run of a packet's samples, or of silence before it, that becomes a frame.
type block struct {
	from, to int    // samples of each channel, within the packet or the silence
	dts      int64  // of the first
	number   uint64 // of the first, counted from media time 0
	silent   bool
}

// blocks cuts the gap before a packet of n bytes, and the packet, into even blocks. A last
// sample that lacks channels is none.
func (c *Coder) blocks(dts int64, n int) iter.Seq[block] {
	return func(yield func(block) bool) {
		n := n / c.channels
		next, gap := c.next, c.gap(dts)
		if n > 0 {
			c.begun, c.next = true, dts+c.ticks(n)
		} else {
			gap = 0
		}
		if c.cut(next, gap, true, yield) {
			c.cut(dts, n, false, yield)
		}
	}
}

// gap is how many samples are missing before a packet at dts.
func (c *Coder) gap(dts int64) int {
	if !c.begun {
		return 0
	}
	if d := c.track.Duration(dts - c.next); d < gapLeast || d > gapMost {
		return 0
	}
	return int((dts - c.next) * int64(c.rate) / int64(c.track.Timescale))
}

// ticks is how long n samples last.
func (c *Coder) ticks(n int) int64 { return int64(n) * int64(c.track.Timescale) / int64(c.rate) }

// cut passes n samples from dts on in even blocks; false: yield wants no more.
func (c *Coder) cut(dts int64, n int, silent bool, yield func(block) bool) bool {
	count := (n + media.FLACBlockMax - 1) / media.FLACBlockMax
	for i := range count {
		b := block{from: n * i / count, to: n * (i + 1) / count, silent: silent}
		b.dts = dts + c.ticks(b.from)
		b.number = c.number(b.dts)
		if !yield(b) {
			return false
		}
	}
	return true
}

// numberMax bounds sample numbers, which have 36 bits (§9.1.5): decoders of ffmpeg 5 and
// older, and of the browsers made with it, take 31. They come round after 74 h at 8 kHz;
// in MP4 it is the container that has the times.
const numberMax = 1<<31 - 1

// number is a decode time as a sample number.
func (c *Coder) number(dts int64) uint64 {
	scale, rate := int64(c.track.Timescale), int64(c.rate)
	return uint64(dts/scale*rate+dts%scale*rate/scale) & numberMax
}
