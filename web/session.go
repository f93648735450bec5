package web

import (
	"net"
	"net/http"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
)

// The names of the console's cookie: the __Host- one needs TLS, which a browser
// on the loopback address does not have.
const (
	cookieTLS   = "__Host-penstock"
	cookiePlain = "penstock"
)

func sessionCookie(r *http.Request) string {
	name := cookiePlain
	if r.TLS != nil {
		name = cookieTLS
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func setSessionCookie(c *call, value string, until time.Time) {
	ck := &http.Cookie{Name: cookiePlain, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Expires: until}
	if c.r.TLS != nil {
		ck.Name, ck.Secure = cookieTLS, true
	}
	if value == "" {
		ck.MaxAge = -1
	}
	http.SetCookie(c.w, ck)
}

// remoteHost is the address of the caller, without its port.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

type signInBody struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Link     string `json:"link"`
}

type sessionView struct {
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Account   string    `json:"account"`
	CSRF      string    `json:"csrf,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
	LocalOnly bool      `json:"local_only"`
	Password  bool      `json:"password_set"` // of anybody
	Own       bool      `json:"own_password"` // to be sent along to set another
}

func (s *Server) sessionOf(c *call) sessionView {
	return sessionView{
		Name: c.principal.Name, Role: c.principal.Role, Account: c.principal.Account, CSRF: c.session.CSRF,
		Expires: c.session.Expires.UTC(), LocalOnly: s.c.LocalOnly, Password: s.c.Auth.HasPassword(c.r.Context()), Own: s.c.Auth.OwnPassword(c.principal),
	}
}

// signIn trades a password or a one-time link for the console's cookie. It is the
// one change that no CSRF token can protect; it asks for JSON from our own pages.
func signIn(c *call) error {
	if origin := c.r.Header.Get("Origin"); origin != "" {
		if err := ownPage(c.r, origin); err != nil {
			return err
		}
	}
	leave, err := c.unproved(maxBody, func() bool { return false })
	if err != nil {
		return err
	}
	defer leave()
	var body signInBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	leave() // before it waits for its turn to be checked
	ctx, remote := c.r.Context(), remoteHost(c.r)
	switch {
	case body.Link != "":
		c.principal, err = c.s.c.Auth.RedeemLink(ctx, body.Link, remote)
	case body.Password != "":
		if body.User == "" {
			body.User = auth.AdminName
		}
		c.principal, err = c.s.c.Auth.Password(ctx, body.User, body.Password, remote)
	default:
		return fault.New(fault.Invalid, "sign in", "", "neither password nor link given")
	}
	if err != nil {
		return err
	}
	if c.session, err = c.s.c.Auth.SignIn(ctx, c.principal, remote); err != nil {
		return err
	}
	// The browser forgets the session that it had; so does the server, or a copy of the old
	// cookie would live on unseen.
	if err := c.s.c.Auth.SignOut(ctx, sessionCookie(c.r)); err != nil {
		return err
	}
	setSessionCookie(c, c.session.Cookie.Reveal(), c.session.Expires)
	return c.json(c.s.sessionOf(c))
}

func showSession(c *call) error { return c.json(c.s.sessionOf(c)) }

func signOut(c *call) error {
	if err := c.s.c.Auth.SignOut(c.r.Context(), sessionCookie(c.r)); err != nil {
		return err
	}
	setSessionCookie(c, "", time.Time{})
	c.w.Header().Set("Clear-Site-Data", `"cache"`) // fragments that were watched may stay there for a day
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

type passwordBody struct {
	Password string `json:"password"`
	Current  string `json:"current"` // of a person who has one
}

// setPassword sets the caller's own password; who has one shows that they know it.
func setPassword(c *call) error {
	var body passwordBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	person := c.principal.Account + "/" + c.principal.Name
	if c.principal.Kind != auth.Person {
		// A key has no password of its own: it sets the first person's, which only who
		// manages keys and people may.
		if err := c.may(auth.ManageKeys, auth.SystemARN(c.principal.Account)); err != nil {
			return err
		}
		person = c.principal.Account + "/" + auth.AdminName
	}
	c.object = person
	if err := c.s.c.Auth.Confirm(c.r.Context(), c.principal, body.Current, remoteHost(c.r)); fault.Is(err, fault.Unauthentic) {
		return fault.New(fault.Denied, "set password", "", "the present password is missing or another").
			WithHint("who forgot it sets one on the server: `penstock password set`")
	} else if err != nil {
		return err
	}
	if err := c.s.c.Auth.SetPassword(c.r.Context(), person, body.Password); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
