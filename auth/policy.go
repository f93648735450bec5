package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"penstock/internal/fault"
)

// Limits of a policy document, so that a decision stays cheap. AWS allows 6,144
// characters in a managed policy; ours may be a little larger.
const (
	PolicyMax     = 20 << 10 // bytes of JSON
	statementsMax = 64
	entriesMax    = 128 // actions, resources or condition values of one statement
	patternMax    = 1024
)

// Policy is a parsed policy document. It is immutable.
type Policy struct {
	Name       string // where it comes from: "role viewer", "policy of key PSAK..."
	Statements []Statement
}

// Effect is what a statement that matches does.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Statement is one rule. Action and Resource are patterns with * and ?; actions
// compare without case, as in IAM.
type Statement struct {
	Sid       string      `json:"Sid,omitempty"`
	Effect    Effect      `json:"Effect"`
	Action    stringList  `json:"Action"`
	Resource  stringList  `json:"Resource"`
	Condition []condition `json:"-"`
}

// stringList is a JSON string or list of strings.
type stringList []string

// UnmarshalJSON takes "x" and ["x","y"].
func (l *stringList) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] == '[' {
		var many []string
		if err := json.Unmarshal(b, &many); err != nil {
			return err
		}
		*l = many
		return nil
	}
	var one string
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	if bytes.Equal(b, []byte("null")) {
		return errors.New("null is not a string")
	}
	*l = []string{one}
	return nil
}

type rawStatement struct {
	Sid       string
	Effect    Effect
	Action    stringList
	Resource  stringList
	Condition conditionBlock
}

// conditionBlock is operator, key and values.
type conditionBlock map[string]map[string]stringList

// UnmarshalJSON refuses null and operators without a key: whoever wrote them meant a
// condition, and there is none.
func (c *conditionBlock) UnmarshalJSON(b []byte) error {
	var block map[string]map[string]stringList
	if err := json.Unmarshal(b, &block); err != nil {
		return err
	}
	if block == nil {
		return errors.New("Condition is null")
	}
	for op, keys := range block {
		if len(keys) == 0 {
			return fmt.Errorf("condition %s has no key", op)
		}
	}
	*c = block
	return nil
}

// doubled refuses an object that has a name twice, in whatever case: readers would take one
// of them, and not all the same one.
func doubled(doc []byte) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	var open []map[string]bool // names of each object that is open; nil: a list
	name := false              // a name is next
	for {
		t, err := d.Token()
		if err != nil {
			return nil // the end, or what the decoder proper says better
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '{':
				open, name = append(open, map[string]bool{}), true
				continue
			case '[':
				open, name = append(open, nil), false
				continue
			}
			open = open[:len(open)-1]
		case string:
			if name {
				key := strings.ToLower(t)
				if open[len(open)-1][key] {
					return fmt.Errorf("%q stands twice in one object", t)
				}
				open[len(open)-1][key], name = true, false
				continue
			}
		}
		name = len(open) > 0 && open[len(open)-1] != nil // a value has ended
	}
}

type rawDocument struct {
	Version   string
	ID        string `json:"Id"`
	Statement statementList
}

type statementList []rawStatement

// UnmarshalJSON takes one statement and a list of them.
func (l *statementList) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] == '[' {
		var many []rawStatement
		if err := strict(b, &many); err != nil {
			return err
		}
		*l = many
		return nil
	}
	var one rawStatement
	if err := strict(b, &one); err != nil {
		return err
	}
	*l = []rawStatement{one}
	return nil
}

// strict refuses fields that we do not know: to ignore a NotAction or a Principal
// would turn a narrow policy into a wide one.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows the document")
	}
	return nil
}

// parsePolicy reads a policy document in IAM's JSON grammar: Version, Id, Statement
// with Sid, Effect, Action, Resource and Condition. What it does not know it refuses
// with fault.Invalid: NotAction, NotResource, Principal, policy variables.
func parsePolicy(name string, doc []byte) (*Policy, error) {
	bad := func(err error) (*Policy, error) {
		return nil, fault.Wrap(fault.Invalid, "read policy", name, err)
	}
	if len(doc) > PolicyMax {
		return bad(fmt.Errorf("%d bytes, at most %d", len(doc), PolicyMax))
	}
	if err := doubled(doc); err != nil {
		return bad(err)
	}
	var raw rawDocument
	if err := strict(doc, &raw); err != nil {
		return bad(err)
	}
	if raw.Version != "" && raw.Version != "2012-10-17" && raw.Version != "2008-10-17" {
		return bad(fmt.Errorf("version %q; write 2012-10-17", raw.Version))
	}
	if len(raw.Statement) == 0 || len(raw.Statement) > statementsMax {
		return bad(fmt.Errorf("%d statements; want 1 to %d", len(raw.Statement), statementsMax))
	}
	p := &Policy{Name: name}
	for i, r := range raw.Statement {
		s, err := r.check()
		if err != nil {
			return bad(fmt.Errorf("statement %d: %w", i+1, err))
		}
		p.Statements = append(p.Statements, s)
	}
	return p, nil
}

func (r rawStatement) check() (Statement, error) {
	s := Statement{Sid: r.Sid, Effect: r.Effect, Action: r.Action, Resource: r.Resource}
	if r.Effect != Allow && r.Effect != Deny {
		return s, fmt.Errorf("effect %q; write Allow or Deny", r.Effect)
	}
	if err := checkPatterns("Action", r.Action); err != nil {
		return s, err
	}
	if err := checkPatterns("Resource", r.Resource); err != nil {
		return s, err
	}
	for _, a := range r.Action {
		if a != "*" && !strings.Contains(a, ":") {
			return s, fmt.Errorf("action %q; write service:Operation or *", a)
		}
	}
	for _, a := range r.Resource {
		if a != "*" && (!strings.HasPrefix(a, "arn:") || strings.Count(a, ":") < arnParts-1) {
			return s, fmt.Errorf("resource %q; write an ARN (arn:aws:kinesisvideo:*:*:stream/NAME/*) or *", a)
		}
	}
	for op, keys := range r.Condition {
		for key, values := range keys {
			c, err := newCondition(op, key, values)
			if err != nil {
				return s, err
			}
			s.Condition = append(s.Condition, c)
		}
	}
	return s, nil
}

func checkPatterns(field string, list []string) error {
	if len(list) == 0 || len(list) > entriesMax {
		return fmt.Errorf("%s has %d entries; want 1 to %d", field, len(list), entriesMax)
	}
	for _, p := range list {
		if p == "" || len(p) > patternMax {
			return fmt.Errorf("%s has an entry of %d bytes; want 1 to %d", field, len(p), patternMax)
		}
		if strings.Contains(p, "${") {
			return fmt.Errorf("%s %q uses a policy variable, which is not supported", field, p)
		}
	}
	return nil
}

// matches reports whether the statement speaks about this request.
func (s *Statement) matches(action Action, resource string, c *Context) bool {
	if !matchAny(s.Action, func(p string) bool {
		return p == "*" || globFold(p, string(action))
	}) {
		return false
	}
	if !matchAny(s.Resource, func(p string) bool { return matchARN(p, resource) }) {
		return false
	}
	for i := range s.Condition {
		if !s.Condition[i].holds(c, s.Effect) {
			return false
		}
	}
	return true
}

func matchAny(list []string, match func(string) bool) bool {
	for _, p := range list {
		if match(p) {
			return true
		}
	}
	return false
}
