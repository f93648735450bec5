package onvif

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/IOTechSystems/onvif/device"
	"github.com/IOTechSystems/onvif/media"
	"github.com/IOTechSystems/onvif/xsd/onvif"

	"penstock/ingest/camera"
	"penstock/internal/fault"
	"penstock/internal/secret"
)

// profilesMax is how many profiles of a camera are looked up: it has 2-6.
const profilesMax = 12

// clockMax is the largest offset of a camera's clock that is believed; beyond it, the
// answer is more likely wrong than the clock.
const clockMax = 100 * 365 * 24 * time.Hour

// Streams asks the device service at xaddr for its profiles and their RTSP addresses.
// Faults: Unauthentic (user or password), Unavailable (no ONVIF there), Invalid (xaddr).
func (c *Client) Streams(ctx context.Context, xaddr string, cred Credentials) ([]URL, error) {
	k, service, list, err := c.begin(ctx, xaddr, cred)
	if err != nil {
		return nil, err
	}
	var out []URL
	for _, p := range list {
		uri, err := k.streamURI(ctx, service, p.Token)
		if err != nil {
			if fault.Is(err, fault.Unauthentic) {
				return nil, err
			}
			continue // one broken profile says nothing about the others
		}
		if u, ok := usable(uri, k.host); ok {
			p.url.URL = u
			out = append(out, p.url)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Unavailable, "ask camera", xaddr, "it names no stream").
			WithHint("enter the RTSP address by hand; its manual has the path")
	}
	return out, nil
}

// begin asks the device service at xaddr where its media service is and what profiles that has.
func (c *Client) begin(ctx context.Context, xaddr string, cred Credentials) (k *caller, service string, list []profile, err error) {
	base, err := url.Parse(xaddr)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" {
		return nil, "", nil, fault.New(fault.Invalid, "ask camera", xaddr, "it is no http address").
			WithHint("it looks like http://192.168.1.20/onvif/device_service")
	}
	base.User = nil
	k = c.caller(cred)
	k.host = base.Hostname()
	k.clock(ctx, base.String())
	service = k.mediaService(ctx, base)
	list, err = k.profiles(ctx, service)
	return k, service, list, err
}

// usable makes an address of the camera's that may be dialled: on the host that it was
// asked at, without user and password.
func usable(uri, name string) (string, bool) {
	t, err := camera.ParseTarget(uri, "", secret.Text{})
	if err != nil {
		return "", false
	}
	u := *t.URL
	setHost(&u, name)
	return u.String(), true
}

// dateTime is GetSystemDateAndTimeResponse (ONVIF Core §8.3.5).
type dateTime struct {
	Body struct {
		GetSystemDateAndTimeResponse struct {
			SystemDateAndTime struct {
				UTCDateTime struct {
					Time struct{ Hour, Minute, Second int }
					Date struct{ Year, Month, Day int }
				}
			}
		}
	}
}

// clock learns the device's clock, which signatures must carry. Devices answer this
// without a password; one that does not is asked with ours.
func (k *caller) clock(ctx context.Context, endpoint string) {
	var d dateTime
	if k.call(ctx, endpoint, device.GetSystemDateAndTime{}, &d, false) != nil {
		return
	}
	k.offset = d.offset(k.c.conf.Clock.Now())
}

func (d dateTime) offset(now time.Time) time.Duration {
	u := d.Body.GetSystemDateAndTimeResponse.SystemDateAndTime.UTCDateTime
	if u.Date.Year < 1970 || u.Date.Year > 2200 {
		return 0
	}
	off := time.Date(u.Date.Year, time.Month(u.Date.Month), u.Date.Day, u.Time.Hour, u.Time.Minute, u.Time.Second, 0, time.UTC).Sub(now)
	if off > clockMax || off < -clockMax {
		return 0
	}
	return off
}

// capabilities is the part of GetCapabilitiesResponse that names the media service.
type capabilities struct {
	Body struct {
		GetCapabilitiesResponse struct {
			Capabilities struct{ Media struct{ XAddr string } }
		}
	}
}

// mediaService is where profiles are; the device service itself when it does not say.
func (k *caller) mediaService(ctx context.Context, base *url.URL) string {
	var c capabilities
	if k.call(ctx, base.String(), device.GetCapabilities{Category: []onvif.CapabilityCategory{"Media"}}, &c, true) == nil {
		u, err := url.Parse(strings.TrimSpace(c.Body.GetCapabilitiesResponse.Capabilities.Media.XAddr))
		if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			u.User, u.Host = nil, base.Host // behind NAT it names an address that is not ours to reach
			u.Scheme = base.Scheme
			return u.String()
		}
	}
	return base.String()
}

// profileList is GetProfilesResponse (ONVIF Media §5.2.2), as far as it is shown.
type profileList struct {
	Body struct {
		GetProfilesResponse struct {
			Profiles []struct {
				Token                     string `xml:"token,attr"`
				Name                      string
				VideoEncoderConfiguration struct {
					Token       string `xml:"token,attr"`
					Encoding    string
					Resolution  struct{ Width, Height int }
					RateControl struct{ FrameRateLimit float64 }
				}
			}
		}
	}
}

type profile struct {
	Token   string
	encoder string // token of its video encoder's configuration
	url     URL
}

func (k *caller) profiles(ctx context.Context, service string) ([]profile, error) {
	var l profileList
	if err := k.call(ctx, service, media.GetProfiles{}, &l, true); err != nil {
		return nil, err
	}
	return l.list(), nil
}

func (l profileList) list() []profile {
	var out []profile
	for _, p := range l.Body.GetProfilesResponse.Profiles {
		if p.Token == "" || len(out) == profilesMax {
			continue
		}
		v := p.VideoEncoderConfiguration
		out = append(out, profile{p.Token, v.Token, URL{Profile: shorten(p.Name), Codec: strings.ToLower(shorten(v.Encoding)),
			Width: sane(v.Resolution.Width), Height: sane(v.Resolution.Height), FPS: sane(int(v.RateControl.FrameRateLimit))}})
	}
	return out
}

// sane leaves out numbers that no camera has.
func sane(n int) int {
	if n < 0 || n > 1<<16 {
		return 0
	}
	return n
}

// streamURI is GetStreamUriResponse.
type streamURI struct {
	Body struct {
		GetStreamUriResponse struct{ MediaUri struct{ Uri string } }
	}
}

func (k *caller) streamURI(ctx context.Context, service, token string) (string, error) {
	t := onvif.ReferenceToken(token)
	stream := onvif.StreamType("RTP-Unicast")
	protocol := onvif.TransportProtocol("RTSP")
	var s streamURI
	err := k.call(ctx, service, media.GetStreamUri{ProfileToken: &t,
		StreamSetup: &onvif.StreamSetup{Stream: &stream, Transport: &onvif.Transport{Protocol: &protocol}}}, &s, true)
	return strings.TrimSpace(s.Body.GetStreamUriResponse.MediaUri.Uri), err
}
