// Package camsim plays the part of IP cameras, well-behaved ones and others, over
// RTSP: to pull from (Server), and as an encoder that pushes (Push).
//
// It stands on github.com/aler9/gortsplib of 2022, not on the RTSP library of the
// server, so that the two check each other. It is for tests and for cmd/camsim;
// nothing of it belongs into the server's binary.
package camsim

import (
	"errors"
	"slices"
	"time"

	"penstock/internal/testcam"
)

// Codec names what a Track holds.
type Codec string

// The codecs that a camera here can send.
const (
	H264 Codec = "h264"
	H265 Codec = "h265"
	AAC  Codec = "aac"
)

// Track is one elementary stream of a Material.
type Track struct {
	Codec         Codec
	Clock         int // ticks per second of Unit.DTS and of RTP
	VPS, SPS, PPS []byte
	Audio         []byte // AudioSpecificConfig
}

// Unit is one access unit.
type Unit struct {
	Track    int   // index
	DTS, PTS int64 // ticks of the track's Clock, from the start of the material
	Sync     bool
	NALs     [][]byte // video; read-only
	Frame    []byte   // sound; read-only
}

// Material is something to film. Its methods may be called by many sessions at once.
type Material interface {
	// Tracks are constant; video first.
	Tracks() []Track
	// Reel returns an endless run of units in decode order that begins with a key
	// frame, at or before the instant at into the material.
	Reel(at time.Duration) Reel
}

// Reel hands out units one after the other. It is not for sharing.
type Reel interface {
	Next() Unit
}

// Clip is a Material that repeats itself. Units are in decode order and begin with a
// key frame; Length is the time after which the first comes again.
type Clip struct {
	Streams []Track
	Units   []Unit
	Length  time.Duration
}

// Tracks returns c.Streams.
func (c *Clip) Tracks() []Track { return c.Streams }

// Reel starts at the last key frame at or before at, modulo Length.
func (c *Clip) Reel(at time.Duration) Reel {
	loops := int64(at / c.Length)
	into := at % c.Length
	start := 0
	for i, u := range c.Units {
		if u.Track != 0 || !u.Sync {
			continue
		}
		if ticks(u.DTS, c.Streams[0].Clock) > into {
			break
		}
		start = i
	}
	return &clipReel{clip: c, i: start, loop: loops}
}

type clipReel struct {
	clip *Clip
	i    int
	loop int64
}

func (r *clipReel) Next() Unit {
	u := r.clip.Units[r.i]
	shift := int64(r.clip.Length) * r.loop * int64(r.clip.Streams[u.Track].Clock) / int64(time.Second)
	u.DTS += shift
	u.PTS += shift
	if r.i++; r.i == len(r.clip.Units) {
		r.i = 0
		r.loop++
	}
	return u
}

// ticks converts n ticks of clock to a duration.
func ticks(n int64, clock int) time.Duration {
	return time.Duration(n * int64(time.Second) / int64(clock))
}

const videoClock = 90000

// Demo films a clock: package testcam's picture, drawn anew for each session.
type Demo struct{ tracks []Track }

// NewDemo returns the demo picture.
func NewDemo() *Demo {
	cam := testcam.New()
	return &Demo{[]Track{{Codec: H264, Clock: videoClock, SPS: cam.SPS(), PPS: cam.PPS()}}}
}

// Tracks returns the one video track.
func (d *Demo) Tracks() []Track { return d.tracks }

// Reel begins with a key frame at at. The picture shows the time of Next.
func (d *Demo) Reel(at time.Duration) Reel {
	return &demoReel{cam: testcam.New(), n: int64(at) * testcam.FPS / int64(time.Second)}
}

type demoReel struct {
	cam *testcam.Camera
	n   int64
}

func (r *demoReel) Next() Unit {
	data, sync := r.cam.Frame(time.Now())
	t := r.n * videoClock / testcam.FPS
	r.n++
	return Unit{DTS: t, PTS: t, Sync: sync, NALs: splitLengths(data)}
}

// Record makes a Clip of the first d of m's units: cheap to send a hundred times.
func Record(m Material, d time.Duration) *Clip {
	c := &Clip{Streams: m.Tracks(), Length: d}
	r := m.Reel(0)
	for {
		u := r.Next()
		if ticks(u.DTS, c.Streams[u.Track].Clock) >= d {
			return c
		}
		c.Units = append(c.Units, u)
	}
}

// splitLengths takes apart NAL units with 4-byte lengths.
func splitLengths(b []byte) [][]byte {
	var out [][]byte
	for len(b) >= 4 {
		n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		b = b[4:]
		if n > len(b) {
			break
		}
		out = append(out, b[:n:n])
		b = b[n:]
	}
	return out
}

// ErrBFrames is returned for an elementary stream whose frames are not in display
// order: only a container knows their times.
var ErrBFrames = errors.New("an elementary stream with B frames has no times: put it into an .mp4 file")

// sortByTime brings units of several tracks into the order in which a camera sends them.
func sortByTime(units []Unit, tracks []Track) {
	slices.SortStableFunc(units, func(a, b Unit) int {
		x, y := ticks(a.DTS, tracks[a.Track].Clock), ticks(b.DTS, tracks[b.Track].Clock)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}
