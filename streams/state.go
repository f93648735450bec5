package streams

import (
	"time"

	"penstock/media"
)

// Status is the state of a stream in one word.
type Status string

// The states.
const (
	Live       Status = "live"       // media arrives
	Connecting Status = "connecting" // a producer is there, or being called; no media yet, or no more
	Offline    Status = "offline"    // it cannot be reached
	DeniedBy   Status = "denied"     // the camera refused user or password
	Failed     Status = "error"      // it answers, but not with what we can use
	Idle       Status = "idle"       // nobody produces, and nothing is to be pulled
)

// LossReason says where samples or packets were lost.
type LossReason string

// The reasons of loss, as metrics and State.Lost name them.
const (
	LostNetwork     LossReason = "network"      // packets that never came, reported by the door
	LostNoKeyFrame  LossReason = "no_key_frame" // before the first key frame of a session
	LostDamaged     LossReason = "damaged"      // not a sample that can be stored
	LostThrottled   LossReason = "storage_behind"
	LostStorage     LossReason = "storage_failed"
	LostUnknown     LossReason = "unknown_track"
	SkippedByViewer LossReason = "viewer_behind" // live listeners only; the recording has them
)

// Producer says who sends.
type Producer struct {
	Remote    string // address
	Protocol  string // "rtsp", "rtsp pull", "whip", "putmedia", "demo"
	Principal string // ARN of who signed in; empty for a pulled camera
}

// State is how a stream does right now.
type State struct {
	ID      string
	Status  Status
	Reason  string    // in words, for a person; empty when live and well
	Since   time.Time // of Status
	Tracks  []media.Track
	Bitrate float64 // bits/s over the last seconds
	FPS     float64 // of the first video track
	// KeyInterval is the time between the last two key frames; 0 unknown.
	KeyInterval time.Duration
	// ClockOffset is producer clock minus server clock; HasClock false: it sent none.
	ClockOffset time.Duration
	HasClock    bool
	Viewers     int
	Lost        map[LossReason]uint64 // of this process's life; read-only; nil: nothing
	LastSample  time.Time             // arrival; zero: none since start
	Producer    Producer              // zero: none
	// ProducerSince is when the producer came.
	ProducerSince time.Time
	Recorded      time.Time // end of the newest fragment this process knows durable; zero: none
}

// LostTotal is the sum of Lost without what only live viewers missed.
func (s State) LostTotal() uint64 {
	var n uint64
	for r, v := range s.Lost {
		if r != SkippedByViewer {
			n += v
		}
	}
	return n
}
