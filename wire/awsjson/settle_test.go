package awsjson

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAStreamBeginsWhenItsRequestIsOver lets a client over HTTP/1.1 finish with its body
// first, and holds up none over HTTP/2, nor one that has left.
func TestAStreamBeginsWhenItsRequestIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		major int
		leave bool
		want  time.Duration
	}{
		"HTTP/1.1": {1, false, settle},
		"HTTP/2":   {2, false, 0},
		"who left": {1, true, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if c.leave {
				leave()
			}
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}")).WithContext(ctx)
			r.ProtoMajor = c.major
			r.Header = http.Header{"X-Amz-Target": {"Toy_20260101.Watch"}, "Content-Type": {TypeJSON}, "X-Amz-Date": {"d"}, "Authorization": {"A Credential=a,Signature=b,SignedHeaders=c"}}
			began := time.Now()
			w := httptest.NewRecorder()
			toyServer(t, func(*Config) {}).ServeHTTP(w, r)
			if took := time.Since(began); took != c.want {
				t.Errorf("%s: began after %v, want %v", name, took, c.want)
			}
			if sent := w.Body.Len() > 0; sent == c.leave {
				t.Errorf("%s: an answer was sent: %v", name, sent)
			}
		})
	}
}
