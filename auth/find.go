package auth

import (
	"strings"

	"penstock/internal/fault"
)

// Find returns the principal that a key id, or a person's name (ACCOUNT/NAME for another
// account), stands for, as if they had just signed in: to explain decisions about them
// (Explain), not to act for them. fault.NotFound: there is none.
func (a *Authority) Find(who string) (Principal, error) {
	d := a.dir.Load()
	if k := d.keys[who]; k != nil {
		return k.principal("bearer"), nil
	}
	account, name := a.splitUser(strings.TrimPrefix(who, "arn:aws:iam::"+a.config.Account+":user/"))
	if p := d.names[account+"/"+name]; p != nil && who != "" {
		return p.principal("password"), nil
	}
	return Principal{}, fault.New(fault.NotFound, "find principal", who, "no key has this id, no person this name").
		WithHint("`penstock key ls` lists keys")
}
