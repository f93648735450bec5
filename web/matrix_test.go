package web

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/auth"
	"penstock/streams"
)

// allowed says, in words of the test's own, which actions a role is for. A row of the
// table whose action is in no list fails the test: whoever adds one decides here.
func allowed(role string, action auth.Action) (yes, known bool) {
	watch := []auth.Action{auth.DescribeStream, auth.ListStreams, auth.ListFragments, auth.GetFragmentMedia, auth.GetClip, auth.GetImages, auth.GetHLS, auth.GetMedia}
	operate := []auth.Action{auth.CreateStream, auth.UpdateStream, auth.DeleteStream, auth.Probe, auth.Discover, auth.ReadSystem, auth.ReadMetrics}
	operate = append(operate, auth.DataDeleteStream, auth.DataSplitShard, auth.DataMergeShards, auth.DataUpdateShardCount, auth.Talk, auth.SetCamera)
	admin := []auth.Action{auth.ManageKeys, auth.ReadAudit}
	if action == auth.ListEvents || action == auth.PutEvent { // seen by who watches, said by who detects
		switch role {
		case auth.RoleViewer:
			return action == auth.ListEvents, true
		case auth.RoleProducer:
			return action == auth.PutEvent, true
		}
		return role != "", true
	}
	if action == auth.DataDescribeStream || action == auth.DataListStreams { // no media, but what there is
		switch role {
		case auth.RoleProducer:
			return action == auth.DataDescribeStream, true
		case auth.RoleViewer:
			return action == auth.DataListStreams, true
		}
		return role != "", true
	}
	if action == auth.DataPutRecords || action == auth.DataGetRecords || action == auth.DataCreateStream {
		switch role {
		case auth.RoleAdmin, auth.RoleOperator:
			return true, true
		case auth.RoleProducer: // makes what it puts into, and reads nothing
			return action != auth.DataGetRecords, true
		case auth.RoleWorker:
			return action != auth.DataCreateStream, true
		}
		return false, true
	}
	known = slices.Contains(watch, action) || slices.Contains(operate, action) || slices.Contains(admin, action) || action == auth.SetOwn
	switch role {
	case auth.RoleAdmin:
		return true, known
	case auth.RoleOperator:
		return !slices.Contains(admin, action), known
	case auth.RoleViewer:
		return slices.Contains(watch, action) || action == auth.SetOwn, known
	case auth.RoleWorker:
		return slices.Contains(watch, action), known
	case auth.RoleProducer:
		return action == auth.DescribeStream || action == auth.CreateStream, known
	}
	return false, known
}

// caller is one row of the matrix.
type caller struct {
	name   string
	role   string // what it may do to the stream "front"; "" nothing
	token  string
	status int // answered to everything that asks who calls; 0: by role
	// blind callers may not know of "front" at all: 404.
	blind bool
}

func TestAuthorizationMatrix(t *testing.T) {
	site := newSite(t)
	front := site.create(auth.DefaultAccount, "front")
	site.create(auth.DefaultAccount, "back")
	const other = "111111111111"
	callers := []caller{
		{name: "anonymous", status: http.StatusUnauthorized},
		{name: "nonsense", token: "pst_nonsense", status: http.StatusUnauthorized},
		{name: "other account", role: auth.RoleAdmin, token: site.key(auth.NewKey{Account: other, Role: auth.RoleAdmin}), blind: true},
		{name: "viewer of another camera", token: site.key(auth.NewKey{Role: auth.RoleViewer, Streams: []string{"back"}}), blind: true},
		{name: "expired", token: site.expired(), status: http.StatusUnauthorized},
		{name: "revoked", token: site.revoked(), status: http.StatusUnauthorized},
	}
	for _, role := range auth.Roles() {
		callers = append(callers, caller{name: role, role: role, token: site.key(auth.NewKey{Role: role})})
	}
	for _, rt := range table() {
		if rt.On == toNobody {
			continue
		}
		if _, known := allowed("", rt.Action); !known && rt.On != toSelf {
			t.Errorf("%s %s: action %q is in no row of this test", rt.Method, rt.Path, rt.Action)
		}
		for _, c := range callers {
			at := front
			if rt.Makes && c.name == "other account" {
				at.Name = "theirs"
			}
			got := site.ask(rt, at, c.token)
			if want, ok := expected(rt, c); !ok(got) {
				t.Errorf("%s asks %s %s: %d, want %s", c.name, rt.Method, rt.Path, got, want)
			}
		}
	}
}

// expected is what a caller must be answered.
func expected(rt route, c caller) (string, func(int) bool) {
	exactly := func(status int) (string, func(int) bool) {
		return http.StatusText(status), func(got int) bool { return got == status }
	}
	through := func(got int) bool {
		return got != http.StatusUnauthorized && got != http.StatusForbidden && got != http.StatusMethodNotAllowed
	}
	yes, _ := allowed(c.role, rt.Action)
	switch {
	case c.status != 0:
		return exactly(c.status)
	case rt.Makes && c.name == "other account": // it makes one of its own
		return "let in", through
	case (rt.On == toStream || rt.On == toData) && c.blind:
		return exactly(http.StatusNotFound)
	case rt.On == toSelf && rt.Path != "/v1/streams" && rt.Path != "/v1/data":
		return "let in", through
	case rt.On == toServer && c.name == "other account":
		return exactly(http.StatusForbidden)
	case c.name == "viewer of another camera":
		if rt.Action == auth.ListStreams || rt.Action == auth.DataListStreams {
			return "let in", through
		}
		return exactly(http.StatusForbidden)
	case !yes && (rt.On == toStream || rt.On == toData):
		return "403 or 404", func(got int) bool { return got == http.StatusForbidden || got == http.StatusNotFound }
	case !yes:
		return exactly(http.StatusForbidden)
	case rt.On == toStream || rt.On == toData:
		return "let in", func(got int) bool { return through(got) || got == http.StatusNotFound }
	}
	return "let in", through
}

// ask sends a request of the row about st without doing harm: bodies are refused as
// invalid only after the caller was let in.
func (s *site) ask(rt route, st streams.Stream, token string) int {
	path := strings.NewReplacer("{name}", st.Name, "{id}", "PSAKNOSUCHKEY", "{file}", "1.mp4", "{profile}", "heap").Replace(rt.Path)
	body := `{"no such member": 1}`
	if (rt.Path == "/v1/streams" || rt.Path == "/v1/data") && rt.Method == http.MethodPost {
		body = `{"name":"made-` + strings.ToLower(strings.Trim(token[:min(len(token), 10)], "_")) + `"}`
	}
	if rt.Method == http.MethodDelete && rt.On == toStream {
		path = strings.Replace(path, st.Name, st.Name, 1)
	}
	req := httptest.NewRequest(rt.Method, path, strings.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	site := *s.server
	site.mux = site.mount(inert(table()))
	site.ServeHTTP(rec, req)
	return rec.Code
}

// inert keeps rows that would change or wait from doing so: what is tested is who is
// let in. Creating asks auth inside its handler and stays as it is.
func inert(routes []route) []route {
	for i, rt := range routes {
		if (rt.Path == "/v1/streams" || rt.Path == "/v1/data") && rt.Method == http.MethodPost {
			continue
		}
		routes[i].Handle = func(c *call) error { c.w.WriteHeader(http.StatusOK); return nil }
	}
	return routes
}

func TestMediaTokensOpenOnlyTheirStream(t *testing.T) {
	site := newSite(t)
	front, back := site.create(auth.DefaultAccount, "front"), site.create(auth.DefaultAccount, "back")
	p, err := site.server.c.Auth.Bearer(t.Context(), site.key(auth.NewKey{Role: auth.RoleViewer}), "")
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := site.server.c.Auth.MintMedia(p, front.ARN(), time.Minute, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range table() {
		for _, st := range []streams.Stream{front, back} {
			path := strings.NewReplacer("{name}", st.Name, "{id}", "x", "{file}", "1.mp4", "{profile}", "heap").Replace(rt.Path)
			req := httptest.NewRequest(rt.Method, path+"?token="+token.Reveal(), nil)
			rec := httptest.NewRecorder()
			in := *site.server
			in.mux = in.mount(inert(table()))
			in.ServeHTTP(rec, req)
			open := rt.On == toNobody || (rt.Door == mediaDoor && st.Name == front.Name)
			if refused := rec.Code == http.StatusUnauthorized || rec.Code == http.StatusNotFound; open == refused && rt.Path != "/v1/session" {
				t.Errorf("%s %s of %s with a media token of front: %d", rt.Method, rt.Path, st.Name, rec.Code)
			}
		}
	}
}
