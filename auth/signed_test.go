package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"penstock/internal/fault"
)

func TestRequestsSignedByTheSDK(t *testing.T) {
	r := newRig(t)
	k, _ := r.key(NewKey{Role: RoleProducer})
	body := []byte(`{"StreamName":"cam"}`)
	sum := sha256.Sum256(body)
	sign := func(service string, c aws.Credentials, at time.Time) *http.Request {
		req, err := http.NewRequest("POST", "http://penstock.local:8080/describeStream?b=2&a=1+x%2F", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if err := v4.NewSigner().SignHTTP(context.Background(), c, req, hex.EncodeToString(sum[:]), service, "eu-north-9", at); err != nil {
			t.Fatal(err)
		}
		return req
	}
	good := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal(), SessionToken: "a session token"}
	for _, service := range Services() {
		p, err := r.a.Signed(t.Context(), sign(service, good, r.clock.Now()), body, remote)
		if err != nil || p.ID != k.ID || p.Via != "sigv4" {
			t.Errorf("%s: %+v %v", service, p, err)
		}
	}
	wrongSecret, wrongKey := good, good
	wrongSecret.SecretAccessKey += "x"
	wrongKey.AccessKeyID = "PSAKAAAAAAAAAAAAAAAA"
	for name, req := range map[string]*http.Request{
		"wrong secret":  sign("kinesis", wrongSecret, r.clock.Now()),
		"unknown key":   sign("kinesis", wrongKey, r.clock.Now()),
		"other service": sign("s3", good, r.clock.Now()),
		"old":           sign("kinesis", good, r.clock.Now().Add(-6*time.Minute)),
	} {
		if _, err := r.a.Signed(t.Context(), req, body, remote); !fault.Is(err, fault.Unauthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.a.Signed(t.Context(), sign("kinesis", good, r.clock.Now()), []byte("another body"), remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("another body: %v", err)
	}
	if err := r.a.RemoveKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.Signed(t.Context(), sign("kinesis", good, r.clock.Now()), body, remote); !fault.Is(err, fault.Unauthentic) {
		t.Errorf("removed: %v", err)
	}
}
