package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
)

func TestDecisions(t *testing.T) {
	r := newRig(t)
	doc := func(statements string) []byte {
		return []byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
	}
	night := time.Date(2026, 1, 2, 23, 0, 0, 0, time.UTC)
	cases := []struct {
		name     string
		key      NewKey
		action   Action
		resource string
		context  Context
		want     bool
	}{
		{"an admin may manage keys", NewKey{Role: RoleAdmin}, ManageKeys, SystemARN(DefaultAccount), Context{}, true},
		{"an admin may delete", NewKey{Role: RoleAdmin}, DeleteStream, frontDoor, Context{}, true},
		{"an admin may not touch another account", NewKey{Role: RoleAdmin}, GetMedia, strings.ReplaceAll(frontDoor, "000000000000", "111111111111"), Context{}, false},
		{"an admin may not use a resource that is no ARN", NewKey{Role: RoleAdmin}, GetMedia, "front-door", Context{}, false},
		{"an operator may not manage keys", NewKey{Role: RoleOperator}, ManageKeys, SystemARN(DefaultAccount), Context{}, false},
		{"an operator may update", NewKey{Role: RoleOperator}, UpdateStream, frontDoor, Context{}, true},
		{"a viewer may watch", NewKey{Role: RoleViewer}, GetMedia, frontDoor, Context{}, true},
		{"a viewer may not send", NewKey{Role: RoleViewer}, PutMedia, frontDoor, Context{}, false},
		{"a viewer may not read metrics", NewKey{Role: RoleViewer}, ReadMetrics, SystemARN(DefaultAccount), Context{}, false},
		{"a narrowed viewer may watch its camera", NewKey{Role: RoleViewer, Streams: []string{"front-*"}}, GetMedia, frontDoor, Context{}, true},
		{"a narrowed viewer may not watch another", NewKey{Role: RoleViewer, Streams: []string{"front-*"}}, GetMedia, backDoor, Context{}, false},
		{"a narrowed viewer may ask for the list", NewKey{Role: RoleViewer, Streams: []string{"front-*"}}, ListStreams, SystemARN(DefaultAccount), Context{}, true},
		{"a narrowed operator may not probe", NewKey{Role: RoleOperator, Streams: []string{"front-*"}}, Probe, SystemARN(DefaultAccount), Context{}, false},
		{"a narrowed admin may not manage keys", NewKey{Role: RoleAdmin, Streams: []string{"*"}}, ManageKeys, SystemARN(DefaultAccount), Context{}, false},
		{"a producer may send", NewKey{Role: RoleProducer}, PutMedia, frontDoor, Context{}, true},
		{"a producer may not watch", NewKey{Role: RoleProducer}, GetMedia, frontDoor, Context{}, false},
		{"a producer may not list", NewKey{Role: RoleProducer}, ListStreams, SystemARN(DefaultAccount), Context{}, false},
		{"a worker may read fragments", NewKey{Role: RoleWorker}, GetFragmentMedia, frontDoor, Context{}, true},
		{"a worker may not delete", NewKey{Role: RoleWorker}, DeleteStream, frontDoor, Context{}, false},
		{"a deny wins over the role", NewKey{Role: RoleAdmin, Policy: doc(`{"Effect":"Deny","Action":"kinesisvideo:Delete*","Resource":"*"}`)}, DeleteStream, frontDoor, Context{}, false},
		{"what is not denied stays", NewKey{Role: RoleAdmin, Policy: doc(`{"Effect":"Deny","Action":"kinesisvideo:Delete*","Resource":"*"}`)}, GetMedia, frontDoor, Context{}, true},
		{"actions compare without case", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"KinesisVideo:getmedia","Resource":"*"}`)}, GetMedia, frontDoor, Context{}, true},
		{"nothing is allowed that no statement says", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"kinesisvideo:GetMedia","Resource":"` + backDoor + `"}`)}, GetMedia, frontDoor, Context{}, false},
		{"an address inside the range", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`)}, GetMedia, frontDoor, Context{SourceIP: "10.1.2.3:5555"}, true},
		{"a mapped address inside the range", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`)}, GetMedia, frontDoor, Context{SourceIP: "[::ffff:10.1.2.3]:5555"}, true},
		{"an address outside the range", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`)}, GetMedia, frontDoor, Context{SourceIP: "11.1.2.3"}, false},
		{"an unknown address does not hold for Allow", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`)}, GetMedia, frontDoor, Context{}, false},
		{"an unknown address holds for Deny", NewKey{Role: RoleAdmin, Policy: doc(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`)}, GetMedia, frontDoor, Context{}, false},
		{"before the date", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-02T22:00:00Z"}}}`)}, GetMedia, frontDoor, Context{}, true},
		{"after the date", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-02T22:00:00Z"}}}`)}, GetMedia, frontDoor, Context{Time: night}, false},
		{"all conditions must hold", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-01-02"},"IpAddress":{"aws:SourceIp":["10.0.0.1","10.0.0.2"]}}}`)}, GetMedia, frontDoor, Context{SourceIP: "10.0.0.3"}, false},
		{"one of the values is enough", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.1","10.0.0.2"]}}}`)}, GetMedia, frontDoor, Context{SourceIP: "10.0.0.2"}, true},
		{"a string that is like", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"penstock:site":"north-*"}}}`)}, GetMedia, frontDoor, Context{Values: map[string]string{"penstock:Site": "north-3"}}, true},
		{"a string that is missing", NewKey{Role: RoleCustom, Policy: doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"penstock:site":"*"}}}`)}, GetMedia, frontDoor, Context{}, false},
		{"plain text is not secure transport", NewKey{Role: RoleAdmin, Policy: doc(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)}, GetMedia, frontDoor, Context{}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, p := r.key(c.key)
			err := r.a.Authorize(p, c.action, c.resource, c.context)
			if (err == nil) != c.want {
				t.Errorf("%v; want allowed %v", err, c.want)
			}
			if err != nil && !fault.Is(err, fault.Denied) {
				t.Errorf("kind %v, want denied", fault.KindOf(err))
			}
			d := r.a.Explain(p, c.action, c.resource, c.context)
			if d.Allowed != c.want || d.Reason == "" {
				t.Errorf("explain: %+v, want allowed %v with a reason", d, c.want)
			}
			if d.Allowed && (d.Policy == "" || d.Statement == 0) {
				t.Errorf("explain does not name the statement: %+v", d)
			}
		})
	}
}

func TestNobodyMayDoNothing(t *testing.T) {
	r := newRig(t)
	if err := r.a.Authorize(Principal{}, ListStreams, SystemARN(DefaultAccount), Context{}); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("%v, want unauthenticated", err)
	}
	forged := Principal{Kind: Key, ID: "PSAKNOBODY", Account: DefaultAccount, Role: RoleAdmin}
	if err := r.a.Authorize(forged, ListStreams, SystemARN(DefaultAccount), Context{}); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("an unknown key: %v, want unauthenticated", err)
	}
}

func TestWhoCanNamesTheStatement(t *testing.T) {
	r := newRig(t)
	r.key(NewKey{Name: "wall", Role: RoleViewer, Streams: []string{"front-*"}})
	r.key(NewKey{Name: "yard", Role: RoleViewer, Streams: []string{"back-*"}})
	allowed := map[string]string{}
	for _, d := range r.a.WhoCan(GetMedia, frontDoor, Context{}) {
		allowed[d.Principal] = fmt.Sprint(d.Allowed, " ", d.Policy, " ", d.Sid)
	}
	if got := allowed["arn:aws:iam::000000000000:user/wall"]; got != "true role viewer on front-* Streams" {
		t.Errorf("wall: %q", got)
	}
	if got := allowed["arn:aws:iam::000000000000:user/yard"]; got != "false  " {
		t.Errorf("yard: %q", got)
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	for name, doc := range map[string]string{
		"not JSON":              `{`,
		"empty":                 `{}`,
		"no statement":          `{"Statement":[]}`,
		"more after it":         `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}} {}`,
		"NotAction":             `{"Statement":{"Effect":"Allow","NotAction":"a:b","Action":"*","Resource":"*"}}`,
		"NotResource":           `{"Statement":{"Effect":"Allow","Action":"*","NotResource":"*"}}`,
		"Principal":             `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`,
		"no action":             `{"Statement":{"Effect":"Allow","Resource":"*"}}`,
		"null action":           `{"Statement":{"Effect":"Allow","Action":null,"Resource":"*"}}`,
		"no resource":           `{"Statement":{"Effect":"Allow","Action":"*"}}`,
		"lower-case effect":     `{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}`,
		"unknown operator":      `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericEquals":{"x":"1"}}}}`,
		"address of wrong key":  `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"}}}}`,
		"bad address":           `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/99"}}}}`,
		"bad date":              `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"soon"}}}}`,
		"policy variable":       `{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:kinesisvideo:*:*:stream/${aws:username}/*"}}`,
		"resource that is none": `{"Statement":{"Effect":"Allow","Action":"*","Resource":"front-door"}}`,
		"action without colon":  `{"Statement":{"Effect":"Allow","Action":"GetMedia","Resource":"*"}}`,
		"condition null":        `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":null}}`,
		"operator null":         `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":null}}}`,
		"operator without key":  `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{}}}}`,
		"effect twice":          `{"Statement":{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}}`,
		"effect in two cases":   `{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*","effect":"Allow"}]}`,
		"operator twice":        `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a":"b"},"StringEquals":{"c":"d"}}}}`,
		"statement twice":       `{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"},"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
		"mapped and more":       `{"Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"::ffff:0:0/90"}}}}`,
		"another version":       `{"Version":"2030-01-01","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
		"too long":              `{"Statement":{"Effect":"Allow","Action":"*","Resource":"` + strings.Repeat("*", PolicyMax) + `"}}`,
	} {
		if _, err := parsePolicy("test", []byte(doc)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestARNPatternsStayInTheirSegment(t *testing.T) {
	for _, c := range []struct {
		pattern, arn string
		want         bool
	}{
		{"*", "anything", true},
		{"arn:aws:kinesisvideo:*:*:stream/front-*/*", frontDoor, true},
		{"arn:aws:kinesisvideo:*:*:stream/front-doo?/*", frontDoor, true},
		{"arn:aws:kinesisvideo:*:*:stream/front/*", frontDoor, false},
		{"arn:aws:kinesisvideo:*:stream/front-door/*", frontDoor, false},
		{"arn:aws:*:111111111111:*:stream/*", frontDoor, false},
		{"arn:*", frontDoor, false},
		{"arn:*:*:*:000000000000:*", frontDoor, true},
		{"arn:*:*:*:111111111111:*", strings.Replace(frontDoor, "front", "111111111111:x", 1), false},
	} {
		if got := matchARN(c.pattern, c.arn); got != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.arn, got)
		}
	}
}

func TestGlobIsNotExponential(t *testing.T) {
	start := time.Now()
	if glob(strings.Repeat("*a", 500)+"b", strings.Repeat("a", 1000)) {
		t.Error("matched")
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(`{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Action":["kinesisvideo:Get*"],"Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}`))
	f.Add([]byte(`{"Statement":{"Effect":"Deny","Action":"*","Resource":"arn:aws:kinesisvideo:*:*:stream/?*/*","Condition":{"StringNotLike":{"x":["*"]}}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := parsePolicy("fuzz", doc)
		if err != nil {
			return
		}
		c := Context{SourceIP: "10.1.1.1", Time: time.Unix(1767323045, 0)}
		var d Decision
		d.decide([]*Policy{p}, GetMedia, frontDoor, &c)
		allows := false
		for _, s := range p.Statements {
			if s.Effect == Deny && s.matches(GetMedia, frontDoor, &c) && d.Allowed {
				t.Error("a Deny that matches did not win")
			}
			allows = allows || s.Effect == Allow
		}
		if d.Allowed && !allows {
			t.Error("allowed without an Allow")
		}
	})
}

func FuzzMatchARN(f *testing.F) {
	f.Add("arn:aws:kinesisvideo:*:*:stream/front-*/*", frontDoor)
	f.Add("arn:*:*:*:0?0*:*", "arn:aws:x:y:000:z:w")
	f.Fuzz(func(t *testing.T, pattern, arn string) {
		if len(pattern) > patternMax || len(arn) > patternMax {
			return
		}
		if matchARN(pattern, arn) && pattern != "*" && strings.Count(arn, ":") >= 5 && !strings.ContainsAny(pattern, "*?") && pattern != arn {
			t.Errorf("%q without wildcards matches %q", pattern, arn)
		}
		if !strings.ContainsAny(arn, "*?") && !matchARN(arn, arn) {
			t.Errorf("%q does not match itself", arn)
		}
		if a := arnAccount(arn); a != "" && !strings.ContainsAny(a, "*?") && matchARN("arn:*:*:*:"+a+"x:*", arn) {
			t.Errorf("%q matches another account", arn)
		}
	})
}

// TestAConditionOnAMappedAddressIsOnTheIPv4One writes an address as sockets show it.
func TestAConditionOnAMappedAddressIsOnTheIPv4One(t *testing.T) {
	for _, c := range []struct {
		cidr, from string
		holds      bool
	}{
		{"::ffff:192.0.2.0/120", "192.0.2.9", true},
		{"::ffff:192.0.2.0/120", "::ffff:192.0.2.9", true},
		{"::ffff:192.0.2.0/120", "192.0.3.9", false},
		{"::ffff:192.0.2.9", "192.0.2.9", true},
		{"192.0.2.0/24", "[::ffff:192.0.2.9]:443", true},
		{"fe80::1%eth0", "[fe80::1%eth1]:443", true},
		{"::/0", "192.0.2.9", false},
	} {
		p, err := parsePolicy("test", []byte(`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
			{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"`+c.cidr+`"}}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		var d Decision
		d.decide([]*Policy{p}, GetMedia, frontDoor, &Context{SourceIP: c.from})
		if d.Allowed == c.holds {
			t.Errorf("a Deny of %s, from %s: %+v", c.cidr, c.from, d)
		}
	}
}
