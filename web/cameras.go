package web

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"penstock/ingest/camera"
	"penstock/ingest/onvif"
	"penstock/ingest/probe"
	"penstock/internal/secret"
)

type probeBody struct {
	URL       string `json:"url"`
	Username  string `json:"username"`
	Password  string `json:"password"`
	Transport string `json:"transport"`
}

type probeView struct {
	OK          bool          `json:"ok"`
	Steps       []probe.Step  `json:"steps"`
	URL         string        `json:"url"`
	Transport   string        `json:"transport,omitempty"`
	Tracks      []trackView   `json:"tracks"`
	KeyInterval float64       `json:"key_interval,omitempty"` // seconds
	ClockOffset *float64      `json:"clock_offset_ms,omitempty"`
	Picture     string        `json:"picture,omitempty"` // data: URL of a JPEG
	Talk        *camera.Voice `json:"talk"`              // what its loudspeaker takes; null: none that can be used
}

// probeCamera climbs the ladder. A client that takes NDJSON hears each step as it is
// taken, and the report as the last line.
func probeCamera(c *call) error {
	var body probeBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	req := probe.Request{URL: body.URL, Username: body.Username, Password: secret.New(body.Password), Transport: camera.Transport(body.Transport)}
	if !strings.Contains(c.r.Header.Get("Accept"), "application/x-ndjson") {
		rep, err := c.s.c.Probe.Probe(c.r.Context(), req, nil)
		if err != nil {
			return err
		}
		return c.json(viewReport(rep))
	}
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.Header().Set("Cache-Control", "no-store")
	lines, flush := json.NewEncoder(c.w), http.NewResponseController(c.w)
	rep, err := c.s.c.Probe.Probe(c.r.Context(), req, func(step probe.Step) {
		if lines.Encode(step) == nil {
			_ = flush.Flush()
		}
	})
	if err != nil {
		return err
	}
	_ = lines.Encode(map[string]any{"report": viewReport(rep)}) // the caller left: nobody reads it
	return nil
}

func viewReport(rep probe.Report) probeView {
	v := probeView{OK: rep.OK, Steps: rep.Steps, URL: rep.URL, Transport: string(rep.Transport), Tracks: trackViews(rep.Tracks), KeyInterval: rep.KeyInterval.Seconds(), Talk: rep.Voice}
	if rep.HasClock {
		ms := float64(rep.ClockOffset.Microseconds()) / 1000
		v.ClockOffset = &ms
	}
	if len(rep.JPEG) > 0 {
		v.Picture = "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(rep.JPEG)
	}
	return v
}

type discoverBody struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// discoverCameras is advice: a network without ONVIF answers an empty list.
func discoverCameras(c *call) error {
	var body discoverBody
	if c.r.ContentLength != 0 {
		if err := decode(c.w, c.r, &body); err != nil {
			return err
		}
	}
	cameras, err := c.s.c.Discover.Discover(c.r.Context())
	if err != nil {
		return err
	}
	if cameras == nil {
		cameras = []onvif.Camera{}
	}
	for i := range cameras {
		urls, err := c.s.c.Discover.Streams(c.r.Context(), cameras[i].XAddr, onvif.Credentials{Username: body.Username, Password: secret.New(body.Password)})
		if err == nil {
			cameras[i].URLs = urls
		}
	}
	return c.json(map[string]any{"cameras": cameras})
}
