package sigv4

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
)

func TestWhatIsSignedVerifies(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	body := `{"StreamName":"cams"}`
	send := func() *http.Request {
		r, err := http.NewRequest(http.MethodPost, "https://kinesis.example:4568/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "Kinesis_20131202.ListShards")
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		(&Signer{AccessKey: "AKID", Secret: "secret", Token: "session", Region: "eu-north-1", Service: "kinesis"}).Sign(r, []byte(body), now)
		return r
	}
	r := send()
	s, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if s.AccessKey != "AKID" || s.Region != "eu-north-1" || s.Service != "kinesis" || s.Token != "session" {
		t.Errorf("read %+v", s)
	}
	if err := s.Verify("secret", s.Payload([]byte(body)), now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*http.Request){
		"target": func(r *http.Request) { r.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream") },
		"host":   func(r *http.Request) { r.Host = "other" },
		"token":  func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "other") },
	} {
		r := send()
		change(r)
		s, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify("secret", s.Payload([]byte(body)), now); !fault.Is(err, fault.Unauthentic) {
			t.Errorf("a changed %s is not noticed: %v", name, err)
		}
	}
}

func TestTheAuthorityIsSignedLikeTheHost(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for host, want := range map[string]bool{"kinesis.example:4568": true, "other": false} {
		r, err := http.NewRequest(http.MethodPost, "http://kinesis.example:4568/", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		(&Signer{AccessKey: "AKID", Secret: "secret", Region: "eu-north-1", Service: "kinesis", Authority: true}).Sign(r, []byte("{}"), now)
		if signed := r.Header.Get("Authorization"); !strings.Contains(signed, "SignedHeaders=:authority;content-type;x-amz-date,") {
			t.Fatal(signed)
		}
		r.Host = host
		s, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify("secret", s.Payload([]byte("{}")), now); (err == nil) != want {
			t.Errorf("from %s: %v", host, err)
		}
	}
}
