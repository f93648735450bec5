// Package probe explains a camera to a person: it climbs from "does the name resolve"
// to "here is a picture", one named rung after the other, and says at the first rung
// that breaks what to do about it. The last rung, which cannot break, is whether one can
// talk to it.
//
// It stores nothing and never retries; package pull does that.
package probe

import (
	"context"
	"time"

	"penstock/ingest/camera"
	"penstock/internal/host"
	"penstock/internal/secret"
	"penstock/media"
)

// The rungs, in order. They are stable: the console and the command line show them.
const (
	Resolves  = "address resolves"
	Reached   = "port reached"
	Answers   = "RTSP answers"
	SignedIn  = "signed in"
	Described = "described"
	SetUp     = "set up"
	Packets   = "first packets"
	KeyFrame  = "key frame"
	ClockRung = "clock"
	Picture   = "first picture"
	TwoWay    = "two-way audio"
)

// Step is one rung of the ladder.
type Step struct {
	Step   string `json:"step"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Try    string `json:"try,omitempty"` // what to do next; a warning when OK
}

// Report is what a probe found. JPEG is nil when no picture could be made.
type Report struct {
	OK          bool             `json:"ok"` // a key frame came: the camera can be recorded
	Steps       []Step           `json:"steps"`
	URL         string           `json:"url"` // without user and password
	Transport   camera.Transport `json:"transport,omitempty"`
	Tracks      []media.Track    `json:"-"`
	KeyInterval time.Duration    `json:"-"` // longest seen between key frames; 0 unknown
	ClockOffset time.Duration    `json:"-"` // camera's clock minus ours
	HasClock    bool             `json:"-"`
	JPEG        []byte           `json:"-"`
	Voice       *camera.Voice    `json:"-"` // what its loudspeaker takes; nil: none that can be used
}

// Request is what to probe. URL may carry user and password; they are split off.
type Request struct {
	URL       string
	Username  string
	Password  secret.Text
	Transport camera.Transport // "" is camera.Auto
}

// Config holds what a Prober needs. Zero fields mean the defaults named beside them.
type Config struct {
	Dial  host.Dial  // the machine's own dialler
	Clock host.Clock // host.System
	// Resolve looks a host name up; nil: the machine's resolver.
	Resolve func(ctx context.Context, name string) ([]string, error)
	// Rung bounds each rung up to the first packets; 8 s.
	Rung time.Duration
	// Watch bounds how long media is watched for key frames and the clock; 12 s.
	Watch time.Duration
	// Voice bounds the question whether the camera has a loudspeaker; 5 s.
	Voice time.Duration
	// Picture turns a key frame into a JPEG; nil: the last rung is told without one.
	Picture func(ctx context.Context, track media.Track, keyFrame media.Sample) ([]byte, error)
}

// Prober climbs ladders. Make one with New; it may be used by many goroutines at once.
type Prober struct{ conf Config }
