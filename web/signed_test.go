package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"penstock/auth"
)

func TestTheNativeAPITakesAWSSignatures(t *testing.T) {
	site := newSite(t)
	issued, err := site.server.c.Auth.CreateKey(t.Context(), auth.NewKey{Role: auth.RoleOperator})
	check(t, err)
	sign := func(r *http.Request, body []byte) *http.Request {
		sum := sha256.Sum256(body)
		check(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: issued.ID, SecretAccessKey: issued.Secret.Reveal()},
			r, hex.EncodeToString(sum[:]), "kinesisvideo", "eu-central-1", time.Now()))
		return r
	}
	ask := func(r *http.Request) int {
		rec := httptest.NewRecorder()
		site.server.ServeHTTP(rec, r)
		return rec.Code
	}
	body := []byte(`{"name":"signed"}`)
	if got := ask(sign(httptest.NewRequest(http.MethodPost, "http://penstock.test/v1/streams", bytes.NewReader(body)), body)); got != http.StatusCreated {
		t.Errorf("a signed request is answered %d", got)
	}
	other := sign(httptest.NewRequest(http.MethodPost, "http://penstock.test/v1/streams", bytes.NewReader(body)), body)
	other.Body = http.NoBody
	if got := ask(other); got != http.StatusUnauthorized {
		t.Errorf("with another body: %d", got)
	}
	if got := ask(sign(httptest.NewRequest(http.MethodGet, "http://penstock.test/v1/keys", nil), nil)); got != http.StatusForbidden {
		t.Errorf("what its role may not: %d", got)
	}
	large := bytes.Repeat([]byte("x"), maxBody+1)
	if got := ask(sign(httptest.NewRequest(http.MethodPost, "http://penstock.test/v1/streams", bytes.NewReader(large)), large)); got != http.StatusBadRequest {
		t.Errorf("with a body past the bound: %d", got)
	}
	url, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: issued.ID, SecretAccessKey: issued.Secret.Reveal()},
		httptest.NewRequest(http.MethodGet, "http://penstock.test/v1/streams/signed?X-Amz-Expires=60", nil), "UNSIGNED-PAYLOAD", "kinesisvideo", "us-east-1", time.Now())
	check(t, err)
	if got := ask(httptest.NewRequest(http.MethodGet, url, nil)); got != http.StatusOK {
		t.Errorf("a presigned URL is answered %d", got)
	}
}
