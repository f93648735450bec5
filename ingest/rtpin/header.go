package rtpin

import "encoding/binary"

// header is the part of an RTP header that matters here (RFC 3550 §5.1).
type header struct {
	marker bool
	pt     uint8
	seq    uint16
	ts     uint32
	ssrc   uint32
}

// parse splits packet into header and payload, both views of it. CSRCs, extension and
// padding are skipped; ok is false when they do not fit the packet.
func parse(packet []byte) (h header, payload []byte, ok bool) {
	if len(packet) < 12 || packet[0]>>6 != 2 {
		return h, nil, false
	}
	b0 := packet[0]
	h.marker = packet[1]&0x80 != 0
	h.pt = packet[1] & 0x7f
	h.seq = binary.BigEndian.Uint16(packet[2:])
	h.ts = binary.BigEndian.Uint32(packet[4:])
	h.ssrc = binary.BigEndian.Uint32(packet[8:])
	at := 12 + int(b0&0x0f)*4
	if b0&0x10 != 0 {
		if len(packet) < at+4 {
			return h, nil, false
		}
		at += 4 + int(binary.BigEndian.Uint16(packet[at+2:]))*4
	}
	end := len(packet)
	if b0&0x20 != 0 {
		pad := int(packet[end-1])
		if pad == 0 {
			return h, nil, false
		}
		end -= pad
	}
	if at > end {
		return h, nil, false
	}
	return h, packet[at:end], true
}
