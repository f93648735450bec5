// Package interleaved is the TCP connection under an RTSP library, with a tap.
//
// RTSP over TCP mixes messages with RTP frames (RFC 2326 §10.12). A Conn parses that
// framing itself: messages go up through Read to the library, one at a time, and once a
// Handler is set, frames go straight to it from the buffer that the kernel filled,
// without an allocation or a copy. A Poller reads all tapped connections every few
// milliseconds in one goroutine, so that a camera costs a few dozen system calls a
// second instead of one per packet, and adds no more than Config.Tick of delay.
package interleaved

import (
	"log/slog"
	"time"

	"penstock/internal/host"
)

// Limits on what a peer can make a Conn hold, and on its silence.
const (
	// FrameMax is the largest frame: its length has 16 bits.
	FrameMax = 65535
	// HeaderMax bounds the header of one RTSP message; real ones are below 2 KiB.
	HeaderMax = 16 << 10
	// BodyMax bounds the body of one RTSP message: an SDP, some parameters.
	BodyMax = 128 << 10
	// GarbageMax is how many bytes that start neither a frame nor a message are
	// skipped, in a row, before the connection is given up.
	GarbageMax = 4096
)

// Defaults of Config and TapConfig.
const (
	DefaultTick    = 20 * time.Millisecond
	DefaultIdle    = 75 * time.Second
	DefaultSilence = 10 * time.Second
)

// Handler takes the frames of one connection. Calls come one at a time.
type Handler interface {
	// Frame takes one frame that arrived at the given time. payload is valid only
	// during the call. An error closes the connection.
	Frame(channel uint8, payload []byte, arrival time.Time) error
}

// Config says how a Poller works. The zero value means the documented defaults.
type Config struct {
	Tick   time.Duration // how often tapped connections are read; DefaultTick
	Clock  host.Clock    // host.System
	Logger *slog.Logger  // discards
}

// TapConfig says how a connection behaves while it is tapped.
type TapConfig struct {
	// Silence closes the connection after this long without a byte; DefaultSilence.
	Silence time.Duration
	// Heartbeat, if not zero, hands an empty RTCP receiver report on HeartbeatChannel
	// up through Read this often while frames arrive, for a library that would
	// otherwise take the connection for dead.
	Heartbeat        time.Duration
	HeartbeatChannel uint8
}
