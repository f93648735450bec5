package camsim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"
)

// Load reads a file to loop: .mp4 (H.264 or H.265, with AAC if it has some), or an
// elementary stream, .h264 or .h265 in Annex B, at fps frames a second.
func Load(name string, fps float64) (*Clip, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var c *Clip
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".mp4", ".m4v", ".mov":
		c, err = loadMP4(b)
	case ".h264", ".264", ".avc":
		c, err = AnnexB(b, H264, fps)
	case ".h265", ".265", ".hevc":
		c, err = AnnexB(b, H265, fps)
	default:
		return nil, fmt.Errorf("read %s: %q is not .mp4, .h264 or .h265", name, ext)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return c, nil
}

// AnnexB makes a Clip of an elementary stream at fps frames a second.
func AnnexB(b []byte, codec Codec, fps float64) (*Clip, error) {
	if fps <= 0 || fps > 240 {
		return nil, fmt.Errorf("%g frames a second make no sense", fps)
	}
	track := Track{Codec: codec, Clock: videoClock}
	c := &Clip{}
	var au Unit
	hasSlice := false
	flush := func() {
		if hasSlice {
			n := float64(len(c.Units)) * videoClock / fps
			au.DTS, au.PTS = int64(n), int64(n)
			c.Units = append(c.Units, au)
		}
		au, hasSlice = Unit{}, false
	}
	for _, nal := range splitStartCodes(b) {
		k := classify(nal, codec)
		if hasSlice && (k.first || !k.slice && !k.suffix) {
			flush()
		}
		if k.bFrame {
			return nil, ErrBFrames
		}
		if k.slice {
			hasSlice = true
			au.Sync = au.Sync || k.key
		}
		keepParameters(&track, nal, k)
		au.NALs = append(au.NALs, nal)
	}
	flush()
	if len(c.Units) == 0 || !c.Units[0].Sync || track.SPS == nil || track.PPS == nil {
		return nil, fmt.Errorf("it does not begin with a key frame and its parameter sets")
	}
	c.Streams = []Track{track}
	c.Length = time.Duration(float64(len(c.Units)) * float64(time.Second) / fps)
	return c, nil
}

func keepParameters(t *Track, nal []byte, k nalKind) {
	switch {
	case k.vps && t.VPS == nil:
		t.VPS = nal
	case k.sps && t.SPS == nil:
		t.SPS = nal
	case k.pps && t.PPS == nil:
		t.PPS = nal
	}
}

// nalKind is what little of a NAL unit it takes to find access units.
type nalKind struct {
	slice, first, key, suffix, bFrame bool
	vps, sps, pps                     bool
}

// classify reads a NAL unit's header (ISO/IEC 14496-10 §7.3.1, 23008-2 §7.3.1.2).
func classify(nal []byte, codec Codec) (k nalKind) {
	if len(nal) < 3 {
		return k
	}
	if codec == H265 {
		typ := nal[0] >> 1 & 0x3F
		k.slice = typ < 32
		k.first = k.slice && nal[2]&0x80 != 0
		k.key = typ >= 16 && typ <= 23
		k.suffix = typ == 40
		k.vps, k.sps, k.pps = typ == 32, typ == 33, typ == 34
		return k
	}
	typ := nal[0] & 0x1F
	k.slice = typ == 1 || typ == 5
	k.first = k.slice && nal[1]&0x80 != 0 // first_mb_in_slice is 0
	k.key = typ == 5
	k.sps, k.pps = typ == 7, typ == 8
	if k.slice && nal[0]>>5&3 == 0 && typ == 1 {
		k.bFrame = sliceTypeIsB(nal[1:])
	}
	return k
}

// sliceTypeIsB reads first_mb_in_slice and slice_type, both ue(v).
func sliceTypeIsB(b []byte) bool {
	bit := 0
	ue := func() int {
		zeros := 0
		for ; bit < len(b)*8 && b[bit/8]>>(7-bit%8)&1 == 0; bit++ {
			zeros++
		}
		v := 0
		for range zeros + 1 {
			if bit >= len(b)*8 {
				return -1
			}
			v = v<<1 | int(b[bit/8]>>(7-bit%8)&1)
			bit++
		}
		return v - 1
	}
	ue()
	return ue()%5 == 1
}

// splitStartCodes takes a byte stream apart (ISO/IEC 14496-10 Annex B).
func splitStartCodes(b []byte) [][]byte {
	var out [][]byte
	code := []byte{0, 0, 1}
	i := bytes.Index(b, code)
	for i >= 0 {
		b = b[i+3:]
		i = bytes.Index(b, code)
		nal := b
		if i >= 0 {
			nal = b[:i]
		}
		if nal = bytes.TrimRight(nal, "\x00"); len(nal) > 0 {
			out = append(out, nal)
		}
	}
	return out
}

func loadMP4(b []byte) (*Clip, error) {
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(b)); err != nil {
		return nil, err
	}
	c := &Clip{}
	for pass := range 2 { // video first
		for _, t := range p.Tracks {
			if t.Codec.IsVideo() == (pass == 1) {
				continue
			}
			if err := c.add(t); err != nil {
				return nil, err
			}
		}
	}
	if len(c.Streams) == 0 || c.Streams[0].Codec == AAC {
		return nil, fmt.Errorf("it has no H.264 or H.265 video")
	}
	sortByTime(c.Units, c.Streams)
	for len(c.Units) > 0 && c.Units[0].Track != 0 {
		c.Units = c.Units[1:]
	}
	return c, nil
}

// add appends an mp4 track; codecs that cannot be sent here are left out.
func (c *Clip) add(t *pmp4.Track) error {
	track := Track{Clock: int(t.TimeScale)}
	switch codec := t.Codec.(type) {
	case *codecs.H264:
		track.Codec, track.SPS, track.PPS = H264, codec.SPS, codec.PPS
	case *codecs.H265:
		track.Codec, track.VPS, track.SPS, track.PPS = H265, codec.VPS, codec.SPS, codec.PPS
	case *codecs.MPEG4Audio:
		conf, err := codec.Config.Marshal()
		if err != nil {
			return err
		}
		track.Codec, track.Audio = AAC, conf
	default:
		return nil
	}
	if track.Codec != AAC {
		track.Clock = videoClock
	}
	index := len(c.Streams)
	c.Streams = append(c.Streams, track)
	var at int64 // in the file's time scale
	scaled := func(n int64) int64 { return n * int64(track.Clock) / int64(t.TimeScale) }
	for _, s := range t.Samples {
		payload, err := s.GetPayload()
		if err != nil {
			return err
		}
		u := Unit{Track: index, DTS: scaled(at), PTS: scaled(at + int64(s.PTSOffset)), Sync: !s.IsNonSyncSample}
		if track.Codec == AAC {
			u.Frame = payload
		} else {
			u.NALs = splitLengths(payload)
		}
		c.Units = append(c.Units, u)
		at += int64(s.Duration)
	}
	if d := ticks(at, int(t.TimeScale)); index == 0 {
		c.Length = d
	}
	return nil
}
