// Package rtpin turns RTP packets into samples.
//
// It is shared by everything that receives RTP under an SDP: cameras that are pulled
// and producers that push. It knows no socket and no RTSP: packets come in with the
// time of their arrival, access units go out to a Sink. Payload formats are RFC 6184
// (H.264), RFC 7798 (H.265), RFC 3640 and RFC 6416 (AAC), RFC 7587 (Opus), RFC 3551
// (G.711), RFC 2435 (JPEG) and the AV1 RTP specification. Payload bytes of H.264,
// H.265, AAC, Opus and G.711 are copied once, into memory that the samples keep.
package rtpin

import (
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"penstock/media"
)

// Limits on what one peer can make a Receiver hold.
const (
	// UnitMax bounds one access unit: an 8K intra picture at high quality is below 8 MiB.
	UnitMax = 8 << 20
	// MediasMax bounds the tracks of a session; cameras send two or three.
	MediasMax = 16
	// ReorderMax bounds Config.Reorder.
	ReorderMax = 256
	// WaitTime and WaitBytes bound the search for parameter sets that the SDP left
	// out: a key frame comes every few seconds, ten at most, with all sane encoders.
	WaitTime  = 15 * time.Second
	WaitBytes = 32 << 20
)

// Sink takes what a Receiver makes of the packets. *streams.Session satisfies it.
// Calls come one at a time.
type Sink interface {
	// Write takes one access unit and owns its Data.
	Write(media.Sample) error
	// SetTracks says that the configuration of a codec changed from the next sample on.
	SetTracks([]media.Track) error
	// Lost counts packets of a track that never came.
	Lost(track media.TrackID, n int)
}

// Config is what a Receiver is made from. Medias and Open are required.
type Config struct {
	// Medias is the session description; Packet names a media by its index here.
	// Medias of formats that cannot be recorded (ONVIF metadata) are ignored.
	Medias []*description.Media
	// Open is called once, when the configuration of every track is known: within New
	// when the SDP says it all, else within Packet. It is not called again after it failed.
	Open func(tracks []media.Track) (Sink, error)
	// Reorder is how many packets of a media may be held back to put them in order.
	// 0: none, as for TCP, which keeps the order.
	Reorder int
	// Ahead, if not nil, shows packets that are at hand but come only after the one that
	// Packet was called with: the first of the media at or behind position at (0: right
	// behind that packet), and the position behind it; nil: there is none. An access unit
	// whose end is among them gets memory of just its size. It is called within Packet.
	Ahead func(index, at int) (packet []byte, next int)
}

// Stats counts what a Receiver saw. All values only grow.
type Stats struct {
	Packets   uint64 // RTP packets taken
	Bytes     uint64 // of their payloads
	Samples   uint64 // handed to the Sink
	Lost      uint64 // packets missing in the sequence numbers
	Late      uint64 // came after their place had been given up, or twice
	Malformed uint64 // not RTP, or not what its payload format allows
	Unknown   uint64 // payload types that the SDP does not name
	Damaged   uint64 // access units dropped because a fragment was missing
	TooBig    uint64 // access units dropped for UnitMax
	NoConfig  uint64 // access units dropped because parameter sets were not known yet
	Refused   uint64 // samples that the Sink refused but kept going (storage behind)
	Reports   uint64 // RTCP sender reports used
}
