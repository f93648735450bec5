package auth

import (
	"testing"

	"penstock/internal/fault"
)

func TestResourcePoliciesThatAreRefused(t *testing.T) {
	for name, doc := range map[string]string{
		"no JSON":             `allow`,
		"no principal":        `{"Statement":{"Effect":"Allow","Action":"kinesis:*","Resource":"*"}}`,
		"not principal":       `{"Statement":{"Effect":"Allow","NotPrincipal":"*","Action":"kinesis:*","Resource":"*"}}`,
		"a service":           `{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"kinesis:*","Resource":"*"}}`,
		"half an account":     `{"Statement":{"Effect":"Allow","Principal":{"AWS":"12345"},"Action":"kinesis:*","Resource":"*"}}`,
		"nobody":              `{"Statement":{"Effect":"Allow","Principal":{"AWS":[]},"Action":"kinesis:*","Resource":"*"}}`,
		"a word":              `{"Statement":{"Effect":"Allow","Principal":"all","Action":"kinesis:*","Resource":"*"}}`,
		"a variable":          `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kinesis:*","Resource":"arn:aws:kinesis:*:*:stream/${aws:username}"}}`,
		"an unknown operator": `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kinesis:*","Resource":"*","Condition":{"ArnLike":{"a":"b"}}}}`,
		"more behind it":      `{} {}`,
		"null":                `null`,
		"a list":              ` []`,
		"a string":            `"x"`,
		"a number":            `1`,
		"nothing":             ``,
		"another version":     `{"Version":"2020-01-01"}`,
	} {
		if _, err := ParseResourcePolicy("p", []byte(doc)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := ParseResourcePolicy("p", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	k, err := r.a.CreateKey(t.Context(), NewKey{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	who, err := r.a.Bearer(t.Context(), k.Token.Reveal(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.a.AuthorizeShared(who, DataPutRecord, "arn:aws:kinesis:us-east-1:"+who.Account+":stream/s", p, Context{}); !fault.Is(err, fault.Denied) {
		t.Errorf("a policy without statements: %v", err)
	}
}

func FuzzParseResourcePolicy(f *testing.F) {
	for _, seed := range []string{`{}`, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kinesis:*","Resource":"*"}}`,
		`{"Statement":[{"Effect":"Deny","Principal":{"AWS":["000000000000"]},"Action":["a:b"],"Resource":["*"],"Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := ParseResourcePolicy("p", doc)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		nobody, c := Principal{}, Context{}
		d := Decision{}
		p.join(&d, &nobody, DataPutRecord, "arn:aws:kinesis:us-east-1:000000000000:stream/s", &c)
	})
}
