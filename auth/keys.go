package auth

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"penstock/internal/fault"
)

// Limits of what can be made.
const (
	keysMax    = 20_000 // all are held in memory
	peopleMax  = 5_000
	nameMax    = 64 // characters
	keyIDChars = 16 // after the prefix
)

// NewKey is what CreateKey needs to know.
type NewKey struct {
	Account string // the default account
	Name    string // for people; the role when empty
	Role    string // one of Roles, or RoleCustom with a Policy
	Streams []string
	Policy  []byte    // an IAM policy document; adds to the role, its Denies win over it
	Expires time.Time // zero: never
}

// KeyInfo is what can be told about a key.
type KeyInfo struct {
	ID         string // the access key id
	Account    string
	Name       string
	Role       string
	Streams    []string // patterns of stream names; empty: all
	Policy     []byte
	Created    time.Time
	Expires    time.Time // zero: never
	LastUsed   time.Time // up to half a minute old; zero: never
	LastRemote string
}

// Issued is a new key with its secrets, which are shown once.
type Issued struct {
	KeyInfo
	Secret Secret // signs AWS requests, with ID
	Token  Secret // bearer token, and password of RTSP and MQTT users
}

// CreateKey makes an access key. It is durable when CreateKey returns.
func (a *Authority) CreateKey(ctx context.Context, n NewKey) (Issued, error) {
	n.Account = cmp.Or(n.Account, a.config.Account)
	n.Name = cmp.Or(n.Name, n.Role)
	info := KeyInfo{Account: n.Account, Name: n.Name, Role: n.Role, Streams: n.Streams, Policy: n.Policy,
		Created: a.config.Clock.Now().UTC().Truncate(time.Millisecond), Expires: n.Expires}
	if err := checkNewKey(info, a.config.Clock.Now()); err != nil {
		return Issued{}, err
	}
	if len(a.dir.Load().keys) >= keysMax {
		return Issued{}, fault.New(fault.Throttled, "create key", n.Name, fmt.Sprintf("there are %d keys already; remove unused ones", keysMax))
	}
	id, err := randomID("PSAK", keyIDChars, a.config.Rand)
	if err != nil {
		return Issued{}, err
	}
	info.ID = id
	raw := make([]byte, 30)
	if _, err := io.ReadFull(a.config.Rand, raw); err != nil {
		return Issued{}, err
	}
	signing := base64.RawURLEncoding.EncodeToString(raw)
	token, err := newToken(prefixBearer, a.config.Rand)
	if err != nil {
		return Issued{}, err
	}
	if err := a.insertKey(ctx, info, signing, token); err != nil {
		return Issued{}, fault.Wrap(fault.Unavailable, "create key", n.Name, err)
	}
	a.audit(ctx, AuditEvent{Action: "penstock:CreateKey", Object: id, Account: n.Account, Decision: "allow", Detail: "role " + n.Role + ", name " + n.Name})
	return Issued{KeyInfo: info, Secret: newSecret(signing), Token: newSecret(token)}, nil
}

func checkNewKey(k KeyInfo, now time.Time) error {
	if err := checkName(k.Name); err != nil {
		return err
	}
	if !k.Expires.IsZero() && !k.Expires.After(now) {
		return fault.New(fault.Invalid, "create key", k.Name, "it would have expired already")
	}
	if k.Role == RoleCustom {
		if len(k.Policy) == 0 {
			return fault.New(fault.Invalid, "create key", k.Name, "the role custom needs a policy")
		}
		if len(k.Streams) > 0 {
			return fault.New(fault.Invalid, "create key", k.Name, "the role custom takes its streams from the policy's resources")
		}
	}
	if len(k.Streams) > 0 {
		if err := checkStreamPatterns(k.Streams); err != nil {
			return err
		}
	}
	var streams []string
	_, err := keyPolicies(k, streamsText(k.Streams), &streams)
	return err
}

// checkName keeps control characters and slashes out of names: they stand in ARNs,
// logs and screens. A slash would name another account at sign-in.
func checkName(name string) error {
	bad := name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > nameMax ||
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) })
	if bad {
		return fault.New(fault.Invalid, "read name", fmt.Sprintf("%q", name),
			fmt.Sprintf(`want 1 to %d characters without control characters and / \ : * ? " < > |`, nameMax))
	}
	return nil
}

func (a *Authority) insertKey(ctx context.Context, k KeyInfo, signing, token string) error {
	sealedSecret, err := a.ring.sealText("key secret "+k.ID, signing)
	if err != nil {
		return err
	}
	sealedToken, err := a.ring.sealText("key token "+k.ID, token)
	if err != nil {
		return err
	}
	generation, err := randomGeneration(a.config.Rand)
	if err != nil {
		return err
	}
	return a.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO auth_key (id, account, name, role, streams, policy, secret, token, token_hash,
			generation, created, expires, last_used, last_remote) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '')`,
			k.ID, k.Account, k.Name, k.Role, streamsText(k.Streams), string(k.Policy), sealedSecret, sealedToken, hashToken(token),
			int64(generation), toMillis(k.Created), toMillis(k.Expires))
		return err
	})
}

// Keys lists the keys of the default account, oldest first, without secrets.
func (a *Authority) Keys(context.Context) ([]KeyInfo, error) {
	return a.KeysOf(a.config.Account), nil
}

// KeysOf lists the keys of an account, oldest first, without secrets.
func (a *Authority) KeysOf(account string) []KeyInfo {
	var list []KeyInfo
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.dir.Load().ordered {
		if k.Account != account {
			continue
		}
		info := k.KeyInfo
		if u, ok := a.used[k.ID]; ok && u.at.After(info.LastUsed) {
			info.LastUsed, info.LastRemote = u.at, u.remote
		}
		list = append(list, info)
	}
	return list
}

// RemoveKey revokes a key of the default account, and with it what was derived from
// it: media tokens stop working and holds end. fault.NotFound when there is none.
func (a *Authority) RemoveKey(ctx context.Context, id string) error {
	return a.RemoveKeyOf(ctx, a.config.Account, id)
}

// RemoveKeyOf is RemoveKey for any account.
func (a *Authority) RemoveKeyOf(ctx context.Context, account, id string) error {
	missing := errors.New("no such key; `penstock key ls` lists them")
	err := a.change(ctx, func(tx *sql.Tx) error {
		r, err := tx.Exec(`DELETE FROM auth_key WHERE id = ? AND account = ?`, id, account)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, missing)
		}
		return nil
	})
	if errors.Is(err, missing) {
		return fault.Wrap(fault.NotFound, "remove key", id, missing)
	}
	if err == nil {
		a.audit(ctx, AuditEvent{Action: "penstock:RemoveKey", Object: id, Account: account, Decision: "allow"})
	}
	return fault.Wrap(fault.Unavailable, "remove key", id, err)
}

// Bearer finds the key of a bearer token. Whatever is wrong with the token, the answer
// is the same fault.Unauthentic.
func (a *Authority) Bearer(ctx context.Context, token, remote string) (Principal, error) {
	k, err := a.keyOfToken(ctx, token)
	if err != nil {
		a.gauges.failed("bearer")
		return Principal{}, err
	}
	a.touch(k.ID, remote)
	proved(ctx)
	return k.principal("bearer"), nil
}

func (a *Authority) keyOfToken(ctx context.Context, token string) (*key, error) {
	wrong := fault.New(fault.Unauthentic, "check token", "", "it is not valid here").
		WithHint("use a token from `penstock key create`; one that was removed or has expired does not work")
	if !wellFormed(prefixBearer, token) {
		return nil, wrong
	}
	hash := hashToken(token)
	k := a.dir.Load().tokens[hash]
	if k == nil {
		a.missed(ctx)
		if k = a.dir.Load().tokens[hash]; k == nil {
			return nil, wrong
		}
	}
	if k.expired(a.config.Clock.Now()) {
		return nil, wrong
	}
	return k, nil
}

func (k *key) expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

func (k *key) principal(via string) Principal {
	return Principal{Account: k.Account, ID: k.ID, Kind: Key, Name: k.Name, Role: k.Role, Via: via,
		Expires: k.Expires, generation: k.generation}
}

// SigningSecret returns the secret that requests of an access key are signed with, and
// the principal to use once the signature has been checked. Whether the key is unknown
// or has expired, the answer is the same fault.Unauthentic.
func (a *Authority) SigningSecret(ctx context.Context, id string) (Secret, Principal, error) {
	k, err := a.signingKey(ctx, id)
	if err != nil {
		return Secret{}, Principal{}, err
	}
	s, err := a.secretOf(k)
	return s, k.principal("sigv4"), err
}

// signingKey finds the access key that a request says it is signed with.
func (a *Authority) signingKey(ctx context.Context, id string) (*key, error) {
	k := a.dir.Load().keys[id]
	if k == nil && strings.HasPrefix(id, "PSAK") {
		a.missed(ctx)
		k = a.dir.Load().keys[id]
	}
	if k == nil || !k.Expires.IsZero() && k.expired(a.config.Clock.Now()) {
		a.gauges.failed("sigv4")
		return nil, fault.New(fault.Unauthentic, "check access key", "", "the security token included in the request is invalid")
	}
	return k, nil
}

func (a *Authority) secretOf(k *key) (Secret, error) {
	s, err := a.ring.unsealText("key secret "+k.ID, k.secret)
	return s, fault.Wrap(fault.Internal, "unseal secret of key", k.ID, err)
}
