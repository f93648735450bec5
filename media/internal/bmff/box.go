// Package bmff writes the boxes of ISO/IEC 14496-12 that fragmented and progressive
// MP4 files share, and holds the one table of codecs of both: which sample entry each
// has. It appends to byte slices and copies no media.
package bmff

import "encoding/binary"

// Start appends the header of a box whose size is not known yet; End fills it in.
func Start(b []byte, kind string) (out []byte, at int) {
	at = len(b)
	b = append(b, 0, 0, 0, 0)
	return append(b, kind...), at
}

// StartFull is Start for a box with version and flags.
func StartFull(b []byte, kind string, version byte, flags uint32) (out []byte, at int) {
	b, at = Start(b, kind)
	return U32(b, uint32(version)<<24|flags), at
}

// End gives the box that began at offset at its size.
func End(b []byte, at int) []byte {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

// U16, U32 and U64 append big-endian numbers.
func U16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// U32 appends v.
func U32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// U64 appends v.
func U64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// Zeros appends n zero bytes.
func Zeros(b []byte, n int) []byte { return append(b, make([]byte, n)...) }

// AppendFtyp appends the file type box (§4.3).
func AppendFtyp(b []byte, major string, minor uint32, compatible ...string) []byte {
	b, at := Start(b, "ftyp")
	b = append(b, major...)
	b = U32(b, minor)
	for _, c := range compatible {
		b = append(b, c...)
	}
	return End(b, at)
}
