package auth

import (
	"fmt"
	"time"

	"penstock/internal/fault"
)

// Decision says what was decided and why.
type Decision struct {
	Allowed   bool
	Principal string // ARN of who asked
	Policy    string // whose statement decided; empty when none did
	Statement int    // its number in the policy, from 1; 0 when none
	Sid       string
	Reason    string // in words
}

// Authorize is the one place that decides whether p may do action to resource. An
// ARN names the resource: a Stream's, or SystemARN. It looks at the policies as they
// are now: a revoked key is refused, however p was made. nil allows; fault.Unauthentic:
// nobody, or no longer anybody; fault.Denied: somebody who may not.
func (a *Authority) Authorize(p Principal, action Action, resource string, c Context) error {
	d, known := a.decide(&p, action, resource, &c)
	return a.answer(p, d, known, action, resource)
}

// answer is what Authorize says of a decision.
func (a *Authority) answer(p Principal, d Decision, known bool, action Action, resource string) error {
	if d.Allowed {
		return nil
	}
	a.gauges.denied.Inc()
	d = d.worded(&p, action)
	if !known {
		return fault.New(fault.Unauthentic, string(action), "", d.Reason).WithHint("sign in, or send a token from `penstock key create`")
	}
	return fault.New(fault.Denied, string(action), resource, d.Reason)
}

// Explain tells which statement decides a request, and how.
func (a *Authority) Explain(p Principal, action Action, resource string, c Context) Decision {
	d, _ := a.decide(&p, action, resource, &c)
	return d.worded(&p, action)
}

// worded adds the words, which nobody reads of what is allowed.
func (d Decision) worded(p *Principal, action Action) Decision {
	d.Principal = p.ARN()
	switch {
	case d.Reason != "":
	case d.Allowed:
		d.Reason = fmt.Sprintf("statement %d of %s allows it", d.Statement, d.Policy)
	case d.Statement > 0:
		d.Reason = fmt.Sprintf("statement %d of %s denies it", d.Statement, d.Policy)
	default:
		d.Reason = "no statement allows " + string(action)
	}
	return d
}

// WhoCan explains the request for every person and key of the resource's account.
func (a *Authority) WhoCan(action Action, resource string, c Context) []Decision {
	d := a.dir.Load()
	account := arnAccount(resource)
	var list []Decision
	for _, p := range d.people {
		if p.account == account {
			list = append(list, a.Explain(p.principal("password"), action, resource, c))
		}
	}
	for _, k := range d.ordered {
		if k.Account == account {
			list = append(list, a.Explain(k.principal("bearer"), action, resource, c))
		}
	}
	return list
}

func (a *Authority) decide(p *Principal, action Action, resource string, c *Context) (d Decision, known bool) {
	return a.ask(p, action, resource, nil, c)
}

// ask decides; shared is the policy of the resource itself, nil when it has none.
func (a *Authority) ask(p *Principal, action Action, resource string, shared *ResourcePolicy, c *Context) (d Decision, known bool) {
	if !p.Known() {
		d.Reason = "nobody is signed in"
		return d, false
	}
	now := a.config.Clock.Now()
	if c.Time.IsZero() {
		c.Time = now
	}
	dir := a.dir.Load()
	h, ok := dir.holder(p.Kind, p.ID)
	switch {
	case !ok:
		d.Reason = "the key or person was removed"
		return d, false
	case h.generation != p.generation:
		d.Reason = "the password was changed"
		return d, false
	case past(h.expires, now) || past(p.Expires, now):
		d.Reason = "it has expired"
		return d, false
	}
	if account := arnAccount(resource); account != p.Account && (shared == nil || p.media != nil) {
		d.Reason = "it belongs to another account"
		return d, true
	}
	if p.media != nil {
		if _, gone := dir.revoked[p.media.sum]; gone {
			d.Reason = "the media token was revoked"
			return d, false
		}
		if ok, why := p.media.covers(action, resource, c); !ok {
			d.Reason = why
			return d, true
		}
	}
	d.decide(h.policies, action, resource, c)
	if shared != nil {
		shared.join(&d, p, action, resource, c)
	}
	return d, true
}

func past(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// decide goes by IAM's rule: a Deny that matches wins, else an Allow, else deny.
func (d *Decision) decide(policies []*Policy, action Action, resource string, c *Context) {
	for _, p := range policies {
		for i := range p.Statements {
			s := &p.Statements[i]
			if (s.Effect == Allow && d.Allowed) || !s.matches(action, resource, c) {
				continue
			}
			d.Allowed, d.Policy, d.Statement, d.Sid = s.Effect == Allow, p.Name, i+1, s.Sid
			if !d.Allowed {
				return
			}
		}
	}
}
