package camera

import "errors"

// Cause sorts what can go wrong with a camera by what helps.
type Cause uint8

// The causes. The numbers are not stored anywhere.
const (
	Unknown          Cause = iota
	BadAddress             // the address cannot be used
	NoSuchHost             // its name does not resolve
	Refused                // the machine answers, the port does not
	Unreachable            // nothing answers, or no route
	NotRTSP                // something answers that does not speak RTSP
	NoAnswer               // connected, and then silence
	BadTLS                 // the certificate or the TLS handshake failed
	WrongPassword          // 401, with what we have
	NeedsPassword          // 401, and we have nothing
	Forbidden              // 403
	NoSuchPath             // 404, 451, 454: no stream of that name
	Busy                   // 453, 503: too many viewers, or still starting
	BadAnswer              // an answer or SDP that makes no sense
	NoMedia                // described, and nothing in it that can be recorded
	NoTransport            // 461: neither TCP nor UDP is accepted
	NoPackets              // playing, and nothing comes
	Silent                 // media came, and then none for as long as the puller waits
	HungUp                 // the camera ended the connection
	Redirected             // moved to where we will not follow
	Taken                  // another producer holds the stream
	NoBackChannel          // it takes no sound
	BackChannelCodec       // it takes sound that this server does not speak
	Internal               // our side failed
	causes
)

// String returns the stable word that metrics carry.
func (c Cause) String() string {
	words := [causes]string{
		"unknown", "bad_address", "no_such_host", "refused", "unreachable", "not_rtsp", "no_answer", "bad_tls",
		"wrong_password", "needs_password", "forbidden", "no_such_path", "busy", "bad_answer", "no_media",
		"no_transport", "no_packets", "silent", "hung_up", "redirected", "taken", "no_back_channel",
		"back_channel_codec", "internal",
	}
	if c < causes {
		return words[c]
	}
	return words[Unknown]
}

// Trouble is why a conversation failed or ended. It is immutable.
type Trouble struct {
	Cause  Cause
	Detail string // what was seen, for a person, in lower case: "192.168.1.20:554 refused the connection"
	Try    string // the next step
	Status int    // RTSP status code, 0 when there was none
	Err    error  // below, may be nil
}

// Error returns Detail.
func (t *Trouble) Error() string { return t.Detail }

// Unwrap returns what lies below.
func (t *Trouble) Unwrap() error { return t.Err }

// Reason is Detail and Try as one line for a person.
func (t *Trouble) Reason() string {
	if t.Try == "" {
		return t.Detail
	}
	return t.Detail + ": " + t.Try
}

// TroubleOf returns the Trouble in err's chain; anything else becomes one with cause
// Unknown. It returns nil for nil.
func TroubleOf(err error) *Trouble {
	if err == nil {
		return nil
	}
	var t *Trouble
	if errors.As(err, &t) {
		return t
	}
	return &Trouble{Cause: Unknown, Detail: err.Error(), Err: err}
}
