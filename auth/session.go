package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"penstock/internal/fault"
)

// sessionsMax bounds the sessions held in memory; the store has them all.
const sessionsMax = 10_000

// linksMax bounds the one-time links that wait to be used.
const linksMax = 100

// Session is a console sign-in.
type Session struct {
	Cookie  Secret // value of the cookie; only its hash is stored
	CSRF    string // to be sent back as X-CSRF-Token with every change
	Expires time.Time
}

type session struct {
	kind          Kind
	holder        string
	generation    uint64
	expires, seen time.Time
}

// SignIn opens a console session for a principal who just proved who they are. A
// principal from a media token or another session cannot open one: fault.Denied.
func (a *Authority) SignIn(ctx context.Context, p Principal, remote string) (Session, error) {
	if !p.Known() || p.media != nil || p.session != "" {
		return Session{}, fault.New(fault.Denied, "sign in", p.Name, "a password, a key or a one-time link is needed")
	}
	cookie, err := newToken(prefixCookie, a.config.Rand)
	if err != nil {
		return Session{}, err
	}
	now := a.config.Clock.Now()
	hash := hashToken(cookie)
	s := &session{kind: p.Kind, holder: p.ID, generation: p.generation, expires: now.Add(SessionLife), seen: now}
	if !p.Expires.IsZero() && p.Expires.Before(s.expires) {
		s.expires = p.Expires
	}
	err = a.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO auth_session (hash, person, generation, created, expires, seen, remote) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			hash, s.holderText(), int64(s.generation), toMillis(now), toMillis(s.expires), toMillis(now), hostOf(remote))
		return err
	})
	if err != nil {
		return Session{}, fault.Wrap(fault.Unavailable, "sign in", p.Name, err)
	}
	a.remember(hash, s)
	return Session{Cookie: newSecret(cookie), CSRF: a.csrf(hash), Expires: s.expires}, nil
}

func (s *session) holderText() string {
	if s.kind == Key {
		return "key " + s.holder
	}
	return s.holder
}

func (a *Authority) csrf(hash string) string {
	m := hmac.New(sha256.New, a.ring.csrf)
	m.Write([]byte(hash))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:18])
}

// CSRFMatches compares a presented token with the session's in constant time.
func (s Session) CSRFMatches(presented string) bool {
	return s.CSRF != "" && hmac.Equal([]byte(s.CSRF), []byte(presented))
}

func (a *Authority) remember(hash string, s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sessions) >= sessionsMax {
		for k := range a.sessions { // any: it is read again when its owner comes back
			delete(a.sessions, k)
			break
		}
	}
	a.sessions[hash] = s
}

// Cookie finds the session of a cookie's value. Not there, signed out, expired or idle
// for SessionIdle: fault.Unauthentic.
func (a *Authority) Cookie(ctx context.Context, cookie, remote string) (Principal, Session, error) {
	ended := fault.New(fault.Unauthentic, "check session", "", "it has ended").WithHint("sign in again")
	if !wellFormed(prefixCookie, cookie) {
		return Principal{}, Session{}, ended
	}
	hash := hashToken(cookie)
	a.mu.Lock()
	s := a.sessions[hash]
	a.mu.Unlock()
	if s == nil {
		var err error
		if s, err = a.readSession(ctx, hash); err != nil {
			return Principal{}, Session{}, err
		}
		if s == nil {
			a.gauges.failed("cookie")
			return Principal{}, Session{}, ended
		}
		a.remember(hash, s)
	}
	p, ok := a.sessionPrincipal(s)
	now := a.config.Clock.Now()
	a.mu.Lock()
	ok = ok && now.Before(s.expires) && now.Sub(s.seen) < SessionIdle
	if !ok {
		delete(a.sessions, hash)
	} else {
		s.seen = now
		a.used[hash] = use{now, hostOf(remote), remote}
	}
	a.mu.Unlock()
	if !ok {
		a.gauges.failed("cookie")
		return Principal{}, Session{}, ended
	}
	p.session, p.Expires = hash, s.expires
	proved(ctx)
	return p, Session{Cookie: newSecret(cookie), CSRF: a.csrf(hash), Expires: s.expires}, nil
}

func (a *Authority) sessionPrincipal(s *session) (Principal, bool) {
	d := a.dir.Load()
	if s.kind == Key {
		k := d.keys[s.holder]
		if k == nil || k.generation != s.generation {
			return Principal{}, false
		}
		return k.principal("cookie"), true
	}
	p := d.people[s.holder]
	if p == nil || p.generation != s.generation {
		return Principal{}, false
	}
	return p.principal("cookie"), true
}

func (a *Authority) readSession(ctx context.Context, hash string) (*session, error) {
	s := &session{kind: Person}
	var generation, expires, seen int64
	err := a.config.Meta.Read().QueryRowContext(ctx, `SELECT person, generation, expires, seen FROM auth_session WHERE hash = ?`, hash).
		Scan(&s.holder, &generation, &expires, &seen)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "check session", "", err)
	}
	if id, ok := strings.CutPrefix(s.holder, "key "); ok {
		s.kind, s.holder = Key, id
	}
	s.generation, s.expires, s.seen = uint64(generation), fromMillis(expires), fromMillis(seen)
	return s, nil
}

// SignOut ends a session and what it holds open. An unknown cookie is no error.
func (a *Authority) SignOut(ctx context.Context, cookie string) error {
	if !wellFormed(prefixCookie, cookie) {
		return nil
	}
	hash := hashToken(cookie)
	err := a.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM auth_session WHERE hash = ?`, hash)
		return err
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, "sign out", "", err)
	}
	a.mu.Lock()
	delete(a.sessions, hash)
	a.mu.Unlock()
	a.end(func(h *hold) bool { return h.principal.session == hash }, "signed out")
	return nil
}

// OneTimeLink makes a token that signs a person in once, within LinkLife. The first
// person is added, as admin without a password, when not there yet.
func (a *Authority) OneTimeLink(ctx context.Context, user string) (Secret, error) {
	account, name := a.splitUser(user)
	token, err := newToken(prefixLink, a.config.Rand)
	if err != nil {
		return Secret{}, err
	}
	if a.dir.Load().names[account+"/"+name] == nil {
		if name != AdminName {
			return Secret{}, fault.New(fault.NotFound, "make sign-in link", name, "no such person")
		}
		if err := a.AddPerson(ctx, account, name, RoleAdmin, nil); err != nil && !fault.Is(err, fault.InUse) {
			return Secret{}, err
		}
	}
	p := a.dir.Load().names[account+"/"+name]
	if p == nil {
		return Secret{}, fault.New(fault.NotFound, "make sign-in link", name, "no such person")
	}
	now := a.config.Clock.Now()
	err = a.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		// Old links go first, so that a loop of starts does not pile them up.
		if _, err := tx.Exec(`DELETE FROM auth_link WHERE expires < ? OR hash IN
			(SELECT hash FROM auth_link ORDER BY expires DESC LIMIT 1000000 OFFSET ?)`, toMillis(now), linksMax); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO auth_link (hash, person, expires) VALUES (?, ?, ?)`, hashToken(token), p.id, toMillis(now.Add(LinkLife)))
		return err
	})
	if err != nil {
		return Secret{}, fault.Wrap(fault.Unavailable, "make sign-in link", name, err)
	}
	a.audit(ctx, AuditEvent{Action: "penstock:MakeSignInLink", Object: name, Account: account, Decision: "allow"})
	return newSecret(token), nil
}

// RedeemLink uses a one-time link up. Used, expired or unknown: fault.Unauthentic.
func (a *Authority) RedeemLink(ctx context.Context, link, remote string) (Principal, error) {
	p, err := a.redeem(ctx, link)
	e := AuditEvent{Action: "penstock:SignIn", Principal: p.ARN(), Remote: hostOf(remote), Decision: "allow", Detail: "one-time link"}
	if err != nil {
		e.Decision = "deny"
		a.gauges.failed("link")
		if !a.refusalIsNews(remote, e, err) { // tries are not limited: a link has 200 random bits
			return p, err
		}
	}
	a.audit(ctx, e)
	return p, err
}

func (a *Authority) redeem(ctx context.Context, link string) (Principal, error) {
	gone := fault.New(fault.Unauthentic, "use sign-in link", "", "it was used already, or is too old").
		WithHint("make a new one on the server with `penstock password link`")
	if !wellFormed(prefixLink, link) {
		return Principal{}, gone
	}
	hash := hashToken(link)
	var id string
	var expires int64
	err := a.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRow(`SELECT person, expires FROM auth_link WHERE hash = ?`, hash).Scan(&id, &expires); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM auth_link WHERE hash = ?`, hash)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, gone
	}
	if err != nil {
		return Principal{}, fault.Wrap(fault.Unavailable, "use sign-in link", "", err)
	}
	p := a.dir.Load().people[id]
	if p == nil {
		a.missed(ctx)
		p = a.dir.Load().people[id]
	}
	if p == nil || toMillis(a.config.Clock.Now()) > expires {
		return Principal{}, gone
	}
	return p.principal("link"), nil
}
