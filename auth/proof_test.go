package auth

import (
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

// TestVouchKnowsWhoHasProved asks before there is a body: an id that exists is no proof, a
// good signature over a declared hash is, and so is having signed from there lately.
func TestVouchKnowsWhoHasProved(t *testing.T) {
	r := newRig(t)
	k, _ := r.key(NewKey{Role: RoleProducer})
	good := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal()}
	wrong := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: "not it"}
	nobody := aws.Credentials{AccessKeyID: "PSAKAAAAAAAAAAAAAAAA", SecretAccessKey: "x"}
	body := []byte("{}")
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	sign := func(c aws.Credentials, declared, signed string, presigned bool) *http.Request {
		t.Helper()
		req, err := http.NewRequest("POST", "http://penstock.local:8080/?X-Amz-Expires=60", nil)
		if err != nil {
			t.Fatal(err)
		}
		if declared != "" {
			req.Header.Set("X-Amz-Content-Sha256", declared)
		}
		if presigned {
			uri, _, err := v4.NewSigner().PresignHTTP(context.Background(), c, req, signed, "kinesis", "eu-north-9", r.clock.Now())
			if err != nil {
				t.Fatal(err)
			}
			req, _ = http.NewRequest("POST", uri, nil)
			return req
		}
		if err := v4.NewSigner().SignHTTP(context.Background(), c, req, signed, "kinesis", "eu-north-9", r.clock.Now()); err != nil {
			t.Fatal(err)
		}
		return req
	}
	vouch := func(what string, req *http.Request, from string, proved, refused bool) {
		t.Helper()
		got, err := r.a.Vouch(t.Context(), req, from)
		if got != proved || refused != fault.Is(err, fault.Unauthentic) || !refused && err != nil {
			t.Errorf("%s: proved %v, %v; want %v, refused %v", what, got, err, proved, refused)
		}
	}
	const here, there = "198.51.100.1:5", "198.51.100.2:5"
	vouch("nobody", sign(nobody, "", hash, false), here, false, true)
	vouch("an id", sign(wrong, "", hash, false), here, false, false)
	vouch("an id with a hash", sign(wrong, hash, hash, false), here, false, true)
	vouch("an id with no hash", sign(wrong, "UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOAD", false), here, false, true)
	vouch("a secret without a hash", sign(good, "", hash, false), here, false, false)
	vouch("a secret with a hash", sign(good, hash, hash, false), here, true, false)
	vouch("a secret with no hash", sign(good, "UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOAD", false), here, true, false)
	vouch("a URL", sign(good, "", "UNSIGNED-PAYLOAD", true), here, true, false)
	vouch("a URL with a body", sign(good, "", hash, true), here, false, false)
	vouch("a forged URL", sign(wrong, "", "UNSIGNED-PAYLOAD", true), here, false, false)
	forged := sign(wrong, "", "UNSIGNED-PAYLOAD", true)
	forged.Header.Set("X-Amz-Content-Sha256", hash)
	vouch("a forged URL with a hash", forged, here, false, false)
	old := sign(good, hash, hash, false)
	r.clock.Add(6 * time.Minute)
	vouch("an old request", old, here, false, true)

	// To be refused proves nothing, to be let in does: for that address, and an hour.
	if _, err := r.a.Signed(t.Context(), sign(wrong, "", hash, false), body, here); !fault.Is(err, fault.Unauthentic) {
		t.Fatal(err)
	}
	vouch("after a refusal", sign(wrong, "", hash, false), here, false, false)
	if _, err := r.a.Signed(t.Context(), sign(good, "", hash, false), body, here); err != nil {
		t.Fatal(err)
	}
	vouch("from where the key is used", sign(good, "", hash, false), "198.51.100.1:9", true, false)
	vouch("from elsewhere", sign(good, "", hash, false), there, false, false)
	r.clock.Add(proofLife)
	vouch("an hour later", sign(good, "", hash, false), here, false, false)
	if _, err := r.a.Signed(t.Context(), sign(good, "", hash, false), body, here); err != nil {
		t.Fatal(err)
	}
	if err := r.a.RemoveKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	vouch("a removed key", sign(good, "", hash, false), here, false, true)
}
