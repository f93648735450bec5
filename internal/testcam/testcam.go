// Package testcam is a camera made of arithmetic: H.264 in pure Go, with a clock
// and a machine-readable wall-clock barcode in every frame, so that a first page
// has a moving picture and a test can measure the delay from glass to glass.
//
// It compresses only what costs nothing to compress (macroblocks that did not
// change, or that a neighbour predicts up to a constant) and sends the rest raw:
// constrained baseline of ISO/IEC 14496-10, without loss.
package testcam

import "time"

// FPS is the camera's frame rate, and GOP the number of frames from one key frame to the next.
const (
	FPS = 25
	GOP = 50
)

// Camera makes frames. It is not for sharing. The zero value is not usable: see New.
type Camera struct {
	enc   *encoder
	count int
	sps   []byte
	pps   []byte
}

// New returns a camera whose next frame is a key frame.
func New() *Camera {
	c := &Camera{enc: newEncoder(Width, coded)}
	c.sps, c.pps = c.enc.sps(FPS, coded-Height), c.enc.pps()
	c.enc.cur.background()
	return c
}

// SPS returns the sequence parameter set, a NAL unit without length or start code.
func (c *Camera) SPS() []byte { return c.sps }

// PPS returns the picture parameter set, a NAL unit without length or start code.
func (c *Camera) PPS() []byte { return c.pps }

// Frame returns the access unit that shows instant t: NAL units with 4-byte length
// prefixes, the parameter sets before a key frame. The caller owns the slice.
func (c *Camera) Frame(t time.Time) (data []byte, sync bool) {
	sync = c.count%GOP == 0
	c.count++
	c.enc.cur.draw(t)
	if sync {
		data = appendNAL(data, c.sps[0], unescape(c.sps[1:]))
		data = appendNAL(data, c.pps[0], unescape(c.pps[1:]))
	}
	return c.enc.slice(data, sync), sync
}

// unescape takes emulation prevention bytes out again (clause 7.4.1.1).
func unescape(nal []byte) []byte {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		out = append(out, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}
