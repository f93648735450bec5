package loadgen

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
)

// Load is what every camera of a Fleet sends: H.264 of 1080p as far as its headers go, and
// sound in AAC where that is asked for. Nobody can look at it.
type Load struct {
	Bitrate int // bits/s of video
	FPS     int
	GOP     int // frames from one key frame to the next
	Audio   bool
	UDP     bool // else RTP goes over the connection of RTSP
}

const (
	clockRate  = 90000
	audioRate  = 48000
	audioFrame = 1024 // samples of one AAC frame
	audioBytes = 170  // 64 kbit/s
	payloadMax = 1400
)

// parameterSets of a 1080p25 Main profile stream.
func parameterSets() (sps, pps []byte) {
	return unbase64("Z01AKNoB4AiflwEQAAADABAAAAMDLgYAAyWoAAW42mogB4wZUA=="), unbase64("aO88gA==")
}

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// unit is one access unit as interleaved RTP packets, ready to send but for sequence
// numbers and timestamps.
type unit struct {
	wire    []byte
	packets []int // offset of each packet's RTP header
}

// film is one GOP, shared by all cameras: the server never decodes it.
type film struct {
	video []unit
	audio unit
}

// newFilm makes a GOP whose key frame is eight times the size of the others.
func newFilm(l Load) film {
	sps, pps := parameterSets()
	rng := rand.New(rand.NewPCG(1, 2))
	perGOP := l.Bitrate / 8 * l.GOP / l.FPS
	p := max(1, perGOP/(l.GOP+7))
	var f film
	for i := range l.GOP {
		size, header := p, byte(0x41)
		var nals [][]byte
		if i == 0 {
			size, header = 8*p, 0x65
			nals = append(nals, sps, pps)
		}
		nal := make([]byte, size)
		for k := range nal {
			nal[k] = byte(rng.Uint32()) | 1 // no emulation prevention needed
		}
		nal[0] = header
		f.video = append(f.video, packetize(append(nals, nal)))
	}
	au := make([]byte, 4+audioBytes)
	binary.BigEndian.PutUint16(au, 16)
	binary.BigEndian.PutUint16(au[2:], audioBytes<<3)
	f.audio = unit{wire: frame(2, 97, true, au), packets: []int{4}}
	return f
}

func frame(channel, payloadType byte, marker bool, payload []byte) []byte {
	b := make([]byte, 16, 16+len(payload))
	b[0], b[1] = '$', channel
	binary.BigEndian.PutUint16(b[2:], uint16(12+len(payload)))
	b[4], b[5] = 0x80, payloadType
	if marker {
		b[5] |= 0x80
	}
	return append(b, payload...)
}

// packetize is RFC 6184: small NAL units alone, large ones as FU-A.
func packetize(nals [][]byte) unit {
	var u unit
	add := func(last bool, payload []byte) {
		u.packets = append(u.packets, len(u.wire)+4)
		u.wire = append(u.wire, frame(0, 96, last, payload)...)
	}
	for i, nal := range nals {
		final := i == len(nals)-1
		if len(nal) <= payloadMax {
			add(final, nal)
			continue
		}
		rest, first := nal[1:], byte(0x80)
		for len(rest) > 0 {
			n := min(len(rest), payloadMax-2)
			end := byte(0)
			if n == len(rest) {
				end = 0x40
			}
			add(final && end != 0, append([]byte{nal[0]&0xe0 | 28, nal[0]&0x1f | first | end}, rest[:n]...))
			rest, first = rest[n:], 0
		}
	}
	return u
}
