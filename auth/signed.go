package auth

import (
	"context"
	"net/http"

	"penstock/internal/fault"
	"penstock/wire/sigv4"
)

// Services are the names that requests may be signed for; any region name will do.
func Services() []string {
	return []string{"kinesisvideo", "kinesis", "firehose", "kinesisanalytics"}
}

// Signed checks the AWS signature of r, in its headers or its query. body is the whole
// body, not nil when it is empty; nil means that it was not read because it is PutMedia's
// endless one. fault.Invalid: the signature cannot be read; fault.Unauthentic: unknown
// key, wrong signature, or a clock more than 5 minutes off, in the words SDKs look for.
func (a *Authority) Signed(ctx context.Context, r *http.Request, body []byte, remote string) (Principal, error) {
	s, err := sigv4.Parse(r)
	if err != nil {
		a.gauges.failed("sigv4")
		return Principal{}, err
	}
	known := false
	for _, name := range Services() {
		known = known || name == s.Service
	}
	if !known {
		a.gauges.failed("sigv4")
		return Principal{}, fault.New(fault.Unauthentic, "check signature", "", "Credential should be scoped to correct service")
	}
	secret, p, err := a.SigningSecret(ctx, s.AccessKey)
	if err != nil {
		return Principal{}, err
	}
	if err := s.Verify(secret.Reveal(), s.Payload(body), a.config.Clock.Now()); err != nil {
		a.gauges.failed("sigv4")
		return Principal{}, err
	}
	a.touch(p.ID, remote)
	return p, nil
}
