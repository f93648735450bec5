package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"penstock/internal/fault"
)

// A media token is "psm_" and base64url of: version, kind, expiry, from, to (ms),
// generation of the principal, principal id and stream ARN with their lengths, and an
// HMAC-SHA256 of all that. Nothing is stored: it dies with its expiry, and with the
// key or person it was minted by. One that is taken back sooner is remembered by its
// sum until it would have expired.
const (
	mediaVersion = 1
	mediaFixed   = 2 + 4*8
	mediaARNMax  = 2048
)

// mediaGrant narrows a principal to one stream and time window.
type mediaGrant struct {
	arn      string
	from, to time.Time
	sum      string // which token it is
}

// mediaAction says whether a media token may be used for an action at all, and whether it
// reads what is recorded.
func mediaAction(action Action) (allowed, recorded bool) {
	switch action {
	case GetMedia, GetHLS, GetDASH, DescribeStream:
		return true, false
	case ListFragments, GetFragmentMedia, GetClip, GetImages:
		return true, true
	}
	return false, false
}

// MintMedia makes a token with which its bearer may watch one stream as p may, until
// ttl is over (at most MediaLifeMax), and only media of [from, to] when those are set.
// Authorize p for the stream first; Authorize looks at p's own rights again with each use.
func (a *Authority) MintMedia(p Principal, streamARN string, ttl time.Duration, from, to time.Time) (Secret, time.Time, error) {
	switch {
	case !p.Known() || p.media != nil:
		return Secret{}, time.Time{}, fault.New(fault.Denied, "mint media token", streamARN, "a media token cannot be made from "+via(p))
	case ttl <= 0 || ttl > MediaLifeMax:
		return Secret{}, time.Time{}, fault.New(fault.Invalid, "mint media token", streamARN, "ttl "+ttl.String()+"; want up to "+MediaLifeMax.String())
	case len(streamARN) > mediaARNMax || arnAccount(streamARN) != p.Account:
		return Secret{}, time.Time{}, fault.New(fault.Invalid, "mint media token", "", "not a stream of this account")
	}
	expires := a.config.Clock.Now().Add(ttl).UTC()
	if !p.Expires.IsZero() && p.Expires.Before(expires) {
		expires = p.Expires
	}
	b := make([]byte, 0, 128)
	b = append(b, mediaVersion, byte(p.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(toMillis(expires)))
	b = binary.BigEndian.AppendUint64(b, uint64(toMillis(from)))
	b = binary.BigEndian.AppendUint64(b, uint64(toMillis(to)))
	b = binary.BigEndian.AppendUint64(b, p.generation)
	b = append(b, byte(len(p.ID)))
	b = append(b, p.ID...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(streamARN)))
	b = append(b, streamARN...)
	b = append(b, a.mediaSum(b)...)
	return newSecret(prefixMedia + base64.RawURLEncoding.EncodeToString(b)), expires, nil
}

func via(p Principal) string {
	if !p.Known() {
		return "nobody's rights"
	}
	return "another"
}

func (a *Authority) mediaSum(b []byte) []byte {
	m := hmac.New(sha256.New, a.ring.media)
	m.Write(b)
	return m.Sum(nil)[:16]
}

// Media reads a media token. Not ours, expired, or minted by a key or person that is
// gone: fault.Unauthentic.
func (a *Authority) Media(ctx context.Context, token, remote string) (Principal, error) {
	p, err := a.readMedia(token)
	if err != nil {
		a.gauges.failed("media")
		refused := &fault.Error{Kind: fault.Unauthentic, Op: "check media token", Err: err, Hint: "make a new one with POST /v1/streams/NAME/token"}
		if strings.HasPrefix(token, prefixBearer) {
			refused.Hint = "a key's token belongs in the header `Authorization: Bearer`; for an address make one with POST /v1/streams/NAME/token"
		}
		return Principal{}, refused
	}
	proved(ctx)
	return p, nil
}

func (a *Authority) readMedia(token string) (Principal, error) {
	bad := errors.New("it is not valid here")
	text, ok := strings.CutPrefix(token, prefixMedia)
	if !ok || len(token) > tokenMax {
		return Principal{}, bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < mediaFixed+1+2+16 {
		return Principal{}, bad
	}
	body := b[:len(b)-16]
	if !hmac.Equal(b[len(b)-16:], a.mediaSum(body)) || body[0] != mediaVersion {
		return Principal{}, bad
	}
	// The HMAC says that we wrote the rest.
	num := func(i int) int64 { return int64(binary.BigEndian.Uint64(body[2+8*i:])) }
	rest := body[mediaFixed:]
	id := string(rest[1 : 1+int(rest[0])])
	arn := string(rest[1+len(id)+2:])
	expires, sum := fromMillis(num(0)), hex.EncodeToString(b[len(b)-16:])
	if !a.config.Clock.Now().Before(expires) {
		return Principal{}, errors.New("it has expired")
	}
	d, p := a.dir.Load(), Principal{}
	if _, ok := d.revoked[sum]; ok {
		return Principal{}, errors.New("it was revoked")
	}
	switch Kind(body[1]) {
	case Person:
		if who := d.people[id]; who != nil {
			p = who.principal("media")
		}
	case Key:
		if k := d.keys[id]; k != nil {
			p = k.principal("media")
		}
	}
	if !p.Known() || p.generation != uint64(num(3)) {
		return Principal{}, errors.New("who made it may no longer sign in")
	}
	p.Expires = expires
	p.media = &mediaGrant{arn: arn, from: fromMillis(num(1)), to: fromMillis(num(2)), sum: sum}
	return p, nil
}

// covers reports whether the token's stream and window hold what is asked for.
func (g *mediaGrant) covers(action Action, resource string, c *Context) (bool, string) {
	allowed, recorded := mediaAction(action)
	if !allowed {
		return false, "a media token does not allow " + string(action)
	}
	if resource != g.arn {
		return false, "the media token is for another stream"
	}
	if g.from.IsZero() && g.to.IsZero() || action == DescribeStream {
		return true, "" // a door asks for the latter to know whether to say that there is a stream
	}
	from, to := c.From, c.To
	if from.IsZero() && to.IsZero() {
		if recorded {
			return false, "the media token is bound to a time span, and none was asked for"
		}
		from, to = c.Time, c.Time // live
	}
	if to.IsZero() {
		to = c.Time
	}
	if !g.from.IsZero() && from.Before(g.from) || !g.to.IsZero() && to.After(g.to) {
		return false, "outside the media token's time span"
	}
	return true, ""
}
