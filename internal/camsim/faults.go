package camsim

import "time"

// Faults are the ways in which a camera can be bad. The zero value is a good camera.
type Faults struct {
	// DropEvery ends each session's connection after that long, without a word.
	DropEvery time.Duration
	// JumpEvery moves the RTP timestamps ahead by JumpBy (0: an hour), again and again.
	JumpEvery, JumpBy time.Duration
	// DriftPPM makes the camera's clock run fast (or slow, negative), in 1e-6.
	DriftPPM float64
	// Stretch sends frames at this multiple of the time between them that the
	// parameter sets promise: 2 halves the frame rate. 0 is 1.
	Stretch float64
	// NoSenderReports leaves RTCP sender reports out.
	NoSenderReports bool
	// ClockOffset is added to the camera's clock in sender reports.
	ClockOffset time.Duration
	// MidGOP lets a session begin where the material stands, mostly between key frames.
	MidGOP bool
	// NoKeyFrames sends one key frame at the start and none after; with MidGOP none at all.
	NoKeyFrames bool
	// RefuseTCP and RefuseUDP answer SETUP with 461.
	RefuseTCP, RefuseUDP bool
	// DenyFor refuses every password for that long after the start.
	DenyFor time.Duration
	// SilentAfter stops a session's media after that long; the connection stays.
	SilentAfter time.Duration
	// Mute never sends media, though it promises to.
	Mute bool
	// InBandOnly leaves the parameter sets out of the SDP.
	InBandOnly bool
	// ChangeAfter switches each session to the Config's Second material after that long.
	ChangeAfter time.Duration
	// LoseEvery drops every n-th RTP packet; 0 none.
	LoseEvery int
	// OnlyPath answers 404 to other paths than this, given without slash; "" none.
	OnlyPath string
	// RefuseRequire answers DESCRIBE that asks for a back channel with this status, such as
	// 551 (RFC 2326 §11.3.14); 0 is a camera that answers it.
	RefuseRequire int
	// BackBusy answers SETUP of the back channel with 453.
	BackBusy bool
	// BusyFor answers 503 for that long after the start.
	BusyFor time.Duration
}
