package rtpin

import (
	"encoding/binary"
	"time"
)

// Report takes one RTCP packet, compound or not, of the media with that index. Only
// sender reports matter (RFC 3550 §6.4.1); the rest, and nonsense, is passed over.
func (r *Receiver) Report(index int, packet []byte, arrival time.Time) {
	for len(packet) >= 4 && packet[0]>>6 == 2 {
		size := 4 + int(binary.BigEndian.Uint16(packet[2:]))*4
		if size > len(packet) {
			return
		}
		if packet[1] == 200 && size >= 28 {
			r.SenderReport(index, binary.BigEndian.Uint32(packet[4:]),
				binary.BigEndian.Uint64(packet[8:]), binary.BigEndian.Uint32(packet[16:]), arrival)
		}
		packet = packet[size:]
	}
}

// SenderReport takes what one sender report said: ntp is the producer's clock, 64-bit
// NTP, at the RTP timestamp ts.
func (r *Receiver) SenderReport(index int, ssrc uint32, ntpTime uint64, ts uint32, arrival time.Time) {
	at := ntp(ntpTime, arrival)
	r.mu.Lock()
	defer r.mu.Unlock()
	if index < 0 || index >= len(r.medias) || at.IsZero() || len(r.medias[index].tracks) == 0 {
		return
	}
	in := &r.medias[index]
	if in.seq.begun && in.seq.ssrc != ssrc && len(in.tracks) > 1 {
		return // of a track that we do not know
	}
	r.stats.Reports++
	for _, t := range in.tracks {
		t.time.report(at, ts)
	}
	for _, t := range r.tracks {
		t.time.align(r, arrival)
	}
}
