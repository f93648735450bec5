package camera

import (
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// Voice is what a camera's back channel takes: G.711 (RFC 3551 §4.5.14), an octet a sample.
type Voice struct {
	Codec   string `json:"codec"` // "PCMU" or "PCMA"
	Rate    int    `json:"rate"`  // samples a second: 8000
	Payload uint8  `json:"-"`     // RTP payload type
}

// voiceRate is the only rate of G.711 that cameras agree on; some offer 16 kHz beside it.
const voiceRate = 8000

// VoiceOf returns the first format of a back channel that can be spoken. The order is the
// camera's own: some list what they do not play.
func VoiceOf(m *description.Media) (Voice, bool) {
	if m.Type != description.MediaTypeAudio || !m.IsBackChannel {
		return Voice{}, false
	}
	for _, f := range m.Formats {
		g, ok := f.(*format.G711)
		if !ok || g.SampleRate != voiceRate || g.ChannelCount != 1 {
			continue
		}
		v := Voice{Codec: "PCMA", Rate: g.SampleRate, Payload: g.PayloadTyp}
		if g.MULaw {
			v.Codec = "PCMU"
		}
		return v, true
	}
	return Voice{}, false
}

// PickBack returns the first back channel of s that VoiceOf knows.
func PickBack(s *description.Session) []*description.Media {
	for _, m := range s.Medias {
		if _, ok := VoiceOf(m); ok {
			return []*description.Media{m}
		}
	}
	return nil
}

// Voice is what the back channel of a conversation with Config.Back takes.
func (c *Conn) Voice() Voice {
	v, _ := VoiceOf(c.Medias[0])
	return v
}

// stay takes out of an answer to SETUP where else than to the camera itself packets could
// be sent: an answer must not aim them at others.
func stay(r *base.Response) {
	var th headers.Transport
	if th.Unmarshal(r.Header["Transport"]) != nil || th.Source == nil && th.Destination == nil {
		return // what makes no sense is refused by the library
	}
	th.Source, th.Destination = nil, nil
	r.Header["Transport"] = th.Marshal()
}

// noBackError is a description without a back channel that can be used.
type noBackError struct{ session *description.Session }

// Error tells what there is instead.
func (e *noBackError) Error() string { return strings.Join(e.codecs(), ", ") }

// codecs are the formats of the back channels there are.
func (e *noBackError) codecs() []string {
	var out []string
	for _, m := range e.session.Medias {
		if !m.IsBackChannel || m.Type != description.MediaTypeAudio {
			continue
		}
		for _, f := range m.Formats {
			name := f.Codec()
			if g, ok := f.(*format.Generic); ok {
				name, _, _ = strings.Cut(g.RTPMa, "/")
			}
			out = append(out, plain(name)+" "+strconv.FormatFloat(float64(f.ClockRate())/1000, 'g', 4, 64)+" kHz")
		}
	}
	return out
}

// explainNoBack says why a description is of no use to a voice.
func explainNoBack(tr *Trouble, e *noBackError) {
	if len(e.codecs()) == 0 {
		noBack(tr, "it describes none")
		return
	}
	tr.Cause = BackChannelCodec
	tr.Detail = "the camera's loudspeaker takes only " + e.Error() + ", and this server speaks G.711 at 8 kHz"
	tr.Try = "set the codec of its audio to G.711 (PCMU, PCMA) in the camera's settings"
}

func noBack(tr *Trouble, why string) {
	tr.Cause = NoBackChannel
	tr.Detail = "the camera offers no two-way audio (" + why + ")"
	tr.Try = "switch its loudspeaker or two-way audio on in its settings; it must offer ONVIF's back channel, as Profile T has it"
}

// explainBackStatus explains a refusal where it says something about the back channel.
func explainBackStatus(tr *Trouble, e *exchange, code liberrors.ErrClientBadStatusCode) bool {
	said := strconv.Itoa(int(code.Code)) + " " + plain(code.Message)
	switch code.Code {
	case base.StatusUnauthorized, base.StatusForbidden, base.StatusUnsupportedTransport:
		return false
	case base.StatusOptionNotSupported:
		noBack(tr, said)
		return true
	case base.StatusNotEnoughBandwidth, base.StatusServiceUnavailable:
		tr.Cause, tr.Detail = Busy, "the camera has no room for another voice ("+said+")"
		tr.Try = "end what else talks to it, such as its maker's app, and close other viewers"
		return true
	}
	switch {
	case code.Code < 400:
		return false // a redirect
	case e.method == base.Describe:
		// Asked without the back channel, most of these describe themselves well.
		noBack(tr, said)
	default:
		tr.Cause, tr.Detail = Busy, "the camera offers two-way audio and refuses "+string(e.method)+" for it ("+said+")"
		tr.Try = "end what else talks to it, such as its maker's app; if nothing does, restart the camera"
	}
	return true
}
