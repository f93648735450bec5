package auth

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

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
	p, _, err := a.SignedIn(ctx, r, body, remote)
	return p, err
}

// SignedIn is Signed, with the region that the request is signed for.
func (a *Authority) SignedIn(ctx context.Context, r *http.Request, body []byte, remote string) (p Principal, region string, err error) {
	var s sigv4.Signature
	k, err := a.signer(ctx, r, &s)
	if err != nil {
		return p, "", err
	}
	now := a.config.Clock.Now()
	if err := a.verify(&s, k, s.Payload(body), now); err != nil {
		a.gauges.failed("sigv4")
		return p, "", err
	}
	a.touchAt(k.ID, remote, now)
	proved(ctx)
	return k.principal("sigv4"), s.Region, nil
}

// signer reads the signature of r into s and finds the key that it names.
func (a *Authority) signer(ctx context.Context, r *http.Request, s *sigv4.Signature) (*key, error) {
	if err := s.Read(r); err != nil {
		a.gauges.failed("sigv4")
		return nil, err
	}
	if !slices.Contains(Services(), s.Service) {
		a.gauges.failed("sigv4")
		return nil, fault.New(fault.Unauthentic, "check signature", "", "Credential should be scoped to correct service")
	}
	return a.signingKey(ctx, s.AccessKey)
}

// Vouch says of a request whose body is not there yet whether its signature can be good: it
// can be read and names a key that there is. The faults are those of Signed. An id is no
// secret, so that proves nothing; proved is what does: the client sends the hash of its body,
// as signed, and the signature is good, whatever the body will be; or somebody at remote, an
// address, has lately signed with that key.
func (a *Authority) Vouch(ctx context.Context, r *http.Request, remote string) (proved bool, err error) {
	var s sigv4.Signature
	k, err := a.signer(ctx, r, &s)
	if err != nil {
		return false, err
	}
	now := a.config.Clock.Now()
	if payload := s.Declared(); payload != nil {
		err := a.verify(&s, k, payload, now)
		if err == nil || !s.Presigned { // a URL may be signed with the hash of its body, too
			return err == nil, err
		}
	}
	host := hostOf(remote)
	return host != "" && (k.LastRemote == host && now.Sub(k.LastUsed) < SessionIdle || a.proofs.lately(k.ID, host, now)), nil
}

// verify checks a signature with a key that was derived for an earlier request of the same
// scope, or with a new one, which is kept once it has proved right: strangers fill nothing.
func (a *Authority) verify(s *sigv4.Signature, k *key, payload []string, now time.Time) error {
	scope := signingScope{k.ID, k.secret, s.Day, s.Region, s.Service}
	if known := a.derived.get(scope); known != nil {
		return s.VerifyWith(known, payload, now)
	}
	secret, err := a.secretOf(k)
	if err != nil {
		return err
	}
	fresh := s.Key(secret.Reveal())
	if err := s.VerifyWith(fresh, payload, now); err != nil {
		return err
	}
	a.derived.put(scope, fresh)
	return nil
}

// derivedMax bounds the signing keys that are kept: each is 128 bytes and some words.
const derivedMax = 4096

// signingScope is what a signing key is derived for. The sealed secret is in it so that
// another secret of the same key id is another scope.
type signingScope struct{ id, sealed, day, region, service string }

// derivedKeys keeps signing keys.
type derivedKeys struct {
	mu   sync.RWMutex
	keys map[signingScope]*sigv4.Key
}

func (d *derivedKeys) get(s signingScope) *sigv4.Key {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.keys[s]
}

func (d *derivedKeys) put(s signingScope, k *sigv4.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil || len(d.keys) >= derivedMax {
		d.keys = map[signingScope]*sigv4.Key{} // days pass: most of them are old
	}
	d.keys[s] = k
}
