package onvif

import (
	"context"
	"encoding/xml"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/IOTechSystems/onvif/device"
	"github.com/IOTechSystems/onvif/media"
	"github.com/IOTechSystems/onvif/xsd/onvif"

	"penstock/internal/fault"
)

// Bounds of a key frame interval that makes sense to ask for.
const (
	KeysLeast = 250 * time.Millisecond
	KeysMost  = 30 * time.Second
	// framesMost bounds a GovLength, where a camera's own range is not known.
	framesMost = 1000
)

// Keys is how often a camera's encoder makes a key frame.
type Keys struct {
	Profile string  `json:"profile"` // the camera's name for the stream
	Frames  int     `json:"frames"`  // from one key frame to the next
	FPS     float64 `json:"fps"`
	Seconds float64 `json:"seconds"`
}

func keysOf(p profile, e encoder) Keys {
	k := Keys{Profile: p.url.Profile, Frames: e.frames(), FPS: e.fps()}
	if k.FPS > 0 {
		k.Seconds = float64(k.Frames) / k.FPS
	}
	return k
}

// ports are where cameras have their device service, most common first.
func ports() []string { return []string{"80", "8000", "8080", "2020", "8899"} }

// Device finds the device service of a camera by its host: the first of the common ports
// that answers. Faults: Unavailable.
func (c *Client) Device(ctx context.Context, host string) (xaddr string, err error) {
	for _, port := range ports() {
		u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/onvif/device_service"}
		var d dateTime
		if c.caller(Credentials{}).call(ctx, u.String(), device.GetSystemDateAndTime{}, &d, false) == nil {
			return u.String(), nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", fault.New(fault.Unavailable, "find ONVIF of", host, "nothing answers at ports "+strings.Join(ports(), ", ")).
		WithHint("switch ONVIF on in the camera's settings, or name its device service, such as http://192.168.1.20:8000/onvif/device_service")
}

// SetKeyInterval has the camera at xaddr make a key frame every want in the stream that
// is watched at address, or in the profile of that name or token where one is named. All
// else of the encoder stays as it is. It returns what was and what is, as the camera says
// afterwards. Faults: Invalid, NotFound (no such profile), Unauthentic, Unavailable.
func (c *Client) SetKeyInterval(ctx context.Context, xaddr string, cred Credentials, address, name string, want time.Duration) (before, after Keys, err error) {
	if want < KeysLeast || want > KeysMost {
		return before, after, fault.New(fault.Invalid, "set key frame interval", want.String(), fmt.Sprintf("not between %s and %s", KeysLeast, KeysMost)).
			WithHint("1 or 2 seconds suit most")
	}
	k, service, list, err := c.begin(ctx, xaddr, cred)
	if err != nil {
		return before, after, err
	}
	p, err := k.choose(ctx, service, list, address, name)
	if err != nil {
		return before, after, err
	}
	e, err := k.encoder(ctx, service, p)
	if err != nil {
		return before, after, err
	}
	before = keysOf(p, e)
	if before.Frames == 0 || before.FPS == 0 {
		return before, after, fault.New(fault.Unavailable, "set key frame interval", p.url.Profile, "the camera does not tell it for "+strings.ToUpper(p.url.Codec)+
			"; of H.265 it is told only to ONVIF's second media service (Media2), which is not spoken").
			WithHint("set it on the camera's own page (I-frame interval, GOP length)")
	}
	least, most := k.bounds(ctx, service, p)
	frames := min(max(int(math.Round(want.Seconds()*before.FPS)), least), most)
	if err := k.setEncoder(ctx, service, e, frames); err != nil {
		return before, after, err
	}
	if e, err = k.encoder(ctx, service, p); err != nil {
		return before, after, err
	}
	if after = keysOf(p, e); after.Frames != frames {
		return before, after, fault.New(fault.Unavailable, "set key frame interval", p.url.Profile,
			fmt.Sprintf("the camera said yes and has %d frames, not %d", after.Frames, frames)).WithHint("set it on the camera's own page (I-frame interval, GOP length)")
	}
	return before, after, nil
}

// choose picks the profile that is meant.
func (k *caller) choose(ctx context.Context, service string, list []profile, address, name string) (profile, error) {
	var encoders []profile
	var names []string
	for _, p := range list {
		if p.encoder == "" {
			continue
		}
		encoders, names = append(encoders, p), append(names, p.url.Profile)
		if name != "" {
			if p.url.Profile == name || p.Token == name {
				return p, nil
			}
			continue
		}
		uri, err := k.streamURI(ctx, service, p.Token)
		if fault.Is(err, fault.Unauthentic) {
			return p, err
		}
		if err == nil && sameStream(address, uri) {
			return p, nil
		}
	}
	if name == "" && len(encoders) == 1 {
		return encoders[0], nil
	}
	text := "none of its profiles is this stream"
	if name != "" {
		text = "it has no such profile"
	}
	return profile{}, fault.New(fault.NotFound, "ask camera for profile", name, text).WithHint("name one of its profiles: " + strings.Join(names, ", "))
}

// sameStream reports whether a camera's address of a profile is the one that is watched:
// the same path, and what the latter has in its query.
func sameStream(watched, offered string) bool {
	a, err := url.Parse(watched)
	b, err2 := url.Parse(offered)
	if err != nil || err2 != nil || strings.Trim(a.Path, "/") != strings.Trim(b.Path, "/") {
		return false
	}
	have := b.Query()
	for key, values := range a.Query() {
		if have.Get(key) != values[0] {
			return false
		}
	}
	return true
}

// node is an element as it came, so that it can be sent back with all that is unknown.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

// find returns the element at a path of local names below n, or nil.
func (n *node) find(path ...string) *node {
	for _, name := range path {
		var next *node
		for i := range n.Nodes {
			if n.Nodes[i].XMLName.Local == name {
				next = &n.Nodes[i]
				break
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}

func (n *node) number(path ...string) float64 {
	m := n.find(path...)
	if m == nil {
		return 0
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(m.Text), 64)
	if err != nil || !(v > 0 && v < 1<<16) {
		return 0
	}
	return v
}

// tidy leaves out what the encoder of XML writes by itself.
func (n *node) tidy() {
	kept := n.Attrs[:0]
	for _, a := range n.Attrs {
		if a.Name.Space == "" && a.Name.Local != "xmlns" {
			kept = append(kept, a)
		}
	}
	n.Attrs, n.Text = kept, strings.TrimSpace(n.Text)
	for i := range n.Nodes {
		n.Nodes[i].tidy()
	}
}

// encoder is a VideoEncoderConfiguration (ONVIF Media §5.5).
type encoder struct{ node }

// gov is where the number of frames is; nil: not there.
func (e *encoder) gov() *node {
	if g := e.find("H264", "GovLength"); g != nil {
		return g
	}
	return e.find("MPEG4", "GovLength")
}

func (e *encoder) frames() int {
	if g := e.gov(); g != nil {
		return int(g.number())
	}
	return 0
}

// fps is the limit, of which only every EncodingInterval-th frame is encoded.
func (e *encoder) fps() float64 {
	return e.number("RateControl", "FrameRateLimit") / max(e.number("RateControl", "EncodingInterval"), 1)
}

// encoderAnswer is GetVideoEncoderConfigurationResponse.
type encoderAnswer struct {
	Body struct {
		GetVideoEncoderConfigurationResponse struct{ Configuration node }
	}
}

func (k *caller) encoder(ctx context.Context, service string, p profile) (encoder, error) {
	token := onvif.ReferenceToken(p.encoder)
	var a encoderAnswer
	err := k.call(ctx, service, media.GetVideoEncoderConfiguration{ConfigurationToken: token}, &a, true)
	e := encoder{a.Body.GetVideoEncoderConfigurationResponse.Configuration}
	if err == nil && len(e.Nodes) == 0 {
		err = fault.New(fault.Unavailable, "ask camera", service, "it does not tell how it encodes")
	}
	e.tidy()
	return e, err
}

// optionsAnswer is GetVideoEncoderConfigurationOptionsResponse.
type optionsAnswer struct {
	Body struct {
		GetVideoEncoderConfigurationOptionsResponse struct {
			Options struct {
				H264, MPEG4 struct{ GovLengthRange struct{ Min, Max int } }
			}
		}
	}
}

// bounds are what the camera takes; one that does not tell is asked for what is wanted.
func (k *caller) bounds(ctx context.Context, service string, p profile) (least, most int) {
	encoder, token := onvif.ReferenceToken(p.encoder), onvif.ReferenceToken(p.Token)
	var a optionsAnswer
	if k.call(ctx, service, media.GetVideoEncoderConfigurationOptions{ConfigurationToken: encoder, ProfileToken: token}, &a, true) == nil {
		o := a.Body.GetVideoEncoderConfigurationOptionsResponse.Options
		for _, r := range []struct{ Min, Max int }{o.H264.GovLengthRange, o.MPEG4.GovLengthRange} {
			if r.Max > 0 && r.Min <= r.Max {
				return max(r.Min, 1), r.Max
			}
		}
	}
	return 1, framesMost
}

const mediaSpace = "http://www.onvif.org/ver10/media/wsdl"

// setEncoder is SetVideoEncoderConfiguration (ONVIF Media §5.5.4).
type setEncoder struct {
	XMLName          xml.Name
	Configuration    node
	ForcePersistence bool
}

func (k *caller) setEncoder(ctx context.Context, service string, e encoder, frames int) error {
	e.gov().Text = strconv.Itoa(frames)
	e.XMLName = xml.Name{Space: mediaSpace, Local: "Configuration"}
	var done struct{ Body struct{} }
	return k.call(ctx, service, setEncoder{XMLName: xml.Name{Space: mediaSpace, Local: "SetVideoEncoderConfiguration"}, Configuration: e.node, ForcePersistence: true}, &done, true)
}
