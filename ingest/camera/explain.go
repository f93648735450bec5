package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"penstock/internal/fault"
)

type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

type noMediaError struct{ session *description.Session }

func (e *noMediaError) Error() string {
	var kinds []string
	for _, m := range e.session.Medias {
		for _, f := range m.Formats {
			kinds = append(kinds, string(m.Type)+" "+f.Codec())
		}
	}
	if len(kinds) == 0 {
		return "it describes no media at all"
	}
	return "it offers only " + strings.Join(kinds, ", ")
}

// explain turns what went wrong into a Trouble for a person.
func explain(ctx context.Context, t Target, e *exchange, err error) *Trouble {
	var known *Trouble
	if errors.As(err, &known) {
		return known
	}
	var de *dialError
	var te *tlsError
	var nm *noMediaError
	var nb *noBackError
	var code liberrors.ErrClientBadStatusCode
	tr := &Trouble{Err: err}
	switch {
	case errors.As(err, &de):
		explainDial(tr, t, de.err)
	case errors.As(err, &te):
		explainTLS(tr, t, te.err)
	case errors.As(err, &nm):
		tr.Cause = NoMedia
		tr.Detail = "the camera has nothing that can be recorded: " + nm.Error()
		tr.Try = "set its video codec to H.264 or H.265, or use the address of another of its streams"
	case errors.As(err, &nb):
		explainNoBack(tr, nb)
	case errors.As(err, &code):
		explainStatus(tr, t, e, code)
	case isTransport(err):
		tr.Cause = NoTransport
		tr.Detail = "the camera does not send media the way it was asked to (" + err.Error() + ")"
		tr.Try = "set the transport to auto"
	case isBadAnswer(err):
		tr.Cause = BadAnswer
		tr.Detail = "the camera's answer makes no sense: " + err.Error()
		tr.Try = "update the camera's firmware; if that does not help, report its model"
	case as[liberrors.ErrClientUDPTimeout](err):
		tr.Cause, tr.Detail = NoAnswer, "the camera promises media over UDP, and none arrives"
		tr.Try = "restart the camera; if a firewall lies between, set the transport to tcp"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		explainSilence(tr, t, e)
	case ctx.Err() != nil:
		tr.Cause, tr.Detail = Internal, "given up: "+context.Cause(ctx).Error()
	case isHangUp(err):
		explainHangUp(tr, t, e)
	case e.answered && (errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)):
		tr.Cause, tr.Detail = HungUp, "there is no way to "+t.URL.Hostname()+" any more"
		tr.Try = "check the camera's power and network cable"
	default:
		explainRest(tr, t, e, err)
	}
	return tr
}

func explainDial(tr *Trouble, t Target, err error) {
	var dns *net.DNSError
	switch {
	case fault.Is(err, fault.Denied):
		tr.Cause = Unreachable
		tr.Detail = t.Address() + " is not called: " + last(err)
		tr.Try = fault.HintOf(err)
	case errors.As(err, &dns):
		tr.Cause = NoSuchHost
		tr.Detail = "no machine is known by the name " + t.URL.Hostname()
		tr.Try = "check the name, or use the camera's IP address"
	case errors.Is(err, syscall.ECONNREFUSED):
		tr.Cause = Refused
		tr.Detail = t.Address() + " refuses connections"
		tr.Try = "switch RTSP on in the camera's settings and check that it listens on port " + t.URL.Port()
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		tr.Cause = Unreachable
		tr.Detail = "there is no way to " + t.URL.Hostname()
		tr.Try = "check the camera's power and network cable, and that this machine has a route to its network"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		tr.Cause = Unreachable
		tr.Detail = t.Address() + " does not answer"
		tr.Try = "check the camera's power and network cable, its address, and firewalls on the way"
	case errors.Is(err, context.Canceled):
		tr.Cause, tr.Detail = Internal, "given up while connecting"
	default:
		tr.Cause = Unreachable
		tr.Detail = t.Address() + " cannot be reached: " + last(err)
		tr.Try = "check the address"
	}
}

func explainTLS(tr *Trouble, t Target, err error) {
	tr.Cause = BadTLS
	switch {
	case errors.Is(err, ErrFingerprint):
		tr.Detail = ErrFingerprint.Error()
		tr.Try = "if it was replaced or reset, put the new fingerprint into its address; otherwise somebody is in between"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		tr.Detail = t.Address() + " does not shake hands for TLS"
		tr.Try = "use rtsp:// if the camera has no RTSPS, or the port on which it has it (often 322)"
	case strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		tr.Detail = t.Address() + " does not speak TLS"
		tr.Try = "use rtsp://, or the port on which the camera has RTSPS (often 322)"
	default:
		tr.Detail = "the camera's certificate is not accepted: " + last(err)
		tr.Try = "pin it by adding #certificate=sha256:FINGERPRINT to the address, or accept any with #certificate=any"
	}
}

func explainStatus(tr *Trouble, t Target, e *exchange, code liberrors.ErrClientBadStatusCode) {
	tr.Status = int(code.Code)
	said := fmt.Sprintf("%d %s", code.Code, plain(code.Message))
	if e.back && explainBackStatus(tr, e, code) {
		return
	}
	switch code.Code {
	case base.StatusUnauthorized:
		if t.Username == "" && t.Password.Empty() {
			tr.Cause, tr.Detail = NeedsPassword, "the camera asks for a user and password"
			tr.Try = "enter those of a camera account that may view"
			return
		}
		tr.Cause, tr.Detail = WrongPassword, "the camera refuses user "+quote(t.Username)+" or the password"
		tr.Try = "check both on the camera's own page; some cameras have separate accounts for RTSP or ONVIF"
	case base.StatusForbidden:
		tr.Cause, tr.Detail = Forbidden, "the camera lets user "+quote(t.Username)+" in, but not to this stream"
		tr.Try = "give that account the right to view live video"
	case base.StatusNotFound, 451, base.StatusSessionNotFound, base.StatusBadRequest:
		if e.method == base.Describe || code.Code == base.StatusNotFound {
			tr.Cause, tr.Detail = NoSuchPath, "the camera has no stream at "+quote(path(t))+" ("+said+")"
			tr.Try = "use the path from its manual, for instance " + strings.Join(CommonPaths(3), ", ")
			return
		}
		tr.Cause, tr.Detail, tr.Try = BadAnswer, "the camera refuses "+string(e.method)+" ("+said+")", "restart the camera"
	case base.StatusNotEnoughBandwidth, base.StatusServiceUnavailable:
		tr.Cause, tr.Detail = Busy, "the camera has no room for another viewer ("+said+")"
		tr.Try = "close other viewers or raise the camera's limit of connections; it may also still be starting"
	case base.StatusUnsupportedTransport:
		tr.Cause, tr.Detail = NoTransport, "the camera does not send media by "+strings.ToUpper(string(transportOf(t)))+" ("+said+")"
		tr.Try = "set the transport to auto"
	default:
		if e.location != "" || code.Code >= 300 && code.Code < 400 {
			tr.Cause, tr.Detail = Redirected, "the camera says that its stream is elsewhere ("+said+")"
			tr.Try = "use the new address directly, if you trust it"
			return
		}
		tr.Cause, tr.Detail = BadAnswer, "the camera refuses "+string(e.method)+" ("+said+")"
		tr.Try = "restart the camera, or update its firmware"
	}
}

func explainSilence(tr *Trouble, t Target, e *exchange) {
	if e.heard && !e.answered {
		explainRest(tr, t, e, nil)
		return
	}
	if e.answered {
		tr.Cause, tr.Detail = NoAnswer, "the camera stopped answering"
		tr.Try = "restart the camera; it may have too many viewers"
		return
	}
	tr.Cause, tr.Detail = NoAnswer, t.Address()+" takes the connection and says nothing"
	tr.Try = "check that port " + t.URL.Port() + " is the RTSP port (554 unless it was changed), or restart the camera"
}

func explainHangUp(tr *Trouble, t Target, e *exchange) {
	switch {
	case e.method == base.Play:
		tr.Cause, tr.Detail = HungUp, "the camera ended the connection"
	case e.answered:
		tr.Cause, tr.Detail = HungUp, "the camera hung up during "+string(e.method)
		tr.Try = "restart the camera; it may have too many viewers"
	default:
		tr.Cause, tr.Detail = NotRTSP, t.Address()+" hung up without an answer"
		tr.Try = "check that port " + t.URL.Port() + " is the RTSP port (554 unless it was changed)"
	}
}

func explainRest(tr *Trouble, t Target, e *exchange, err error) {
	if !e.answered {
		tr.Cause, tr.Detail = NotRTSP, "what answers at "+t.Address()+" does not speak RTSP"
		tr.Try = "check that port " + t.URL.Port() + " is the RTSP port (554 unless it was changed)"
		return
	}
	tr.Cause, tr.Detail = BadAnswer, "the conversation broke: "+last(err)
	tr.Try = "restart the camera, or update its firmware"
}

func isTransport(err error) bool {
	return as[liberrors.ErrClientServerRequestedUDP](err) || as[liberrors.ErrClientServerRequestedTCP](err) ||
		as[liberrors.ErrClientTransportHeaderInvalidDelivery](err) ||
		as[liberrors.ErrClientTransportHeaderNoInterleavedIDs](err) || as[liberrors.ErrClientServerPortsNotProvided](err)
}

func isBadAnswer(err error) bool {
	return as[liberrors.ErrClientSDPInvalid](err) || as[liberrors.ErrClientContentTypeMissing](err) ||
		as[liberrors.ErrClientContentTypeUnsupported](err) || as[liberrors.ErrClientSessionHeaderInvalid](err) ||
		as[liberrors.ErrClientTransportHeaderInvalid](err) || as[liberrors.ErrClientTransportHeaderInvalidInterleavedIDs](err) ||
		as[liberrors.ErrClientAuthSetup](err) || as[liberrors.ErrClientUnexpectedFrame](err)
}

func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || as[liberrors.ErrClientTerminated](err)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() || as[liberrors.ErrClientRequestTimedOut](err)
}

func as[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// last is the innermost text of err: net's errors repeat addresses on each layer.
func last(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return plain(err.Error())
		}
		err = next
	}
}

// plain keeps what a camera said printable and short.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}

func quote(s string) string { return fmt.Sprintf("%q", plain(s)) }

func path(t Target) string {
	if p := t.URL.RequestURI(); p != "" {
		return p
	}
	return "/"
}

func transportOf(t Target) Transport {
	if t.Transport == UDP {
		return UDP
	}
	return TCP
}
