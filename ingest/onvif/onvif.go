// Package onvif finds cameras on the local network and asks them for their stream
// addresses (WS-Discovery 1.1, ONVIF Core and Media). All of it is advice: nothing
// here is needed to show an RTSP picture, and no fault here may stop one.
//
// Messages are built by IOTechSystems/onvif; what cameras answer is read here, within
// limits, because it comes from whoever is on the network.
package onvif

import (
	"net"
	"time"

	"penstock/internal/host"
	"penstock/internal/secret"
)

// Camera is a device that answered a discovery probe.
type Camera struct {
	Name     string `json:"name"`               // from its scopes; may be empty
	Hardware string `json:"hardware,omitempty"` // from its scopes
	Address  string `json:"address"`            // host or IP without port
	XAddr    string `json:"xaddr"`              // its device service
	URLs     []URL  `json:"urls"`               // filled by Streams
}

// URL is one way to watch a camera.
type URL struct {
	Profile string `json:"profile"` // the camera's name for it
	URL     string `json:"url"`     // rtsp address without user and password
	Codec   string `json:"codec,omitempty"`
	Width   int    `json:"width,omitempty"`
	Height  int    `json:"height,omitempty"`
	FPS     int    `json:"fps,omitempty"`
}

// Config holds what a Client needs. Zero fields mean the defaults named beside them.
type Config struct {
	Dial  host.Dial  // the machine's own dialler; SOAP requests go through it
	Clock host.Clock // host.System
	// Wait is how long answers to a discovery probe are collected: 3 s.
	Wait time.Duration
	// Timeout bounds one SOAP request: 4 s.
	Timeout time.Duration
	// Group is where probes are sent: 239.255.255.250:3702 (WS-Discovery §2.4).
	Group *net.UDPAddr
	// Interfaces to probe on; nil: all that are up and can do multicast. With Group
	// set, one probe is sent from an unbound socket instead.
	Interfaces []net.Interface
}

// Credentials are a camera's user and password. The zero value asks without.
type Credentials struct {
	Username string
	Password secret.Text
}

// Client asks cameras. Make one with New; it may be used by many goroutines at once.
type Client struct{ conf Config }
