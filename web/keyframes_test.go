package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/auth"
	"penstock/internal/camsim"
	"penstock/streams"
)

func TestTheKeyFrameIntervalOfACameraIsSet(t *testing.T) {
	site := newSite(t)
	d := &camsim.Device{}
	device := httptest.NewServer(d)
	defer device.Close()
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer locked.Close()
	site.create(auth.DefaultAccount, "pushed")
	_, err := site.server.c.Catalogue.Create(t.Context(), streams.Stream{Account: auth.DefaultAccount, Name: "front", Retention: time.Hour,
		Source: &streams.Source{URL: "rtsp://127.0.0.1:554/cam0", Transport: streams.Auto}})
	check(t, err)
	operator := site.key(auth.NewKey{Role: auth.RoleOperator})
	for _, c := range []struct {
		path, body string
		status     int
		want       string
		gov        int
	}{
		{"/v1/streams/front/key-interval", `{"seconds":2,"device":"%s/onvif/device_service"}`, 200, `"after":{"profile":"main","frames":50,"fps":25,"seconds":2}`, 50},
		{"/v1/streams/front/key-interval", `{"seconds":60,"device":"%s/onvif/device_service"}`, 400, "not between", 50},
		{"/v1/streams/front/key-interval", `{"seconds":1,"profile":"sub","device":"%s/onvif/device_service"}`, 404, "no such profile", 50},
		{"/v1/streams/front/key-interval", `{"seconds":1,"device":"http://192.0.2.1/onvif/device_service"}`, 400, "own host", 50},
		{"/v1/streams/front/key-interval", `{"seconds":1,"device":"` + locked.URL + `"}`, 503, "refuses user or password", 50},
		{"/v1/streams/pushed/key-interval", `{"seconds":1}`, 400, "pushed here", 50},
		{"/v1/probe/key-interval", `{"url":"rtsp://127.0.0.1/cam0","username":"u","password":"p","seconds":1,"device":"%s/onvif/device_service"}`, 200, `"before":{"profile":"main","frames":50,`, 25},
		{"/v1/probe/key-interval", `{"url":"http://x","seconds":1}`, 400, "rtsp://", 25},
	} {
		body := c.body
		if strings.Contains(body, "%s") {
			body = fmt.Sprintf(body, device.URL)
		}
		rec := site.send("POST", c.path, operator, body)
		if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.path, body, rec.Code, rec.Body, c.status, c.want)
		}
		if d.GOV() != c.gov {
			t.Errorf("%s %s: %d frames, want %d", c.path, body, d.GOV(), c.gov)
		}
	}
	viewer := site.key(auth.NewKey{Role: auth.RoleViewer})
	if rec := site.send("POST", "/v1/streams/front/key-interval", viewer, `{"seconds":2}`); rec.Code != http.StatusForbidden {
		t.Errorf("a viewer: %d", rec.Code)
	}
}

// TestTheAuditLogHasNoAddressWithAPassword asks about a camera whose path has one, as some do.
func TestTheAuditLogHasNoAddressWithAPassword(t *testing.T) {
	lines := &trail{}
	site := newSite(t, func(c *auth.Config) { c.Audit = lines })
	admin := site.key(auth.NewKey{Role: auth.RoleAdmin})
	lines.take()
	rec := site.send("POST", "/v1/probe/key-interval", admin, `{"url":"rtsp://me:hush@192.0.2.7/user=me_password=hush?pw=hush","seconds":2,"device":"http://192.0.2.9/"}`)
	if rec.Code != http.StatusBadRequest {
		t.Fatal(rec.Code, rec.Body)
	}
	if got := lines.take(); len(got) != 1 || got[0] != "fail penstock:SetCamera 192.0.2.7:554" {
		t.Errorf("the log says %q", got)
	}
}
