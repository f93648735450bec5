package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWhatIsForTheAWSAPIs(t *testing.T) {
	for _, c := range []struct {
		method, path, header, value string
		want                        bool
	}{
		{http.MethodGet, "/", "", "", false},
		{http.MethodHead, "/", "", "", false},
		{http.MethodGet, "/", "Authorization", "Bearer x", false},
		{http.MethodGet, "/", "Authorization", "AWS4-HMAC-SHA256 Credential=x", true},
		{http.MethodGet, "/", "X-Amz-Target", "Kinesis_20131202.ListStreams", true},
		{http.MethodPost, "/", "", "", true},
		{http.MethodPut, "/", "", "", true},
		{http.MethodOptions, "/", "Origin", "http://example.org", true},
		{http.MethodPost, "/v1/streams", "Authorization", "AWS4-HMAC-SHA256 Credential=x", false},
		{http.MethodPost, "/anywhere", "X-Amz-Target", "Kinesis_20131202.ListStreams", true},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		if got := toAWS(r); got != c.want {
			t.Errorf("%s %s with %s %s: %v", c.method, c.path, c.header, c.value, got)
		}
	}
}
