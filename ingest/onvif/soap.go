package onvif

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/IOTechSystems/onvif/gosoap"

	"penstock/internal/fault"
)

// replyMax bounds an answer: profiles of a camera with many have 200 kB.
const replyMax = 1 << 20

// textMax bounds what of a camera's words is kept.
const textMax = 128

// unmarshal reads XML of limited size. encoding/xml knows no external entities and
// bounds nesting.
func unmarshal(b []byte, into any) error {
	if len(b) > replyMax {
		return errors.New("the answer is too long")
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	// Cameras declare character sets that they do not use; what is no UTF-8 is refused
	// further down.
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return d.Decode(into)
}

func shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > textMax {
		s = strings.ToValidUTF8(s[:textMax], "")
	}
	return s
}

// caller speaks SOAP with one device.
type caller struct {
	c      *Client
	http   *http.Client
	cred   Credentials
	host   string        // the device's
	offset time.Duration // device clock minus ours: tokens carry the device's time
}

func (c *Client) caller(cred Credentials) *caller {
	tr := &http.Transport{DialContext: c.conf.Dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: false}
	hc := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &caller{c: c, http: hc, cred: cred}
}

// call sends request to endpoint and reads the answer into into.
func (k *caller) call(ctx context.Context, endpoint string, request, into any, signed bool) error {
	ctx, cancel := context.WithTimeout(ctx, k.c.conf.Timeout)
	defer cancel()
	body, err := k.envelope(request, signed && k.cred.Username != "")
	if err != nil {
		return fault.Wrap(fault.Internal, "ask camera", endpoint, err)
	}
	res, err := k.post(ctx, endpoint, body, "")
	if err != nil {
		return fault.Wrap(fault.Unavailable, "ask camera", endpoint, err)
	}
	if res.status == http.StatusUnauthorized && k.cred.Username != "" {
		if auth, ok := digest(res.challenge, endpoint, k.cred); ok {
			if res, err = k.post(ctx, endpoint, body, auth); err != nil {
				return fault.Wrap(fault.Unavailable, "ask camera", endpoint, err)
			}
		}
	}
	return res.read(endpoint, into)
}

// reply is what came back.
type reply struct {
	status    int
	challenge []string
	body      []byte
}

func (r reply) read(endpoint string, into any) error {
	var f soapFault
	if err := unmarshal(r.body, &f); err == nil && f.denied() || r.status == http.StatusUnauthorized {
		return fault.New(fault.Unauthentic, "ask camera", endpoint, "it refuses user or password").
			WithHint("ONVIF often has accounts of its own: check them on the camera's page")
	}
	if r.status != http.StatusOK {
		said := fmt.Sprintf("it answers with HTTP status %d", r.status)
		if why := shorten(strings.TrimSpace(f.Body.Fault.Reason.Text)); why != "" {
			said += ": " + why
		}
		return fault.New(fault.Unavailable, "ask camera", endpoint, said)
	}
	if err := unmarshal(r.body, into); err != nil {
		return fault.Wrap(fault.Unavailable, "read camera's answer", endpoint, err)
	}
	return nil
}

// soapFault is the part of a SOAP 1.2 fault that tells refusals (ONVIF Core §5.11.2.2).
type soapFault struct {
	Body struct {
		Fault struct {
			Code struct {
				Subcode struct {
					Value   string
					Subcode struct{ Value string }
				}
			}
			Reason struct{ Text string }
		}
	}
}

func (f soapFault) denied() bool {
	sub := f.Body.Fault.Code.Subcode
	return strings.HasSuffix(sub.Value, "NotAuthorized") || strings.HasSuffix(sub.Subcode.Value, "NotAuthorized") ||
		strings.HasSuffix(sub.Value, "FailedAuthentication")
}

func (k *caller) post(ctx context.Context, endpoint string, body []byte, auth string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/soap+xml; charset=utf-8")
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	res, err := k.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, replyMax+1))
	if err != nil {
		return reply{}, err
	}
	return reply{res.StatusCode, res.Header.Values("WWW-Authenticate"), b}, nil
}

// envelope wraps request, signed with a UsernameToken of the device's time.
func (k *caller) envelope(request any, signed bool) ([]byte, error) {
	inner, err := xml.Marshal(request)
	if err != nil {
		return nil, err
	}
	soap := gosoap.NewEmptySOAP()
	soap.AddStringBodyContent(string(inner))
	soap.AddRootNamespaces(map[string]string{
		"tds": "http://www.onvif.org/ver10/device/wsdl", "trt": "http://www.onvif.org/ver10/media/wsdl", "onvif": "http://www.onvif.org/ver10/schema",
	})
	if signed {
		token, err := k.token()
		if err != nil {
			return nil, err
		}
		if err := soap.AddStringHeaderContent(token); err != nil {
			return nil, err
		}
	}
	return []byte(soap.String()), nil
}

// token is a WS-Security UsernameToken with a password digest (WSS UsernameToken
// Profile 1.0 §3.1). The library's own takes our clock for the camera's.
func (k *caller) token() (string, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	created := k.c.conf.Clock.Now().Add(k.offset).UTC().Format("2006-01-02T15:04:05.000Z")
	sum := sha1.New()
	sum.Write(nonce)
	io.WriteString(sum, created+k.cred.Password.Reveal())
	var user bytes.Buffer
	if err := xml.EscapeText(&user, []byte(k.cred.Username)); err != nil {
		return "", err
	}
	const (
		wsse = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
		wsu  = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
		typ  = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
		enc  = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"
	)
	return `<Security xmlns="` + wsse + `"><UsernameToken><Username>` + user.String() + `</Username><Password Type="` + typ + `">` +
		base64.StdEncoding.EncodeToString(sum.Sum(nil)) + `</Password><Nonce EncodingType="` + enc + `">` +
		base64.StdEncoding.EncodeToString(nonce) + `</Nonce><Created xmlns="` + wsu + `">` + created + `</Created></UsernameToken></Security>`, nil
}

// digest answers an HTTP Digest challenge (RFC 2617 §3.2.2), MD5 with or without
// qop=auth: what cameras ask for.
func digest(challenges []string, endpoint string, cred Credentials) (string, bool) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", false
	}
	for _, c := range challenges {
		scheme, rest, _ := strings.Cut(c, " ")
		if !strings.EqualFold(scheme, "digest") {
			continue
		}
		p := parameters(rest)
		if a := p["algorithm"]; a != "" && !strings.EqualFold(a, "MD5") || p["nonce"] == "" {
			continue
		}
		uri := u.RequestURI()
		sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
		ha1, ha2 := sum(cred.Username+":"+p["realm"]+":"+cred.Password.Reveal()), sum("POST:"+uri)
		head := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", `, quoted(cred.Username), quoted(p["realm"]), quoted(p["nonce"]), uri)
		if o := p["opaque"]; o != "" {
			head += `opaque="` + quoted(o) + `", `
		}
		if p["qop"] == "" {
			return head + `response="` + sum(ha1+":"+p["nonce"]+":"+ha2) + `"`, true
		}
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", false
		}
		cnonce := hex.EncodeToString(b[:])
		return head + `qop=auth, nc=00000001, cnonce="` + cnonce + `", response="` +
			sum(ha1+":"+p["nonce"]+":00000001:"+cnonce+":auth:"+ha2) + `"`, true
	}
	return "", false
}

func quoted(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s)
}

// parameters reads key=value and key="value" pairs.
func parameters(s string) map[string]string {
	out := map[string]string{}
	for s = strings.TrimLeft(s, ", \t"); s != ""; s = strings.TrimLeft(s, ", \t") {
		key, rest, found := strings.Cut(s, "=")
		if !found {
			break
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, s, _ = strings.Cut(rest[1:], `"`)
		} else {
			value, s, _ = strings.Cut(rest, ",")
		}
		out[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
	}
	return out
}
