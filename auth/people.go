package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"penstock/internal/fault"
)

// AdminName is who signs in when no name is given: the one that `penstock password
// set` and the first run's link speak of.
const AdminName = "admin"

// Argon2id's parameters: RFC 9106's second choice in time, 19 MiB as OWASP's list has
// it, so that two checks at once cost 38 MiB.
const (
	passwordMemory  = 19 * 1024 // KiB
	passwordPasses  = 2
	passwordsAtOnce = 2
	passwordMin     = 8 // characters (ASVS 5.0 6.2.1)
	passwordMax     = 512
	provedLife      = 5 * time.Minute
	provedMax       = 1024
)

// AddPerson adds a person who cannot sign in until a password is set or a link given.
// fault.InUse: the name is taken.
func (a *Authority) AddPerson(ctx context.Context, account, name, role string, streams []string) error {
	if account == "" {
		account = a.config.Account
	}
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := rolePolicy(role, account, streams); err != nil {
		return err
	}
	d := a.dir.Load()
	if len(d.people) >= peopleMax {
		return fault.New(fault.Throttled, "add person", name, fmt.Sprintf("there are %d people already", peopleMax))
	}
	if d.names[account+"/"+name] != nil {
		return fault.New(fault.InUse, "add person", name, "the name is taken")
	}
	err := a.change(ctx, func(tx *sql.Tx) error { return a.insertPerson(tx, account, name, role, streams, "", "") })
	if err == nil {
		a.audit(ctx, AuditEvent{Action: "penstock:AddPerson", Object: name, Account: account, Decision: "allow", Detail: "role " + role})
	}
	return fault.Wrap(fault.Unavailable, "add person", name, err)
}

func (a *Authority) insertPerson(tx *sql.Tx, account, name, role string, streams []string, password, digest string) error {
	id, err := randomID("person-", 12, a.config.Rand)
	if err != nil {
		return err
	}
	generation, err := randomGeneration(a.config.Rand)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO auth_person (id, account, name, role, streams, password, digest, generation, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, account, name, role, streamsText(streams), password, digest, int64(generation), toMillis(a.config.Clock.Now()))
	return err
}

// RemovePerson removes a person and ends what they have open.
func (a *Authority) RemovePerson(ctx context.Context, account, name string) error {
	if account == "" {
		account = a.config.Account
	}
	p := a.dir.Load().names[account+"/"+name]
	if p == nil {
		return fault.New(fault.NotFound, "remove person", name, "no such person")
	}
	err := a.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`DELETE FROM auth_session WHERE person = ?`, p.id); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM auth_person WHERE id = ?`, p.id)
		return err
	})
	if err == nil {
		a.audit(ctx, AuditEvent{Action: "penstock:RemovePerson", Object: name, Account: account, Decision: "allow"})
	}
	return fault.Wrap(fault.Unavailable, "remove person", name, err)
}

// SetPassword sets a person's password, which ends all their sessions and media
// tokens. The first person is added, as admin, when not there yet.
func (a *Authority) SetPassword(ctx context.Context, user, password string) error {
	account, name := a.splitUser(user)
	if n := len([]rune(password)); n < passwordMin || len(password) > passwordMax {
		return fault.New(fault.Invalid, "set password", name, fmt.Sprintf("want %d to %d characters", passwordMin, passwordMax))
	}
	if obvious(password, name) || common(password) {
		return fault.New(fault.Invalid, "set password", name, "it is among the first that anybody would try").WithHint("three or four words that do not belong together are easy to keep and hard to guess")
	}
	hash, err := a.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	generation, err := randomGeneration(a.config.Rand)
	if err != nil {
		return err
	}
	digest, err := a.sealDigest(account, name, password)
	if err != nil {
		return err
	}
	missing := errors.New("no such person")
	err = a.change(ctx, func(tx *sql.Tx) error {
		r, err := tx.Exec(`UPDATE auth_person SET password = ?, digest = ?, generation = ? WHERE account = ? AND name = ?`,
			hash, digest, int64(generation), account, name)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 1 {
			return err
		}
		if name != AdminName {
			return missing
		}
		return a.insertPerson(tx, account, name, RoleAdmin, nil, hash, digest)
	})
	if errors.Is(err, missing) {
		return fault.Wrap(fault.NotFound, "set password", name, missing)
	}
	if err == nil {
		a.audit(ctx, AuditEvent{Action: "penstock:SetPassword", Object: name, Account: account, Decision: "allow"})
	}
	return fault.Wrap(fault.Unavailable, "set password", name, err)
}

// sealDigest keeps HA1 of RFC 7616 for both algorithms, when that is switched on.
func (a *Authority) sealDigest(account, name, password string) (string, error) {
	if !a.config.DigestPasswords {
		return "", nil
	}
	text := name + ":" + Realm + ":" + password
	m, s := md5.Sum([]byte(text)), sha256.Sum256([]byte(text))
	return a.ring.sealText("digest "+account+"/"+name, hex.EncodeToString(m[:])+" "+hex.EncodeToString(s[:]))
}

// HasCredentials reports whether anybody could sign in: a password or a key exists.
func (a *Authority) HasCredentials(ctx context.Context) bool {
	return len(a.dir.Load().keys) > 0 || a.HasPassword(ctx)
}

// HasPassword reports whether somebody has a password.
func (a *Authority) HasPassword(context.Context) bool {
	for _, p := range a.dir.Load().people {
		if p.password != "" {
			return true
		}
	}
	return false
}

// Password checks a person's name (empty: AdminName; ACCOUNT/NAME for another
// account) and password. An unknown name takes as long and reads the same as a wrong
// password: fault.Unauthentic. Too many failures from an address or for a name:
// fault.Throttled, also for the right password.
func (a *Authority) Password(ctx context.Context, user, password, remote string) (Principal, error) {
	p, err := a.checkPassword(ctx, user, password, remote)
	event := AuditEvent{Action: "penstock:SignIn", Principal: user, Remote: hostOf(remote), Decision: "allow"}
	if err != nil {
		event.Decision, event.Detail = "deny", fault.KindOf(err).String()
		a.gauges.failed("password")
	}
	// Wrong tries are as many as the limits let through, each with its line. Those beyond
	// them cost a guesser nothing, and must not fill the log.
	if fault.Is(err, fault.Throttled) && !a.refusalIsNews(remote, event, err) {
		return p, err
	}
	a.audit(ctx, event)
	return p, err
}

func (a *Authority) checkPassword(ctx context.Context, user, password, remote string) (Principal, error) {
	account, name := a.splitUser(user)
	wrong := fault.New(fault.Unauthentic, "sign in", "", "name or password is wrong")
	long := len(password) > passwordMax || len(user) > passwordMax
	if long {
		account, name = "", "" // nobody is called so, and a name that is kept has a bound
	}
	// First of all: where guesses are refused, the right one is refused too, or the refusals
	// would tell it from the others.
	now := a.config.Clock.Now()
	if err := a.limits.address(now, remote); err != nil {
		return Principal{}, err
	}
	p := a.dir.Load().names[account+"/"+name]
	if p != nil && p.password != "" && a.proved.holds(p, password, remote, now) {
		return p.principal("password"), nil
	}
	if err := a.limits.allow(now, remote, account+"/"+name); err != nil || long {
		return Principal{}, cmp.Or[error](err, wrong)
	}
	hash := dummyHash
	if p != nil && p.password != "" {
		hash = p.password
	}
	ok, err := a.verifyPassword(ctx, hash, password)
	if err != nil {
		return Principal{}, err
	}
	if !ok || hash == dummyHash {
		return Principal{}, wrong
	}
	a.limits.succeed(remote, account+"/"+name)
	a.proved.add(p, password, remote, a.config.Clock.Now())
	return p.principal("password"), nil
}

// Confirm checks the present password of somebody who is signed in, under the limits of
// Password: whoever finds a browser open must not take the account over. nil also for a
// person who has none, and for keys. fault.Unauthentic: it is another; fault.Throttled.
func (a *Authority) Confirm(ctx context.Context, p Principal, password, remote string) error {
	if !a.OwnPassword(p) {
		return nil
	}
	_, err := a.checkPassword(ctx, p.Account+"/"+p.Name, password, remote)
	if err != nil {
		a.gauges.failed("password")
	}
	return err
}

// OwnPassword reports whether p is a person who has a password.
func (a *Authority) OwnPassword(p Principal) bool {
	who := a.dir.Load().people[p.ID]
	return p.Kind == Person && who != nil && who.password != ""
}

func (p *person) principal(via string) Principal {
	return Principal{Account: p.account, ID: p.id, Kind: Person, Name: p.name, Role: p.role, Via: via, generation: p.generation}
}

// dummyHash is checked for unknown names; no password has it.
const dummyHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func (a *Authority) hashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, 16)
	if _, err := io.ReadFull(a.config.Rand, salt); err != nil {
		return "", err
	}
	if err := a.hashTurn(ctx); err != nil {
		return "", err
	}
	defer func() { <-a.hashes }()
	sum := argon2.IDKey([]byte(password), salt, passwordPasses, passwordMemory, 1, 32)
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", passwordMemory, passwordPasses,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum)), nil
}

func (a *Authority) hashTurn(ctx context.Context) error {
	select {
	case a.hashes <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Throttled, "check password", "", ctx.Err())
	}
}

// verifyPassword checks against a PHC string that this package wrote.
func (a *Authority) verifyPassword(ctx context.Context, phc, password string) (bool, error) {
	var memory, passes uint32
	parts := strings.Split(phc, "$")
	bad := fault.New(fault.Internal, "check password", "", "the stored hash is damaged; set the password again")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != "v=19" {
		return false, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &memory, &passes); err != nil || memory > 1<<20 || passes == 0 || passes > 64 {
		return false, bad
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) == 0 {
		return false, bad
	}
	if err := a.hashTurn(ctx); err != nil {
		return false, err
	}
	defer func() { <-a.hashes }()
	got := argon2.IDKey([]byte(password), salt, passes, memory, 1, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// provedPasswords remembers for some minutes which passwords were right, and from which
// address, as HMACs under a key of this process: RTSP and HTTP Basic send the password
// with every request, and Argon2 is meant to be slow. Who guesses from elsewhere finds
// nothing here and goes the slow way, past the limits.
type provedPasswords struct {
	mu    sync.Mutex
	key   []byte
	until map[[32]byte]time.Time
}

func newProvedPasswords(random io.Reader) *provedPasswords {
	k := make([]byte, 32)
	if _, err := io.ReadFull(random, k); err != nil {
		return &provedPasswords{} // remembers nothing
	}
	return &provedPasswords{key: k, until: map[[32]byte]time.Time{}}
}

func (m *provedPasswords) sum(p *person, password, remote string) (sum [32]byte) {
	h := hmac.New(sha256.New, m.key)
	fmt.Fprintf(h, "%s %d %s %s", p.id, p.generation, hostOf(remote), password)
	h.Sum(sum[:0])
	return sum
}

func (m *provedPasswords) holds(p *person, password, remote string, now time.Time) bool {
	if m.key == nil {
		return false
	}
	sum := m.sum(p, password, remote)
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Before(m.until[sum])
}

func (m *provedPasswords) add(p *person, password, remote string, now time.Time) {
	if m.key == nil {
		return
	}
	sum := m.sum(p, password, remote)
	m.mu.Lock()
	defer m.mu.Unlock()
	for s, t := range m.until {
		if !now.Before(t) || len(m.until) >= provedMax {
			delete(m.until, s)
		}
	}
	m.until[sum] = now.Add(provedLife)
}
