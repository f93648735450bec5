package rtpin

import (
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"penstock/media"
)

// restartMin is the step in sequence numbers from which on we take it that the sender
// began anew: nothing is counted as lost then.
const restartMin = 3000

// depacketizer is one payload format. packet takes the payload of one packet; broken
// says that packets before it are missing. end takes that no packet will come.
type depacketizer interface {
	packet(h header, payload []byte, broken bool)
	end()
}

// track is one elementary stream of a session.
type track struct {
	r     *Receiver
	id    media.TrackID
	media int    // its index in the description
	name  string // of the format, for people
	pt    uint8
	clock uint32
	codec media.Codec // nil: not known yet
	depacketizer

	seq  *sequence
	time timeline
	lost int // before the sink was opened
	now  time.Time
	size int // of the payload at hand
}

// sequence follows the sequence numbers of one media.
type sequence struct {
	begun bool
	last  uint16
	ssrc  uint32
}

// step takes the next packet's number: how many packets are missing before it, and
// whether it must be dropped because it is old.
func (s *sequence) step(h header) (missing int, broken, old bool) {
	if !s.begun || s.ssrc != h.ssrc {
		broken = s.begun
		s.begun, s.last, s.ssrc = true, h.seq, h.ssrc
		return 0, broken, false
	}
	d := int(int16(h.seq - s.last))
	switch {
	case d == 1:
		s.last = h.seq
		return 0, false, false
	case d <= 0 && d > -restartMin:
		return 0, false, true
	case d <= 0 || d >= restartMin:
		s.last = h.seq
		return 0, true, false
	}
	s.last = h.seq
	return d - 1, true, false
}

// packet takes the next packet in order.
func (t *track) packet(h header, payload []byte, arrival time.Time) {
	missing, broken, old := t.seq.step(h)
	if old {
		t.r.stats.Late++
		return
	}
	if missing > 0 {
		t.r.miss(t, missing)
	}
	t.now, t.size = arrival, len(payload)
	if len(payload) == 0 {
		return // a probe: some encoders and every NAT opener send them
	}
	t.depacketizer.packet(h, payload, broken)
}

// end finishes what is open.
func (t *track) end() { t.depacketizer.end() }

// newTrack returns the track for a format, nil when it cannot be recorded.
func newTrack(r *Receiver, f format.Format, seq *sequence) *track {
	t := &track{r: r, name: f.Codec(), pt: f.PayloadType(), clock: uint32(f.ClockRate()), seq: seq}
	if f.ClockRate() <= 0 {
		return nil
	}
	t.time.clock = int64(t.clock)
	if !t.choose(f) {
		return nil
	}
	return t
}

// emitAudio hands over one frame of sound.
func (t *track) emitAudio(ts uint32, offset int64, data []byte) {
	pts, wall := t.time.at(ts, t.now, t.r)
	s := media.Sample{Track: t.id, DTS: pts + offset, Sync: true, Data: data}
	if !wall.IsZero() {
		s.Wall = wall.Add(time.Duration(offset) * time.Second / time.Duration(t.clock))
	}
	t.r.write(t, s)
}

// small copies one frame that came whole into the session's memory.
func (t *track) small(b []byte) []byte {
	a := &t.r.slab
	if a.Len() > 0 {
		a = &t.r.side
	}
	a.Reserve(len(b))
	a.Append(b)
	return a.Commit()
}
