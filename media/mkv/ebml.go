// Package mkv writes and reads Matroska (RFC 9559) as live streams use it: a segment
// and clusters of unknown size, tags in between, several headers one after the other.
//
// The reader is a pull parser over the few elements that carry media. ebml-go takes laced
// blocks apart, but not the stream: its decoder refuses elements it does not know
// (or keeps a whole segment to skip one), nests a second header into the first segment,
// and can only push. Here what is not known is skipped, whatever it is, and no length
// read from the stream makes memory larger than a named limit.
package mkv

import (
	"encoding/binary"
	"math/bits"
)

// Element IDs (RFC 8794 §11.1, RFC 9559 §5).
const (
	idEBML    = 0x1a45dfa3
	idDocType = 0x4282

	idSegment = 0x18538067

	idInfo          = 0x1549a966
	idTimecodeScale = 0x2ad7b1
	idMuxingApp     = 0x4d80
	idWritingApp    = 0x5741

	idTracks            = 0x1654ae6b
	idTrackEntry        = 0xae
	idTrackNumber       = 0xd7
	idTrackUID          = 0x73c5
	idTrackType         = 0x83
	idCodecID           = 0x86
	idCodecPrivate      = 0x63a2
	idCodecDelay        = 0x56aa
	idSeekPreRoll       = 0x56bb
	idDefaultDuration   = 0x23e383
	idFlagLacing        = 0x9c
	idContentEncodings  = 0x6d80
	idVideo             = 0xe0
	idPixelWidth        = 0xb0
	idPixelHeight       = 0xba
	idAudio             = 0xe1
	idSamplingFrequency = 0xb5
	idChannels          = 0x9f
	idBitDepth          = 0x6264

	idCluster     = 0x1f43b675
	idTimecode    = 0xe7
	idSimpleBlock = 0xa3
	idBlockGroup  = 0xa0
	idBlock       = 0xa1

	idTags      = 0x1254c367
	idTag       = 0x7373
	idSimpleTag = 0x67c8
	idTagName   = 0x45a3
	idTagString = 0x4487
)

// unknownSize is the size of an element that ends where the next of its level begins.
const unknownSize = ^uint64(0)

// appendID appends an element ID, which carries its own length.
func appendID(b []byte, id uint32) []byte {
	n := (bits.Len32(id) + 7) / 8
	var w [4]byte
	binary.BigEndian.PutUint32(w[:], id)
	return append(b, w[4-n:]...)
}

// appendSize appends an element size in as few bytes as it needs (RFC 8794 §4).
func appendSize(b []byte, size uint64) []byte {
	if size == unknownSize {
		return append(b, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	}
	n := sizeLen(size)
	var w [8]byte
	binary.BigEndian.PutUint64(w[:], size|1<<(7*n))
	return append(b, w[8-n:]...)
}

// sizeLen is how many bytes appendSize needs: all ones would mean unknown.
func sizeLen(size uint64) int {
	n := 1
	for size >= 1<<(7*n)-1 {
		n++
	}
	return n
}

func appendBytes(b []byte, id uint32, v []byte) []byte {
	return append(appendSize(appendID(b, id), uint64(len(v))), v...)
}

func appendString(b []byte, id uint32, v string) []byte {
	return append(appendSize(appendID(b, id), uint64(len(v))), v...)
}

func appendUint(b []byte, id uint32, v uint64) []byte {
	n := max((bits.Len64(v)+7)/8, 1)
	var w [8]byte
	binary.BigEndian.PutUint64(w[:], v)
	return appendBytes(b, id, w[8-n:])
}

// vint reads a variable-length number from b; n is 0 when b does not hold one. unknown is
// reported as all ones. With keep the marker bit stays, as in IDs.
func vint(b []byte, keep bool) (v uint64, n int) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0
	}
	n = bits.LeadingZeros8(b[0]) + 1
	if len(b) < n {
		return 0, 0
	}
	v = uint64(b[0])
	if !keep {
		v &= 1<<(8-n) - 1
	}
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	if !keep && v == 1<<(7*n)-1 {
		v = unknownSize
	}
	return v, n
}

// children calls each with the elements of a master that is in memory; ok is false when
// one of them lies about its size.
func children(b []byte, each func(id uint32, body []byte)) (ok bool) {
	for len(b) > 0 {
		id, n := vint(b, true)
		if n == 0 || n > 4 {
			return false
		}
		size, m := vint(b[n:], false)
		if m == 0 || size > uint64(len(b)-n-m) {
			return false
		}
		body := b[n+m:][:size]
		each(uint32(id), body)
		b = b[n+m+int(size):]
	}
	return true
}

// number reads an unsigned integer element; longer than 8 bytes is 0.
func number(b []byte) uint64 {
	if len(b) > 8 {
		return 0
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}
