package auth

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
)

const remote = "192.0.2.7:4711"

func TestAKeyWorksUntilItIsRemoved(t *testing.T) {
	r := newRig(t)
	k, p := r.key(NewKey{Name: "wall", Role: RoleViewer})
	if p.ID != k.ID || p.Role != RoleViewer || p.Account != DefaultAccount {
		t.Fatalf("principal %+v", p)
	}
	s, sp, err := r.a.SigningSecret(t.Context(), k.ID)
	if err != nil || s != k.Secret || sp.ID != k.ID {
		t.Fatalf("signing secret: %v", err)
	}
	if err := r.a.RemoveKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.Bearer(t.Context(), k.Token.Reveal(), remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("removed key: %v", err)
	}
	if _, _, err := r.a.SigningSecret(t.Context(), k.ID); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("removed access key: %v", err)
	}
	if err := r.a.Authorize(p, GetMedia, frontDoor, Context{}); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("a principal made before the removal: %v", err)
	}
	if err := r.a.RemoveKey(t.Context(), k.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("removing again: %v", err)
	}
}

func TestAnExpiredKeyIsRefused(t *testing.T) {
	r := newRig(t)
	k, p := r.key(NewKey{Role: RoleViewer, Expires: r.clock.Now().Add(time.Hour)})
	r.clock.add(time.Hour)
	if _, err := r.a.Bearer(t.Context(), k.Token.Reveal(), remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("%v", err)
	}
	if err := r.a.Authorize(p, GetMedia, frontDoor, Context{}); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("%v", err)
	}
	if _, err := r.a.CreateKey(t.Context(), NewKey{Role: RoleViewer, Expires: r.clock.Now()}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a key born expired: %v", err)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	r := newRig(t)
	for name, k := range map[string]NewKey{
		"unknown role":            {Role: "root"},
		"no role":                 {},
		"custom without policy":   {Role: RoleCustom},
		"custom with streams":     {Role: RoleCustom, Policy: []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`), Streams: []string{"a"}},
		"pattern with a slash":    {Role: RoleViewer, Streams: []string{"a/b"}},
		"pattern with a colon":    {Role: RoleViewer, Streams: []string{"*:stream/x"}},
		"empty pattern":           {Role: RoleViewer, Streams: []string{""}},
		"control character":       {Role: RoleViewer, Name: "a\x1b[31mb"},
		"name with a slash":       {Role: RoleViewer, Name: "a/b"},
		"name that is too long":   {Role: RoleViewer, Name: strings.Repeat("n", nameMax+1)},
		"policy that is not read": {Role: RoleViewer, Policy: []byte(`{`)},
	} {
		if _, err := r.a.CreateKey(t.Context(), k); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if r.a.HasCredentials(t.Context()) {
		t.Error("a refused key was kept")
	}
}

func TestKeysSurviveARestartAndAnotherMasterKeyIsRefused(t *testing.T) {
	r := newRig(t)
	k, _ := r.key(NewKey{Role: RoleViewer, Streams: []string{"front-*"}})
	again := r.authority()
	p, err := again.Bearer(t.Context(), k.Token.Reveal(), remote)
	if err != nil {
		t.Fatal(err)
	}
	if again.Authorize(p, GetMedia, frontDoor, Context{}) != nil || again.Authorize(p, GetMedia, backDoor, Context{}) == nil {
		t.Error("the patterns did not survive")
	}
	if s, _, err := again.SigningSecret(t.Context(), k.ID); err != nil || s != k.Secret {
		t.Errorf("the secret did not survive: %v", err)
	}
	other, _ := NewMasterKey([]byte("another-key-another-key-another-"))
	if _, err := Open(t.Context(), Config{Meta: r.db, MasterKey: other}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("another master key: %v", err)
	}
	if _, err := Open(t.Context(), Config{Meta: r.db}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no master key: %v", err)
	}
}

func TestAKeyMadeByAnotherProcessWorksAtOnce(t *testing.T) {
	r := newRig(t)
	cli := r.authority()
	k, err := cli.CreateKey(t.Context(), NewKey{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.Bearer(t.Context(), k.Token.Reveal(), remote); err != nil {
		t.Errorf("%v", err)
	}
}

func TestHoldsEndWithTheKey(t *testing.T) {
	end := func(name string, act func(r *rig, k Issued)) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			k, p := r.key(NewKey{Role: RoleViewer, Expires: r.clock.Now().Add(time.Hour)})
			_, other := r.key(NewKey{Role: RoleViewer})
			r.run()
			held, stop := r.a.Hold(t.Context(), p, GetMedia, frontDoor, Context{})
			defer stop()
			kept, stop2 := r.a.Hold(t.Context(), other, GetMedia, frontDoor, Context{})
			defer stop2()
			token, _, err := r.a.MintMedia(p, frontDoor, 2*time.Hour, time.Time{}, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			mp, err := r.a.Media(t.Context(), token.Reveal(), remote)
			if err != nil {
				t.Fatal(err)
			}
			media, stop3 := r.a.Hold(t.Context(), mp, GetMedia, frontDoor, Context{})
			defer stop3()
			if held.Err() != nil || media.Err() != nil {
				t.Fatal("ended before")
			}
			act(r, k)
			for _, ctx := range []context.Context{held, media} {
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Second):
					t.Fatal("not ended within 5 s")
				}
				if err := context.Cause(ctx); !fault.Is(err, fault.Denied) {
					t.Errorf("cause %v", err)
				}
			}
			if kept.Err() != nil {
				t.Error("another key's hold ended too")
			}
			if _, err := r.a.Media(t.Context(), token.Reveal(), remote); !fault.Is(err, fault.Unauthentic) {
				t.Errorf("the media token still works: %v", err)
			}
		})
	}
	end("when it is removed", func(r *rig, k Issued) {
		if err := r.a.RemoveKey(r.t.Context(), k.ID); err != nil {
			r.t.Fatal(err)
		}
	})
	end("when another process removes it", func(r *rig, k Issued) {
		if err := r.authority().RemoveKey(r.t.Context(), k.ID); err != nil {
			r.t.Fatal(err)
		}
	})
	end("when it expires", func(r *rig, _ Issued) { r.clock.add(time.Hour) })
}

func TestAHoldThatIsNotAllowedHasEnded(t *testing.T) {
	r := newRig(t)
	_, p := r.key(NewKey{Role: RoleProducer})
	held, stop := r.a.Hold(t.Context(), p, GetMedia, frontDoor, Context{})
	defer stop()
	if held.Err() == nil || !fault.Is(context.Cause(held), fault.Denied) {
		t.Errorf("%v", context.Cause(held))
	}
}

func TestRevocationsAreHeard(t *testing.T) {
	r := newRig(t)
	k, _ := r.key(NewKey{Role: RoleViewer})
	sub := r.a.Revoked()
	defer sub.Close()
	if err := r.a.RemoveKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	rev, err := sub.Next(t.Context())
	if err != nil || rev.Principal != k.ID {
		t.Errorf("%+v %v", rev, err)
	}
}

func TestSignIn(t *testing.T) {
	r := newRig(t)
	if r.a.HasCredentials(t.Context()) {
		t.Fatal("credentials before the first")
	}
	if err := r.a.SetPassword(t.Context(), AdminName, "short"); !fault.Is(err, fault.Invalid) {
		t.Errorf("short password: %v", err)
	}
	if err := r.a.SetPassword(t.Context(), "eve", "long enough 1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("somebody unknown: %v", err)
	}
	if err := r.a.SetPassword(t.Context(), AdminName, "pass wörd @#/?:%"); err != nil {
		t.Fatal(err)
	}
	p, err := r.a.Password(t.Context(), "", "pass wörd @#/?:%", remote)
	if err != nil || p.Name != AdminName || p.Role != RoleAdmin {
		t.Fatalf("%+v %v", p, err)
	}
	_, wrong := r.a.Password(t.Context(), AdminName, "wrong password", remote)
	_, unknown := r.a.Password(t.Context(), "nobody", "wrong password", remote)
	if !fault.Is(wrong, fault.Unauthentic) || wrong.Error() != unknown.Error() || fault.HintOf(wrong) != fault.HintOf(unknown) {
		t.Errorf("%v and %v, want the same words", wrong, unknown)
	}
	if _, err := r.a.Basic(t.Context(), AdminName, "pass wörd @#/?:%", remote); err != nil {
		t.Errorf("basic: %v", err)
	}
	var signIns []string
	for _, e := range r.audit.list {
		if e.Action == "penstock:SignIn" {
			signIns = append(signIns, e.Principal+" "+e.Decision+" "+e.Remote)
		}
	}
	want := " allow 192.0.2.7, admin deny 192.0.2.7, nobody deny 192.0.2.7, admin allow 192.0.2.7"
	if got := strings.Join(signIns, ", "); got != want {
		t.Errorf("audit %q, want %q", got, want)
	}
}

func TestAnUnknownNameTakesAsLong(t *testing.T) {
	r := newRig(t)
	if err := r.a.SetPassword(t.Context(), AdminName, "correct horse"); err != nil {
		t.Fatal(err)
	}
	measure := func(user string) time.Duration {
		best := time.Hour
		for i := range 5 {
			start := time.Now()
			r.a.Password(t.Context(), user, fmt.Sprint("wrong ", i), fmt.Sprintf("10.0.%d.%d", i, len(user)))
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := measure(AdminName), measure("nobody-at-all")
	if ratio := float64(known) / float64(unknown); ratio < 0.5 || ratio > 2 {
		t.Errorf("known %v, unknown %v", known, unknown)
	}
}

func TestBruteForceIsSlowedDown(t *testing.T) {
	r := newRig(t)
	if err := r.a.SetPassword(t.Context(), AdminName, "correct horse"); err != nil {
		t.Fatal(err)
	}
	try := func(user, password, from string) error {
		_, err := r.a.Password(t.Context(), user, password, from)
		return err
	}
	for i := range addressBurst {
		if err := try(fmt.Sprint("user", i), "wrong password", "[2001:db8::1]:1"); !fault.Is(err, fault.Unauthentic) {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	if err := try(AdminName, "correct horse", "[2001:db8::2]:1"); !fault.Is(err, fault.Throttled) {
		t.Errorf("another address of the same /64, right password: %v", err)
	}
	if err := try(AdminName, "correct horse", "[2001:db8:1::1]:1"); err != nil {
		t.Errorf("another network: %v", err)
	}
	r.clock.add(addressInterval)
	if err := try(AdminName, "wrong password", "[2001:db8::1]:1"); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("one more after the interval: %v", err)
	}
	if err := try(AdminName, "wrong password", "[2001:db8::1]:1"); !fault.Is(err, fault.Throttled) {
		t.Errorf("two more: %v", err)
	}
	throttledAt := 0
	for i := range nameBurst + 5 {
		if err := try("victim", "wrong password", fmt.Sprintf("10.9.%d.1", i)); fault.Is(err, fault.Throttled) {
			throttledAt = i
			break
		}
	}
	if throttledAt != nameBurst {
		t.Errorf("a name tried from everywhere was throttled at %d, want %d", throttledAt, nameBurst)
	}
}

func TestTheLimiterIsBounded(t *testing.T) {
	l := newLimiter()
	now := time.Unix(1, 0)
	for i := range 3 * limitEntries {
		l.allow(now, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), fmt.Sprint("n", i))
	}
	if len(l.buckets) > limitEntries+2 {
		t.Errorf("%d entries", len(l.buckets))
	}
	if err := l.allow(now, "11.1.1.1", "newcomer"); !fault.Is(err, fault.Throttled) {
		t.Errorf("overflow is open: %v", err)
	}
	l.forget(now.Add(10 * time.Hour * 24 * 365))
	if len(l.buckets) != 0 {
		t.Errorf("%d entries after all is forgotten", len(l.buckets))
	}
}

func TestSessions(t *testing.T) {
	r := newRig(t)
	if err := r.a.SetPassword(t.Context(), AdminName, "correct horse"); err != nil {
		t.Fatal(err)
	}
	signIn := func() (Principal, Session) {
		p, err := r.a.Password(t.Context(), AdminName, "correct horse", remote)
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.a.SignIn(t.Context(), p, remote)
		if err != nil {
			t.Fatal(err)
		}
		cp, got, err := r.a.Cookie(t.Context(), s.Cookie.Reveal(), remote)
		if err != nil || got.CSRF != s.CSRF || !got.CSRFMatches(s.CSRF) || got.CSRFMatches("") || got.CSRFMatches(s.CSRF+"x") {
			t.Fatalf("cookie: %v", err)
		}
		if err := r.a.Authorize(cp, ManageKeys, r.a.SystemARN(), Context{}); err != nil {
			t.Fatal(err)
		}
		return cp, s
	}
	gone := func(why string, s Session) {
		t.Helper()
		if _, _, err := r.a.Cookie(t.Context(), s.Cookie.Reveal(), remote); !fault.Is(err, fault.Unauthentic) {
			t.Errorf("%s: %v", why, err)
		}
	}
	p, s := signIn()
	if _, err := r.a.SignIn(t.Context(), p, remote); !fault.Is(err, fault.Denied) {
		t.Errorf("a session from a session: %v", err)
	}
	_, s2 := signIn()
	if s2.CSRF == s.CSRF {
		t.Error("two sessions share a CSRF token")
	}
	held, stop := r.a.Hold(t.Context(), p, GetMedia, frontDoor, Context{})
	defer stop()
	if err := r.a.SignOut(t.Context(), s.Cookie.Reveal()); err != nil {
		t.Fatal(err)
	}
	if held.Err() == nil {
		t.Error("signing out did not end what the session held")
	}
	gone("signed out", s)
	if _, _, err := r.authority().Cookie(t.Context(), s2.Cookie.Reveal(), remote); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := r.a.SetPassword(t.Context(), AdminName, "another horse"); err != nil {
		t.Fatal(err)
	}
	gone("password changed", s2)
	if err := r.a.SetPassword(t.Context(), AdminName, "correct horse"); err != nil {
		t.Fatal(err)
	}
	_, s3 := signIn()
	r.clock.add(SessionIdle)
	gone("idle", s3)
	_, s4 := signIn()
	for range int(SessionLife / (SessionIdle / 2)) {
		r.clock.add(SessionIdle / 2)
		r.a.Cookie(t.Context(), s4.Cookie.Reveal(), remote)
	}
	r.clock.add(time.Hour * 24)
	gone("expired although in use", s4)
}

func TestALinkWorksOnce(t *testing.T) {
	r := newRig(t)
	link, err := r.a.OneTimeLink(t.Context(), AdminName)
	if err != nil {
		t.Fatal(err)
	}
	if r.a.HasCredentials(t.Context()) {
		t.Error("a link counts as a credential")
	}
	p, err := r.a.RedeemLink(t.Context(), link.Reveal(), remote)
	if err != nil || p.Role != RoleAdmin {
		t.Fatalf("%+v %v", p, err)
	}
	if _, err := r.a.RedeemLink(t.Context(), link.Reveal(), remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("second use: %v", err)
	}
	late, err := r.a.OneTimeLink(t.Context(), AdminName)
	if err != nil {
		t.Fatal(err)
	}
	r.clock.add(LinkLife + time.Millisecond)
	if _, err := r.a.RedeemLink(t.Context(), late.Reveal(), remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("too late: %v", err)
	}
	other, err := r.authority().OneTimeLink(t.Context(), AdminName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.RedeemLink(t.Context(), other.Reveal(), remote); err != nil {
		t.Errorf("made by another process: %v", err)
	}
}

func TestMediaTokensAreNarrow(t *testing.T) {
	r := newRig(t)
	_, p := r.key(NewKey{Role: RoleAdmin})
	from, to := r.clock.Now().Add(-2*time.Hour), r.clock.Now().Add(-time.Hour)
	mint := func(from, to time.Time) Principal {
		token, expires, err := r.a.MintMedia(p, frontDoor, 10*time.Minute, from, to)
		if err != nil || !expires.Equal(r.clock.Now().Add(10*time.Minute)) {
			t.Fatal(expires, err)
		}
		m, err := r.a.Media(t.Context(), token.Reveal(), remote)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	open, window := mint(time.Time{}, time.Time{}), mint(from, to)
	inside := Context{From: from.Add(time.Minute), To: to.Add(-time.Minute)}
	for _, c := range []struct {
		name     string
		p        Principal
		action   Action
		resource string
		context  Context
		want     bool
	}{
		{"live", open, GetMedia, frontDoor, Context{}, true},
		{"recorded", open, GetClip, frontDoor, inside, true},
		{"another stream", open, GetMedia, backDoor, Context{}, false},
		{"the system", open, ManageKeys, SystemARN(DefaultAccount), Context{}, false},
		{"deleting", open, DeleteStream, frontDoor, Context{}, false},
		{"sending", open, PutMedia, frontDoor, Context{}, false},
		{"inside the window", window, GetClip, frontDoor, inside, true},
		{"over its start", window, GetClip, frontDoor, Context{From: from.Add(-time.Second), To: to}, false},
		{"over its end", window, GetHLS, frontDoor, Context{From: from, To: to.Add(time.Second)}, false},
		{"live when the window is over", window, GetMedia, frontDoor, Context{}, false},
		{"recorded without saying when", window, GetClip, frontDoor, Context{}, false},
		{"without an end", window, GetClip, frontDoor, Context{From: from}, false},
	} {
		if err := r.a.Authorize(c.p, c.action, c.resource, c.context); (err == nil) != c.want {
			t.Errorf("%s: %v, want allowed %v", c.name, err, c.want)
		}
	}
	if _, _, err := r.a.MintMedia(open, frontDoor, time.Minute, time.Time{}, time.Time{}); !fault.Is(err, fault.Denied) {
		t.Errorf("a token from a token: %v", err)
	}
	if _, _, err := r.a.MintMedia(p, strings.ReplaceAll(frontDoor, DefaultAccount, "111111111111"), time.Minute, time.Time{}, time.Time{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("another account's stream: %v", err)
	}
	if _, _, err := r.a.MintMedia(p, frontDoor, MediaLifeMax+1, time.Time{}, time.Time{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("too long a life: %v", err)
	}
	if _, err := r.a.SignIn(t.Context(), open, remote); !fault.Is(err, fault.Denied) {
		t.Errorf("a session from a media token: %v", err)
	}
}

func TestAMediaTokenCannotBeAltered(t *testing.T) {
	r := newRig(t)
	_, p := r.key(NewKey{Role: RoleViewer})
	token, _, err := r.a.MintMedia(p, frontDoor, time.Minute, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	text := token.Reveal()
	for i := range text {
		changed := []byte(text)
		if changed[i]++; changed[i] == '=' || changed[i] == '[' || changed[i] == '{' || changed[i] == ':' {
			changed[i] = 'A'
		}
		if _, err := r.a.Media(t.Context(), string(changed), remote); err == nil {
			t.Fatalf("byte %d altered and accepted", i)
		}
	}
	r.clock.add(time.Minute)
	if _, err := r.a.Media(t.Context(), text, remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("expired: %v", err)
	}
}

func digestHeader(user, password, nonce, method, uri string) string {
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	response := sum(sum(user+":"+Realm+":"+password) + ":" + nonce + ":" + sum(method+":"+uri))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`, user, Realm, nonce, uri, response)
}

func TestDigest(t *testing.T) {
	r := newRig(t)
	r.key(NewKey{Role: RoleViewer, Name: "first"})
	k, _ := r.key(NewKey{Role: RoleProducer, Name: "cam"})
	for _, user := range []string{"cam", "anything at all", k.ID, ""} {
		p, err := r.a.Digest(t.Context(), "ANNOUNCE", "n0nce", digestHeader(user, k.Token.Reveal(), "n0nce", "ANNOUNCE", "rtsp://h/cam"), remote)
		if err != nil || p.ID != k.ID || p.Via != "digest" {
			t.Errorf("user %q: %+v %v", user, p, err)
		}
	}
	good := digestHeader("cam", k.Token.Reveal(), "n0nce", "ANNOUNCE", "rtsp://h/cam")
	for name, header := range map[string]string{
		"wrong password":  digestHeader("cam", "wrong", "n0nce", "ANNOUNCE", "rtsp://h/cam"),
		"another nonce":   digestHeader("cam", k.Token.Reveal(), "other", "ANNOUNCE", "rtsp://h/cam"),
		"another method":  digestHeader("cam", k.Token.Reveal(), "n0nce", "PLAY", "rtsp://h/cam"),
		"no response":     `Digest username="cam", nonce="n0nce"`,
		"doubled field":   good + `, username="x"`,
		"unended quote":   `Digest username="cam`,
		"other algorithm": good + `, algorithm=SHA-512-256`,
		"other qop":       good + `, qop="auth-int"`,
		"basic":           "Basic Zm9vOmJhcg==",
	} {
		if _, err := r.a.Digest(t.Context(), "ANNOUNCE", "n0nce", header, remote); !fault.Is(err, fault.Unauthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// RFC 7616 §3.9.1, both algorithms.
	for algorithm, response := range map[string]string{
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		answer, ok := parseDigest(`Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=` + algorithm +
			`, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="` + response + `"`)
		newHash := md5.New
		if algorithm == "SHA-256" {
			newHash = sha256.New
		}
		if !ok || !answer.matches(newHash, "GET", hexHash(newHash, "Mufasa:http-auth@example.org:Circle of Life")) {
			t.Errorf("RFC 7616 example, %s", algorithm)
		}
	}
}

func TestDigestOfPeopleIsOptIn(t *testing.T) {
	for _, on := range []bool{false, true} {
		r := newRig(t, func(c *Config) { c.DigestPasswords = on })
		if err := r.a.SetPassword(t.Context(), AdminName, "correct horse"); err != nil {
			t.Fatal(err)
		}
		_, err := r.a.Digest(t.Context(), "DESCRIBE", "n", digestHeader(AdminName, "correct horse", "n", "DESCRIBE", "rtsp://h/x"), remote)
		if (err == nil) != on {
			t.Errorf("DigestPasswords %v: %v", on, err)
		}
		if _, err := r.a.Digest(t.Context(), "DESCRIBE", "n", digestHeader(AdminName, "wrong", "n", "DESCRIBE", "rtsp://h/x"), remote); !fault.Is(err, fault.Unauthentic) {
			t.Errorf("wrong password, DigestPasswords %v: %v", on, err)
		}
	}
}

func TestBasicTakesATokenAsPasswordOrUser(t *testing.T) {
	r := newRig(t)
	k, _ := r.key(NewKey{Role: RoleProducer})
	for _, c := range [][2]string{{"any", k.Token.Reveal()}, {"", k.Token.Reveal()}, {k.Token.Reveal(), ""}} {
		if p, err := r.a.Basic(t.Context(), c[0], c[1], remote); err != nil || p.ID != k.ID {
			t.Errorf("%v", err)
		}
	}
	if _, err := r.a.Basic(t.Context(), "any", k.Token.Reveal()[:20], remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("half a token: %v", err)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	var logged bytes.Buffer
	r := newRig(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)); c.DigestPasswords = true })
	k, p := r.key(NewKey{Role: RoleAdmin})
	if err := r.a.SetPassword(t.Context(), AdminName, "planted-password"); err != nil {
		t.Fatal(err)
	}
	_, err := r.a.Password(t.Context(), AdminName, "planted-wrong-password", remote)
	s, _ := r.a.SignIn(t.Context(), p, remote)
	link, _ := r.a.OneTimeLink(t.Context(), AdminName)
	sealed, _ := r.a.Seal("camera", []byte("planted-camera"))
	text, _ := json.Marshal([]any{k, s, link, r.audit.list, err.Error()})
	slog.New(slog.NewTextHandler(&logged, nil)).Info("all", "key", k, "session", s, "secret", k.Secret, "config", r.a.config)
	all := string(text) + logged.String() + fmt.Sprintf("%v %+v %#v %s %x %q", k, k, k, k.Token, k.Secret, s.Cookie) + string(sealed)
	r.db.Close()
	for _, name := range []string{r.path, r.path + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all += string(b)
	}
	for _, secret := range []string{k.Token.Reveal(), k.Secret.Reveal(), s.Cookie.Reveal(), link.Reveal(), "planted-password", "planted-wrong-password", "planted-camera", testMasterKey(t).key.Reveal()} {
		if strings.Contains(all, secret) {
			t.Errorf("%.12s... is shown", secret)
		}
		if strings.Contains(all, hex.EncodeToString([]byte(secret))) {
			t.Errorf("%.12s... is shown in hex", secret)
		}
	}
}

func TestSealedSecretsStayInTheirPlace(t *testing.T) {
	r := newRig(t)
	b, err := r.a.Seal("stream a", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := r.a.Unseal("stream a", b); err != nil || string(plain) != "hunter2" {
		t.Errorf("%q %v", plain, err)
	}
	if _, err := r.a.Unseal("stream b", b); err == nil {
		t.Error("opened in another place")
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if _, err := r.a.Unseal("stream a", c); err == nil {
			t.Errorf("byte %d altered and opened", i)
		}
	}
}

func TestLastUseIsWrittenDown(t *testing.T) {
	r := newRig(t)
	k, _ := r.key(NewKey{Role: RoleViewer})
	if err := r.a.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := r.authority().Keys(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != k.ID || !list[0].LastUsed.Equal(r.clock.Now()) || list[0].LastRemote != "192.0.2.1" {
		t.Errorf("%+v %v", list, err)
	}
}

func TestMasterKeyFile(t *testing.T) {
	dir := t.TempDir()
	none := func(string) string { return "" }
	k, err := LoadMasterKey(MasterKeyConfig{Dir: dir, Getenv: none})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, MasterKeyFile)
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", st.Mode(), err)
	}
	again, err := LoadMasterKey(MasterKeyConfig{Dir: dir, Getenv: none})
	if err != nil || again != k {
		t.Errorf("second start: another key, %v", err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMasterKey(MasterKeyConfig{Dir: dir, Getenv: none}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	env := func(k string) string {
		if k == MasterKeyEnv {
			return strings.Repeat("ab", 32)
		}
		return ""
	}
	if _, err := LoadMasterKey(MasterKeyConfig{Dir: dir, Getenv: env}); err != nil {
		t.Errorf("environment: %v", err)
	}
	creds := t.TempDir()
	if err := os.WriteFile(filepath.Join(creds, MasterKeyCredential), []byte(strings.Repeat("cd", 32)+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMasterKey(MasterKeyConfig{Dir: t.TempDir(), Getenv: func(k string) string {
		if k == "CREDENTIALS_DIRECTORY" {
			return creds
		}
		return ""
	}}); err != nil {
		t.Errorf("credential: %v", err)
	}
	bad := func(string) string { return "c2hvcnQ=" }
	if _, err := LoadMasterKey(MasterKeyConfig{Dir: dir, Getenv: bad}); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "c2hvcnQ=") {
		t.Errorf("short key: %v", err)
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, MasterKeyFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMasterKey(MasterKeyConfig{Dir: empty, Getenv: none}); err != nil {
		t.Errorf("a file left empty by a crash: %v", err)
	}
	if entries, err := fs.ReadDir(os.DirFS(empty), "."); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestPeopleAreIsolatedByAccount(t *testing.T) {
	r := newRig(t)
	if err := r.a.AddPerson(t.Context(), "111111111111", "ann", RoleAdmin, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.a.SetPassword(t.Context(), "111111111111/ann", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.Password(t.Context(), "ann", "correct horse", remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("in the default account: %v", err)
	}
	p, err := r.a.Password(t.Context(), "111111111111/ann", "correct horse", remote)
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []Action{GetMedia, DeleteStream, ListStreams} {
		if err := r.a.Authorize(p, action, frontDoor, Context{}); !fault.Is(err, fault.Denied) {
			t.Errorf("%s in another account: %v", action, err)
		}
	}
	if err := r.a.Authorize(p, ManageKeys, r.a.SystemARN(), Context{}); !fault.Is(err, fault.Denied) {
		t.Errorf("the default account's keys: %v", err)
	}
	if err := r.a.RemovePerson(t.Context(), "111111111111", "ann"); err != nil {
		t.Fatal(err)
	}
	if err := r.a.Authorize(p, ListStreams, SystemARN("111111111111"), Context{}); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("after removal: %v", err)
	}
}

func FuzzTokens(f *testing.F) {
	good, _ := newToken(prefixBearer, bytes.NewReader(make([]byte, 100)))
	f.Add(good)
	f.Add("pst_")
	f.Add("psm_AAAA")
	k, _ := NewMasterKey(make([]byte, 32))
	ring, err := newKeyring(k, bytes.NewReader(nil))
	if err != nil {
		f.Fatal(err)
	}
	a := &Authority{ring: ring, config: Config{Clock: &handClock{now: time.Unix(1, 0)}}}
	a.dir.Store(&directory{})
	f.Fuzz(func(t *testing.T, token string) {
		for _, prefix := range []string{prefixBearer, prefixCookie, prefixLink} {
			if wellFormed(prefix, token) && (!strings.HasPrefix(token, prefix) || strings.Contains(token, "\n")) {
				t.Errorf("%q is taken for a %s token", token, prefix)
			}
		}
		if p, err := a.readMedia(token); err == nil {
			t.Errorf("%q was accepted as %+v", token, p)
		}
	})
}

func FuzzDigestHeader(f *testing.F) {
	f.Add(`Digest username="a\"b", realm="penstock", nonce="n", uri="rtsp://h/x", response="0"`)
	f.Add(`digest nonce=n,response=r, ,`)
	f.Fuzz(func(t *testing.T, header string) {
		if r, ok := parseDigest(header); ok && (r["nonce"] == "" || r["response"] == "" || len(r) > 21) {
			t.Errorf("%q: %v", header, r)
		}
	})
}
