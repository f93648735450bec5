package web

import (
	"net/http"
	"testing"

	"penstock/auth"
	"penstock/streams"
)

func TestARetentionIsChangedOnPurposeOnly(t *testing.T) {
	s := newSite(t)
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin})
	if rec := s.send("POST", "/v1/streams", admin, `{"name":"gate","retention":"3650d"}`); rec.Code != http.StatusCreated {
		t.Fatal(rec.Body)
	}
	for _, body := range []string{`{"retention":""}`, `{"retention":"59m"}`, `{"retention":"87601h"}`, `{"retention":"-1h"}`, `{"retention":"never"}`} {
		if rec := s.send("PATCH", "/v1/streams/gate", admin, body); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
	for _, body := range []string{`{}`, `{"retention":null}`, `{"tags":{"a":"b"}}`} {
		if rec := s.send("PATCH", "/v1/streams/gate", admin, body); rec.Code != http.StatusOK {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
	st, err := s.server.c.Catalogue.Get("000000000000", "gate")
	if err != nil || st.Retention != streams.RetentionMax {
		t.Errorf("kept for %v, %v; want ten years", st.Retention, err)
	}
}
