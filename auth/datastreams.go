package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"penstock/internal/fault"
)

// The actions of Kinesis Data Streams that native doors ask for, too. The AWS door asks
// for "kinesis:" and the operation's name.
const (
	DataCreateStream     Action = "kinesis:CreateStream"
	DataDescribeStream   Action = "kinesis:DescribeStream"
	DataListStreams      Action = "kinesis:ListStreams"
	DataDeleteStream     Action = "kinesis:DeleteStream"
	DataListShards       Action = "kinesis:ListShards"
	DataPutRecord        Action = "kinesis:PutRecord"
	DataPutRecords       Action = "kinesis:PutRecords"
	DataGetRecords       Action = "kinesis:GetRecords"
	DataSplitShard       Action = "kinesis:SplitShard"
	DataMergeShards      Action = "kinesis:MergeShards"
	DataUpdateShardCount Action = "kinesis:UpdateShardCount"
	DataSubscribe        Action = "kinesis:SubscribeToShard"
)

// ResourcePolicy is a policy that hangs on a resource and names who it is for. It opens
// the resource to other accounts, whose own policies must allow the action as well, and
// to principals of its own account that it names. It is immutable.
type ResourcePolicy struct{ statements []sharedStatement }

// sharedStatement is a statement and who it speaks about: "*", accounts, ARNs.
type sharedStatement struct {
	Statement
	principals []string
}

// rawShared is a statement as it is written down.
type rawShared struct {
	rawStatement
	Principal json.RawMessage
}

// ParseResourcePolicy reads a resource policy in IAM's JSON grammar. What it does not know
// it refuses with fault.Invalid: NotPrincipal, principals that are no AWS accounts or
// users, and what parsePolicy refuses. A document without statements allows nothing.
func ParseResourcePolicy(name string, doc []byte) (*ResourcePolicy, error) {
	bad := func(err error) (*ResourcePolicy, error) {
		return nil, fault.Wrap(fault.Invalid, "read resource policy", name, err)
	}
	if len(doc) > PolicyMax {
		return bad(fmt.Errorf("%d bytes, at most %d", len(doc), PolicyMax))
	}
	if !bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) {
		return bad(errors.New("the text must be a JSON object")) // null would read as a policy without statements
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := errors.Join(doubled(doc), strict(doc, &raw)); err != nil {
		return bad(err)
	}
	if raw.Version != "" && raw.Version != "2012-10-17" && raw.Version != "2008-10-17" {
		return bad(fmt.Errorf("version %q; write 2012-10-17", raw.Version))
	}
	list, err := sharedStatements(raw.Statement)
	if err != nil {
		return bad(err)
	}
	if len(list) > statementsMax {
		return bad(fmt.Errorf("%d statements; at most %d", len(list), statementsMax))
	}
	p := &ResourcePolicy{}
	for i, r := range list {
		s, err := r.check()
		if err != nil {
			return bad(fmt.Errorf("statement %d: %w", i+1, err))
		}
		who, err := principals(r.Principal)
		if err != nil {
			return bad(fmt.Errorf("statement %d: %w", i+1, err))
		}
		p.statements = append(p.statements, sharedStatement{s, who})
	}
	return p, nil
}

// sharedStatements reads one statement or a list of them.
func sharedStatements(b json.RawMessage) (list []rawShared, err error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return nil, nil
	case b[0] == '[':
		err = strict(b, &list)
	default:
		list = make([]rawShared, 1)
		err = strict(b, &list[0])
	}
	return list, err
}

// principals reads "*", {"AWS": "..."} and {"AWS": ["...", ...]}.
func principals(b json.RawMessage) ([]string, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil, errors.New("there is no Principal")
	}
	var list stringList
	if b[0] == '{' {
		var named struct{ AWS stringList }
		if err := strict(b, &named); err != nil {
			return nil, fmt.Errorf("Principal: %w", err)
		}
		list = named.AWS
	} else if err := json.Unmarshal(b, &list); err != nil || len(list) != 1 || list[0] != "*" {
		return nil, errors.New(`Principal: write "*" or {"AWS": ...}`)
	}
	if len(list) == 0 || len(list) > entriesMax {
		return nil, fmt.Errorf("Principal has %d entries; want 1 to %d", len(list), entriesMax)
	}
	for _, p := range list {
		account := strings.TrimPrefix(p, "arn:aws:iam::")
		digits, _, _ := strings.Cut(account, ":")
		if p != "*" && (len(digits) != 12 || strings.Trim(digits, "0123456789") != "") {
			return nil, fmt.Errorf("Principal %q; write an account's 12 digits, arn:aws:iam::ACCOUNT:root or arn:aws:iam::ACCOUNT:user/NAME", p)
		}
	}
	return list, nil
}

// names reports whether the statement speaks about p; byName, not only by p's account.
func (s *sharedStatement) names(p *Principal) (named, byName bool) {
	for _, who := range s.principals {
		switch who {
		case "*", p.ARN():
			return true, true
		case p.Account, "arn:aws:iam::" + p.Account + ":root":
			named = true
		}
	}
	return named, false
}

// join adds what the resource's policy says to what the principal's own policies said: a
// Deny of either wins; another account needs an Allow of both, its own account of one,
// which then must name the principal and not just the account.
func (r *ResourcePolicy) join(d *Decision, p *Principal, action Action, resource string, c *Context) {
	if !d.Allowed && d.Statement > 0 {
		return
	}
	own, opened := arnAccount(resource) == p.Account, false
	for i := range r.statements {
		s := &r.statements[i]
		named, byName := s.names(p)
		if !named || !s.matches(action, resource, c) {
			continue
		}
		if s.Effect == Deny {
			d.Allowed, d.Policy, d.Statement, d.Sid = false, "the resource policy", i+1, s.Sid
			return
		}
		if byName || !own {
			opened = true
			if own && !d.Allowed {
				d.Allowed, d.Policy, d.Statement, d.Sid = true, "the resource policy", i+1, s.Sid
			}
		}
	}
	if !own && !opened {
		d.Allowed, d.Reason = false, "it belongs to another account, and its resource policy does not open it"
	}
}

// AuthorizeShared is Authorize for a resource that has a policy of its own; nil: it has
// none.
func (a *Authority) AuthorizeShared(p Principal, action Action, resource string, shared *ResourcePolicy, c Context) error {
	d, known := a.ask(&p, action, resource, shared, &c)
	return a.answer(p, d, known, action, resource)
}
