package auth

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// directory is all people and keys at one moment. It is immutable: a change makes a
// new one.
type directory struct {
	epoch   int64
	people  map[string]*person  // by id
	names   map[string]*person  // by account/name
	keys    map[string]*key     // by access key id
	tokens  map[string]*key     // by hash of the bearer token
	ordered []*key              // oldest first
	revoked map[string]struct{} // sums of media tokens that were taken back before they expired
}

type person struct {
	id, account, name, role string
	streams                 []string
	password                string // PHC string of argon2id; empty: cannot sign in by password
	digest                  string // sealed; see Config.DigestPasswords
	generation              uint64
	created                 time.Time
	policies                []*Policy
}

type key struct {
	KeyInfo
	secret, token string // sealed
	tokenHash     string
	generation    uint64
	policies      []*Policy
}

// holder is what a decision needs to know of a person or key.
type holder struct {
	generation uint64
	expires    time.Time
	policies   []*Policy
}

func (d *directory) holder(kind Kind, id string) (holder, bool) {
	switch kind {
	case Person:
		if p := d.people[id]; p != nil {
			return holder{generation: p.generation, policies: p.policies}, true
		}
	case Key:
		if k := d.keys[id]; k != nil {
			return holder{k.generation, k.Expires, k.policies}, true
		}
	}
	return holder{}, false
}

// load reads everything. A key or person whose stored policy does not parse keeps its
// name and may do nothing.
func (a *Authority) load(ctx context.Context) (*directory, error) {
	d := &directory{people: map[string]*person{}, names: map[string]*person{}, keys: map[string]*key{}, tokens: map[string]*key{}, revoked: map[string]struct{}{}}
	db := a.config.Meta.Read()
	// The epoch is read first: a change in between is then found by the next poll.
	if err := db.QueryRowContext(ctx, `SELECT number FROM auth_state WHERE name = 'epoch'`).Scan(&d.epoch); err != nil {
		return nil, err
	}
	if err := a.loadPeople(ctx, d); err != nil {
		return nil, err
	}
	if err := a.loadKeys(ctx, d); err != nil {
		return nil, err
	}
	return d, a.loadRevoked(ctx, d)
}

func (a *Authority) loadPeople(ctx context.Context, d *directory) error {
	rows, err := a.config.Meta.Read().QueryContext(ctx,
		`SELECT id, account, name, role, streams, password, digest, generation, created FROM auth_person`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		p := &person{}
		var streams string
		var generation, created int64
		if err := rows.Scan(&p.id, &p.account, &p.name, &p.role, &streams, &p.password, &p.digest, &generation, &created); err != nil {
			return err
		}
		p.generation, p.created = uint64(generation), fromMillis(created)
		policy, err := rolePolicyOf(p.role, p.account, streams, &p.streams)
		if err != nil {
			a.log.Error("a person's stored role cannot be read; they may do nothing until it is set again", "person", p.name, "err", err)
		} else {
			p.policies = []*Policy{policy}
		}
		d.people[p.id], d.names[p.account+"/"+p.name] = p, p
	}
	return rows.Err()
}

func (a *Authority) loadKeys(ctx context.Context, d *directory) error {
	rows, err := a.config.Meta.Read().QueryContext(ctx, `SELECT id, account, name, role, streams, policy, secret, token,
		token_hash, generation, created, expires, last_used, last_remote FROM auth_key ORDER BY created, id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		k := &key{}
		var streams, policy string
		var generation, created, expires, used int64
		if err := rows.Scan(&k.ID, &k.Account, &k.Name, &k.Role, &streams, &policy, &k.secret, &k.token,
			&k.tokenHash, &generation, &created, &expires, &used, &k.LastRemote); err != nil {
			return err
		}
		k.generation = uint64(generation)
		k.Created, k.Expires, k.LastUsed = fromMillis(created), fromMillis(expires), fromMillis(used)
		k.Policy = []byte(policy)
		if k.policies, err = keyPolicies(k.KeyInfo, streams, &k.Streams); err != nil {
			a.log.Error("a key's stored policy cannot be read; the key may do nothing", "key", k.ID, "err", err)
			k.policies = nil
		}
		d.keys[k.ID], d.tokens[k.tokenHash] = k, k
		d.ordered = append(d.ordered, k)
	}
	return rows.Err()
}

// keyPolicies joins the role's policy and the key's own.
func keyPolicies(k KeyInfo, streams string, into *[]string) ([]*Policy, error) {
	var list []*Policy
	if k.Role != RoleCustom {
		p, err := rolePolicyOf(k.Role, k.Account, streams, into)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	if len(k.Policy) > 0 {
		p, err := parsePolicy("policy of key "+k.ID, k.Policy)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func rolePolicyOf(role, account, streams string, into *[]string) (*Policy, error) {
	if streams != "" {
		if err := json.Unmarshal([]byte(streams), into); err != nil {
			return nil, err
		}
	}
	return rolePolicy(role, account, *into)
}

func streamsText(patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	b, _ := json.Marshal(patterns) // a []string always marshals
	return string(b)
}

// splitUser reads "name" and "account/name"; the empty name is the first person's.
func (a *Authority) splitUser(user string) (account, name string) {
	if before, after, ok := strings.Cut(user, "/"); ok {
		return before, after
	}
	if user == "" {
		user = AdminName
	}
	return a.config.Account, user
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
