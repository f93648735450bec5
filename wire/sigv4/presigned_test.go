package sigv4

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
)

// presigned makes a request with a URL that was signed for its host alone and any body.
func presigned(t *testing.T, seconds int, now time.Time) *http.Request {
	t.Helper()
	scope := "AKID/" + now.Format("20060102") + "/us-east-1/kinesis/aws4_request"
	url := "http://penstock.test/v1/data/gate?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + strings.ReplaceAll(scope, "/", "%2F") +
		"&X-Amz-Date=" + now.Format(timeFormat) + "&X-Amz-Expires=" + strconv.Itoa(seconds) + "&X-Amz-SignedHeaders=host"
	s, err := Parse(httptest.NewRequest(http.MethodPost, url+"&X-Amz-Signature="+strings.Repeat("0", 64), nil))
	if err != nil {
		t.Fatal(err)
	}
	var signature [64]byte
	s.sign(s.Key("secret"), Unsigned, &signature)
	return httptest.NewRequest(http.MethodPost, url+"&X-Amz-Signature="+string(signature[:]), strings.NewReader("{}"))
}

func TestAPresignedURLEndsWhenItSays(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, c := range []struct {
		expires, after int
		ok             bool
	}{{20, 0, true}, {20, 20, true}, {20, 21, false}, {20, 299, false}, {3600, 3600, true}, {3600, 3601, false}, {604800, 604800, true}} {
		s, err := Parse(presigned(t, c.expires, now))
		if err != nil {
			t.Fatal(err)
		}
		err = s.Verify("secret", s.Payload([]byte("{}")), now.Add(time.Duration(c.after)*time.Second))
		if (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Unauthentic) {
			t.Errorf("%d s after it was signed for %d: %v", c.after, c.expires, err)
		}
	}
}

// TestAPresignedURLIsNoOtherOperation adds the header that makes an AWS operation of a
// URL that was given away to put records with.
func TestAPresignedURLIsNoOtherOperation(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	r := presigned(t, 3600, now)
	if _, err := Parse(r); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream")
	if s, err := Parse(r); !fault.Is(err, fault.Invalid) {
		t.Errorf("with a target that nobody signed: %+v, %v", s, err)
	}
}
