package rtsp

import (
	"time"

	"github.com/pion/rtcp"

	"penstock/media"
)

const (
	// reportEach is the time between two sender reports of a track (RFC 3550 §6.2).
	reportEach = 5 * time.Second
	// A sample that came this much too early or too late for what was reported is of
	// another run, or the server's clock was set.
	reportEarly, reportLate = time.Second, 10 * time.Second
	// ntpEpoch is 1900 in Unix seconds.
	ntpEpoch = -2208988800
)

// reports tells a reader how the RTP timestamps of its tracks lie to the server's clock.
// gortsplib's own reports put nanoseconds where the fraction of a second belongs, which is
// up to 0.77 s off. Not for sharing.
type reports struct {
	zero  time.Time // the server's clock at media time 0, as reported; zero: not yet
	least time.Time // the same by the earliest sample since then
	last  time.Time // when all tracks reported
}

// see takes the arrival of a sample at media time at, and says whether all tracks, or just
// a new one, have to report. What came earliest is nearest to when it was filmed, and both
// tracks go by the same, so that sound and picture stay together.
func (r *reports) see(at time.Duration, arrival, now time.Time) (all bool) {
	zero := arrival.Add(-at)
	if r.least.IsZero() || zero.Before(r.least) {
		r.least = zero
	}
	if r.zero.IsZero() || zero.Before(r.zero.Add(-reportEarly)) || zero.After(r.zero.Add(reportLate)) {
		r.least, r.last = zero, time.Time{}
	}
	if d := now.Sub(r.last); d >= 0 && d < reportEach {
		return false
	}
	r.zero, r.least, r.last = r.least, time.Time{}, now
	return true
}

// report sends what is due once a sample was sent.
func (p *player) report(o *out, s media.Sample, arrival time.Time) {
	if arrival.IsZero() {
		return
	}
	now := p.s.c.Clock.Now().Round(0) // readers compare it with their own clock
	all := p.reports.see(o.track.Duration(s.DTS+int64(s.CTO)), arrival.Round(0), now)
	for _, other := range p.outs {
		if (other == o && !o.reported) || (all && other.packets > 0) {
			other.reported = true
			_ = p.stream.WritePacketRTCP(other.media, other.senderReport(p.reports.zero, now)) // RTCP may be lost
		}
	}
}

// senderReport says what the track's timestamp is now, where media time 0 was at zero
// (RFC 3550 §6.4.1).
func (o *out) senderReport(zero, now time.Time) *rtcp.SenderReport {
	return &rtcp.SenderReport{
		SSRC:        o.ssrc,
		NTPTime:     uint64(now.Unix()-ntpEpoch)<<32 | uint64(now.Nanosecond())<<32/uint64(time.Second),
		RTPTime:     o.packer.base + uint32(o.scale(o.track.Ticks(now.Sub(zero)))),
		PacketCount: o.packets,
		OctetCount:  o.octets,
	}
}
