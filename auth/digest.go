package auth

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"

	"penstock/internal/fault"
)

// Realm is what challenges name (RFC 7617 §2, RFC 7616 §3.3).
const Realm = "penstock"

// headerMax bounds an Authorization header that is looked at.
const headerMax = 8192

// Basic checks the user information of RTSP, MQTT and HTTP Basic: a key's bearer token
// as password (any user name) or as user name, else a person's name and password.
func (a *Authority) Basic(ctx context.Context, user, password, remote string) (Principal, error) {
	for _, token := range []string{password, user} {
		if wellFormed(prefixBearer, token) {
			p, err := a.Bearer(ctx, token, remote)
			p.Via = viaIf(err, "basic")
			return p, err
		}
	}
	p, err := a.Password(ctx, user, password, remote)
	p.Via = viaIf(err, "basic")
	return p, err
}

func viaIf(err error, via string) string {
	if err != nil {
		return ""
	}
	return via
}

// DigestKey finds the key that an RTSP Digest answer was made with, where the protocol
// library checks the answer: check gets one candidate password after another, first the
// tokens of keys whose id or name is the user name, then all others (any user name will
// do, as long as the address has not been wrong too often). It must compare in constant
// time. No match: fault.Unauthentic.
func (a *Authority) DigestKey(ctx context.Context, user, remote string, check func(password string) bool) (Principal, error) {
	k, err := a.digestKey(ctx, user, remote, check)
	if err != nil {
		return Principal{}, err
	}
	if k == nil {
		a.gauges.failed("digest")
		return Principal{}, fault.New(fault.Unauthentic, "sign in", "", "name or password is wrong").
			WithHint("with RTSP Digest the password is a token from `penstock key create`; people's passwords need Basic")
	}
	a.touch(k.ID, remote)
	return k.principal("digest"), nil
}

func (a *Authority) digestKey(ctx context.Context, user, remote string, check func(string) bool) (*key, error) {
	now := a.config.Clock.Now()
	for try := 0; try < 2; try++ {
		d := a.dir.Load()
		for _, named := range []bool{true, false} {
			if !named && !a.limits.search(now, remote) {
				return nil, nil
			}
			for _, k := range d.ordered {
				if named != (k.ID == user || k.Name == user) || k.expired(now) {
					continue
				}
				token, err := a.ring.unsealText("key token "+k.ID, k.token)
				if err != nil {
					return nil, fault.Wrap(fault.Internal, "unseal token of key", k.ID, err)
				}
				if check(token.Reveal()) {
					if !named {
						a.limits.found(remote)
					}
					return k, nil
				}
			}
		}
		if a.missed(ctx); a.dir.Load() == d {
			break
		}
	}
	return nil, nil
}

// Digest checks an Authorization header of scheme Digest (RFC 7616, RFC 2617) against
// keys' tokens, and people's passwords when Config.DigestPasswords kept what that needs.
// nonce is the one the door sent to this connection; the door keeps them fresh.
func (a *Authority) Digest(ctx context.Context, method, nonce, header, remote string) (Principal, error) {
	wrong := fault.New(fault.Unauthentic, "sign in", "", "name or password is wrong")
	r, ok := parseDigest(header)
	if !ok || nonce == "" || r["nonce"] != nonce {
		return Principal{}, wrong
	}
	newHash := md5.New
	switch strings.ToUpper(r["algorithm"]) {
	case "", "MD5":
	case "SHA-256":
		newHash = sha256.New
	default:
		return Principal{}, wrong
	}
	user, realm := r["username"], r["realm"]
	p, err := a.DigestKey(ctx, user, remote, func(password string) bool {
		return r.matches(newHash, method, hexHash(newHash, user+":"+realm+":"+password))
	})
	if err == nil || !fault.Is(err, fault.Unauthentic) || !a.config.DigestPasswords || realm != Realm {
		return p, err
	}
	return a.digestPerson(user, remote, func(md5HA1, sha256HA1 string) bool {
		ha1 := md5HA1
		if strings.EqualFold(r["algorithm"], "SHA-256") {
			ha1 = sha256HA1
		}
		return r.matches(newHash, method, ha1)
	})
}

func (a *Authority) digestPerson(user, remote string, check func(md5HA1, sha256HA1 string) bool) (Principal, error) {
	account, name := a.splitUser(user)
	if err := a.limits.allow(a.config.Clock.Now(), remote, account+"/"+name); err != nil {
		return Principal{}, err
	}
	p := a.dir.Load().names[account+"/"+name]
	md5HA1, sha256HA1 := strings.Repeat("0", 32), strings.Repeat("0", 64)
	if p != nil && p.digest != "" {
		text, err := a.ring.unsealText("digest "+account+"/"+name, p.digest)
		if err != nil {
			return Principal{}, fault.Wrap(fault.Internal, "unseal digest of", name, err)
		}
		md5HA1, sha256HA1, _ = strings.Cut(text.Reveal(), " ")
	}
	if ok := check(md5HA1, sha256HA1); !ok || p == nil || p.digest == "" {
		return Principal{}, fault.New(fault.Unauthentic, "sign in", "", "name or password is wrong")
	}
	a.limits.succeed(remote, account+"/"+name)
	return p.principal("digest"), nil
}

type digestAnswer map[string]string

// matches checks the response for a given HA1, in constant time.
func (r digestAnswer) matches(newHash func() hash.Hash, method, ha1 string) bool {
	ha2 := hexHash(newHash, method+":"+r["uri"])
	want := ""
	switch r["qop"] {
	case "":
		want = hexHash(newHash, ha1+":"+r["nonce"]+":"+ha2)
	case "auth":
		want = hexHash(newHash, strings.Join([]string{ha1, r["nonce"], r["nc"], r["cnonce"], r["qop"], ha2}, ":"))
	default:
		return false
	}
	return newSecret(want).Equal(strings.ToLower(r["response"]))
}

func hexHash(newHash func() hash.Hash, text string) string {
	h := newHash()
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// parseDigest reads `Digest name="value", name=value`. A backslash quotes the next
// character, as in quoted-string (RFC 9110 §5.6.4).
func parseDigest(header string) (digestAnswer, bool) {
	scheme, rest, ok := strings.Cut(header, " ")
	if !ok || len(header) > headerMax || !strings.EqualFold(scheme, "Digest") {
		return nil, false
	}
	r := digestAnswer{}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			break
		}
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, false
		}
		name = strings.ToLower(strings.TrimSpace(name))
		value, tail, ok := digestValue(strings.TrimLeft(after, " \t"))
		if _, twice := r[name]; !ok || twice || len(r) > 20 {
			return nil, false
		}
		r[name], rest = value, tail
	}
	return r, r["response"] != "" && r["nonce"] != ""
}

func digestValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ", \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		case '"':
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
