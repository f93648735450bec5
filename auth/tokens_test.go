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
	"penstock/internal/host/hosttest"
)

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
	r.clock.Add(time.Minute)
	if _, err := r.a.Media(t.Context(), text, remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("expired: %v", err)
	}
}

func TestAKeysTokenInAnAddressIsToldWhereItBelongs(t *testing.T) {
	r := newRig(t)
	for token, want := range map[string]string{"pst_abc": "Authorization: Bearer", "psm_abc": "POST /v1/streams/NAME/token"} {
		if _, err := r.a.Media(t.Context(), token, remote); !fault.Is(err, fault.Unauthentic) || !strings.Contains(fault.HintOf(err), want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v, %q", token, err, fault.HintOf(err))
		}
	}
}

func TestARevokedMediaTokenIsRefusedAndEndsWhatItHolds(t *testing.T) {
	r := newRig(t)
	_, p := r.key(NewKey{Role: RoleViewer})
	mint := func(ttl time.Duration) (string, Principal) {
		token, _, err := r.a.MintMedia(p, frontDoor, ttl, time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.a.Media(t.Context(), token.Reveal(), remote)
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal(), m
	}
	lost, seen := mint(time.Minute)
	kept, _ := mint(2 * time.Minute)
	held, stop := r.a.Hold(t.Context(), seen, GetMedia, frontDoor, Context{})
	defer stop()
	if err := r.a.RevokeMedia(t.Context(), lost, backDoor); !fault.Is(err, fault.NotFound) {
		t.Errorf("as a token of another stream: %v", err)
	}
	if held.Err() != nil {
		t.Fatal(context.Cause(held))
	}
	if err := r.a.RevokeMedia(t.Context(), lost, frontDoor); err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Done():
	case <-time.After(time.Minute):
		t.Error("what it held goes on")
	}
	if _, err := r.a.Media(t.Context(), lost, remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("the revoked one: %v", err)
	}
	if _, err := r.a.Media(t.Context(), kept, remote); err != nil {
		t.Errorf("the other one: %v", err)
	}
	if err := r.a.RevokeMedia(t.Context(), lost, frontDoor); !fault.Is(err, fault.NotFound) {
		t.Errorf("a second time: %v", err)
	}
	// What has expired is forgotten with the next.
	r.clock.Add(90 * time.Second)
	if err := r.a.RevokeMedia(t.Context(), kept, frontDoor); err != nil {
		t.Fatal(err)
	}
	if n := len(r.a.dir.Load().revoked); n != 1 {
		t.Errorf("%d sums are kept, want 1", n)
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
	a := &Authority{ring: ring, config: Config{Clock: hosttest.NewClock(time.Unix(1, 0))}}
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
