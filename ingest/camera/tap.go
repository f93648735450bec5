package camera

import (
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"penstock/ingest/interleaved"
	"penstock/ingest/rtpin"
)

// packetMax is the largest UDP payload that the RTSP library reads.
const packetMax = 1472

// Tap connects a conversation's packets to a Receiver, over TCP without the RTSP
// library in between. Receive must be called between Open and Play.
type Tap struct {
	// Receiver takes the packets.
	Receiver *rtpin.Receiver
	// Failed, if not nil, hears the sink's error, which ends the session. It is called
	// once, from the goroutine that read the packet.
	Failed func(error)

	conn     *interleaved.Conn // nil: packets come through the library
	last     atomic.Int64      // arrival of the last packet of media, ns
	channels []int
	failed   atomic.Bool
}

// Last is when the last packet of media arrived; zero: none did.
func (t *Tap) Last() time.Time {
	if n := t.last.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// Receive makes packets of c go to t. conn is the connection that Config.Wrap made;
// nil over UDP or without one, when the library hands packets on.
func (t *Tap) Receive(c *Conn, conn *interleaved.Conn, silence time.Duration) {
	t.channels = c.Channels
	if c.Transport == TCP && conn != nil {
		t.conn = conn
		conn.Tap(t, interleaved.TapConfig{Silence: silence})
		return
	}
	index := make(map[*description.Media]int, len(c.Medias))
	for i, m := range c.Medias {
		index[m] = i
	}
	bufs := make([][]byte, len(c.Medias))
	for i := range bufs {
		bufs[i] = make([]byte, packetMax)
	}
	c.Client.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		i := index[m]
		if p.MarshalSize() > len(bufs[i]) {
			bufs[i] = make([]byte, p.MarshalSize())
		}
		if n, err := p.MarshalTo(bufs[i]); err == nil {
			t.packet(i, bufs[i][:n], time.Now())
		}
	})
	c.Client.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			t.Receiver.SenderReport(index[m], sr.SSRC, sr.NTPTime, sr.RTPTime, time.Now())
		}
	})
}

// Frame takes one interleaved frame; see interleaved.Handler.
func (t *Tap) Frame(channel uint8, payload []byte, arrival time.Time) error {
	for i, c := range t.channels {
		switch int(channel) {
		case c:
			return t.packet(i, payload, arrival)
		case c + 1:
			t.Receiver.Report(i, payload, arrival)
			return nil
		}
	}
	return nil
}

// Ahead is rtpin.Config.Ahead for the Receiver.
func (t *Tap) Ahead(index, at int) (packet []byte, next int) {
	if t.conn == nil || index >= len(t.channels) {
		return nil, at
	}
	return t.conn.Ahead(uint8(t.channels[index]), at)
}

func (t *Tap) packet(i int, payload []byte, arrival time.Time) error {
	t.last.Store(arrival.UnixNano())
	err := t.Receiver.Packet(i, payload, arrival)
	if err != nil && t.Failed != nil && t.failed.CompareAndSwap(false, true) {
		t.Failed(err)
	}
	return err
}
