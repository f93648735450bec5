package web

import (
	"context"
	"net/url"
	"strings"
	"time"

	"penstock/ingest/camera"
	"penstock/ingest/onvif"
	"penstock/internal/fault"
	"penstock/internal/secret"
)

// setKeysTime bounds how long a camera is talked to about its encoder.
const setKeysTime = time.Minute

// keysBody says how often a camera is to make a key frame.
type keysBody struct {
	Seconds float64 `json:"seconds"`
	Profile string  `json:"profile"` // of the camera; "": the one that is watched
	Device  string  `json:"device"`  // address of its ONVIF device service; "": looked for
}

// newKeysBody is keysBody for a camera that is not added yet.
type newKeysBody struct {
	URL      string `json:"url"`
	Username string `json:"username"`
	Password string `json:"password"`
	keysBody
}

// keysView is what was and what is.
type keysView struct {
	Before onvif.Keys `json:"before"`
	After  onvif.Keys `json:"after"`
}

// setKeys sets the key frame interval of a stream's camera, through ONVIF.
func setKeys(c *call) error {
	var body keysBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	if c.stream.Source == nil {
		return fault.New(fault.Invalid, "set key frame interval", c.stream.Name, "it is pushed here, so there is no camera to ask").
			WithHint("set it where the video is encoded")
	}
	t, err := camera.ParseTarget(c.stream.Source.URL, c.stream.Source.Username, c.stream.Source.Password)
	if err != nil {
		return err
	}
	return c.setKeys(t, body)
}

// setNewKeys is setKeys for a camera that is being added.
func setNewKeys(c *call) error {
	var body newKeysBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	t, err := camera.ParseTarget(body.URL, body.Username, secret.New(body.Password))
	if err != nil {
		return err
	}
	c.object = t.URL.Host // some cameras have their password in the path
	return c.setKeys(t, body.keysBody)
}

func (c *call) setKeys(t camera.Target, body keysBody) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), setKeysTime)
	defer cancel()
	device := body.Device
	if device == "" {
		var err error
		if device, err = c.s.c.Discover.Device(ctx, t.URL.Hostname()); err != nil {
			return err
		}
	}
	if u, err := url.Parse(device); err != nil || !strings.EqualFold(u.Hostname(), t.URL.Hostname()) {
		// The camera's password goes there.
		return fault.New(fault.Invalid, "set key frame interval", device, "the device service is not on the camera's own host "+t.URL.Hostname())
	}
	every := time.Duration(min(max(body.Seconds, 0), 3600) * float64(time.Second))
	before, after, err := c.s.c.Discover.SetKeyInterval(ctx, device, onvif.Credentials{Username: t.Username, Password: t.Password}, t.URL.String(), body.Profile, every)
	if fault.Is(err, fault.Unauthentic) {
		// It is the camera that does not know us; the caller has signed in.
		return &fault.Error{Kind: fault.Unavailable, Err: err}
	}
	if err != nil {
		return err
	}
	return c.json(keysView{before, after})
}
