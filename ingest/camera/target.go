// Package camera holds one conversation with one RTSP camera: an address and
// credentials in, packets out, and a Trouble with a cause and a next step when
// something is wrong on the way.
//
// When to call again is package pull's business, how to explain a camera to a
// person step by step package probe's; both go through Open. RTSP, SDP and RTP
// transport are gortsplib's (RFC 2326, RFC 8866, RFC 3550).
package camera

import (
	"net"
	"net/url"
	"strings"

	"penstock/internal/fault"
	"penstock/internal/secret"
	"penstock/streams"
)

// URLMax is the longest camera address accepted, in bytes: the catalogue's own limit.
const URLMax = 2048

// Transport says how media travels.
type Transport = streams.Transport

// The transports: Auto tries TCP first and UDP when that is refused.
const (
	Auto = streams.Auto
	TCP  = streams.TCP
	UDP  = streams.UDP
)

// Target is a camera's address, and what it takes to get in. It is a value; copies
// share the URL, which is read-only.
type Target struct {
	// URL has scheme rtsp or rtsps, a host and a port, and never user or password.
	URL         *url.URL
	Username    string
	Password    secret.Text
	Transport   Transport // "" is Auto
	Certificate Certificate
}

// ParseTarget reads an address the way people paste it. A user and password inside
// raw are split off and used where username and password are both empty; they may hold
// any character, "@" and "/" included, as long as the host follows the last "@". A
// fragment names the certificate policy of an rtsps camera: see Certificate.
// Faults: Invalid, with a hint; none of them repeats the password.
func ParseTarget(raw, username string, password secret.Text) (Target, error) {
	bad := func(text, hint string) (Target, error) {
		return Target{}, fault.New(fault.Invalid, "read camera address", "", text).WithHint(hint)
	}
	const example = "write it like rtsp://192.168.1.20:554/stream1"
	raw = strings.TrimSpace(raw)
	if len(raw) > URLMax {
		return bad("it is longer than 2048 characters", example)
	}
	if !strings.Contains(raw, "://") {
		raw = "rtsp://" + raw
	}
	scheme, rest, _ := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	port := "554"
	switch scheme {
	case "rtsp":
	case "rtsps":
		port = "322"
	default:
		return bad("it does not begin with rtsp:// or rtsps://", example)
	}
	info, rest := splitUserinfo(rest)
	t := Target{Username: username, Password: password}
	if info != nil && username == "" && password.Empty() {
		t.Username, t.Password = info.user, secret.New(info.pass)
	}
	u, err := url.Parse(scheme + "://" + escapeStray(rest))
	if err != nil {
		return bad("it is not a valid address", example)
	}
	if u.Hostname() == "" {
		return bad("it names no host", example)
	}
	if t.Certificate, err = parseCertificate(u.Fragment); err != nil {
		return Target{}, err
	}
	u.Fragment, u.RawFragment, u.User = "", "", nil
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if _, err := net.LookupPort("tcp", u.Port()); err != nil {
		return bad("port "+u.Port()+" does not exist", example)
	}
	if _, err := url.Parse(u.String()); err != nil { // "::" is no host, with or without brackets
		return bad("it is not a valid address", example)
	}
	t.URL = u
	return t, nil
}

// Address is host:port, for dialling and for messages.
func (t Target) Address() string { return t.URL.Host }

// Secure reports whether the conversation runs inside TLS.
func (t Target) Secure() bool { return t.URL.Scheme == "rtsps" }

type userinfo struct{ user, pass string }

// splitUserinfo takes "user:pass@" off the front of rest. Pasted passwords are seldom
// escaped, so the host begins after the last "@" that still has a plausible host
// behind it, not after the first as RFC 3986 has it; escapes that are valid are undone.
func splitUserinfo(rest string) (*userinfo, string) {
	at := -1
	for i := 0; i < len(rest); i++ {
		if rest[i] == '@' && plausibleHost(rest[i+1:]) {
			at = i
		}
	}
	if at < 0 {
		return nil, rest
	}
	// "host/path?x=a@b": what precedes is an address of its own, unless it has a colon
	// that is no port.
	if head, _, found := strings.Cut(rest[:at], "/"); found && plausibleHost(head+"/") && !strings.Contains(rest[:at], "@") && !credentialsLike(head) {
		return nil, rest
	}
	user, pass, _ := strings.Cut(rest[:at], ":")
	return &userinfo{unescape(user), unescape(pass)}, rest[at+1:]
}

// credentialsLike tells "admin:secret" from "host:554".
func credentialsLike(head string) bool {
	_, port, found := strings.Cut(head, ":")
	if !found || strings.HasPrefix(head, "[") {
		return false
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return true
		}
	}
	return false
}

// plausibleHost reports whether s begins with host[:port] and then ends, or goes on
// with a path, a query or a fragment.
func plausibleHost(s string) bool {
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	if s == "" || strings.ContainsAny(s, "@ \"'<>\\^`{|}%&=+!$*(),;") {
		return false
	}
	host := s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		return end > 0 && (end == len(s)-1 || s[end+1] == ':')
	}
	if h, port, found := strings.Cut(s, ":"); found {
		host = h
		for _, c := range port {
			if c < '0' || c > '9' {
				return false
			}
		}
	}
	return host != ""
}

func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// escapeStray repairs a "%" that begins no escape: cameras have such paths, and
// net/url refuses them.
func escapeStray(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && !(i+2 < len(s) && hexDigit(s[i+1]) && hexDigit(s[i+2])) {
			b.WriteString("%25")
			continue
		}
		if s[i] == ' ' {
			b.WriteString("%20")
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
