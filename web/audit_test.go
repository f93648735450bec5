package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/auth"
)

// trail keeps audit lines for a test to read.
type trail struct {
	mu   sync.Mutex
	list []auth.AuditEvent
}

// Record keeps e.
func (t *trail) Record(_ context.Context, e auth.AuditEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, e)
}

// take returns what was recorded since the last take, as "decision action object".
func (t *trail) take() (lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.list {
		lines = append(lines, e.Decision+" "+e.Action+" "+e.Object)
	}
	t.list = nil
	return lines
}

// leaper is the machine's clock, moved on by hand.
type leaper struct{ ahead atomic.Int64 }

// Now is the machine's time and what it was moved on by.
func (l *leaper) Now() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) }

// NewTimer is the machine's.
func (l *leaper) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

func (s *site) send(method, path, token, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	s.server.ServeHTTP(rec, req)
	return rec
}

// TestEveryChangeIsAudited goes through the table: a row that changes something and
// leaves no line about it fails.
func TestEveryChangeIsAudited(t *testing.T) {
	lines, clock := &trail{}, &leaper{}
	site := newSite(t, func(c *auth.Config) { c.Audit, c.Clock = lines, clock })
	front := site.create(auth.DefaultAccount, "front")
	admin, viewer := site.key(auth.NewKey{Role: auth.RoleAdmin}), site.key(auth.NewKey{Role: auth.RoleViewer, Streams: []string{"back"}})
	lines.take()
	in := *site.server
	in.c.Clock = clock
	in.mux = in.mount(inert(table()))
	for _, rt := range table() {
		if rt.On == toNobody {
			continue
		}
		path := strings.NewReplacer("{name}", front.Name, "{id}", "x", "{file}", "1.mp4", "{profile}", "heap").Replace(rt.Path)
		for _, token := range []string{"", admin, viewer} {
			req := httptest.NewRequest(rt.Method, path, strings.NewReader(`{"name":"made"}`))
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			rec := httptest.NewRecorder()
			in.ServeHTTP(rec, req)
			clock.ahead.Add(int64(auth.ViewEvery)) // rows share actions: none is hidden behind another's line
			got := lines.take()
			refused := rec.Code == http.StatusUnauthorized || rec.Code == http.StatusForbidden || rec.Code == http.StatusNotFound
			switch {
			case refused && !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "deny ") }):
				t.Errorf("%s %s refused with %d left %q", rt.Method, rt.Path, rec.Code, got)
			case !refused && (rt.Method != http.MethodGet || showing(rt) || rt.Path == socketPath) && len(got) == 0:
				t.Errorf("%s %s answered %d and left no line", rt.Method, rt.Path, rec.Code)
			}
		}
	}
}

func TestTheAuditLineNamesWhoAndWhat(t *testing.T) {
	lines := &trail{}
	site := newSite(t, func(c *auth.Config) { c.Audit = lines })
	admin := site.key(auth.NewKey{Role: auth.RoleAdmin, Name: "boss"})
	lines.take()
	if rec := site.send("POST", "/v1/streams", admin, `{"name":"gate"}`); rec.Code != http.StatusCreated {
		t.Fatal(rec.Code, rec.Body)
	}
	st, err := site.server.c.Catalogue.Get(auth.DefaultAccount, "gate")
	check(t, err)
	lines.mu.Lock()
	e := lines.list[0]
	lines.mu.Unlock()
	if e.Action != "kinesisvideo:CreateStream" || e.Object != st.ARN() || e.Decision != "allow" || e.Remote != "192.0.2.1" ||
		e.Principal != "arn:aws:iam::000000000000:user/boss" || !strings.Contains(e.Detail, "PSAK") {
		t.Errorf("got %+v", e)
	}
	lines.take()
	for _, step := range []struct{ method, path, body, want string }{
		{"PATCH", "/v1/streams/gate", `{"retention":"2h"}`, "allow kinesisvideo:UpdateStream " + st.ARN()},
		{"PATCH", "/v1/streams/gate", `{"retention":"never"}`, "fail kinesisvideo:UpdateStream " + st.ARN()},
		{"POST", "/v1/streams/gate/token", `{"ttl":"1m"}`, "allow kinesisvideo:GetMedia " + st.ARN()},
		{"GET", "/v1/streams/gate/live.m3u8", "", "allow kinesisvideo:GetHLSStreamingSessionURL " + st.ARN()},
		{"DELETE", "/v1/keys/PSAKNOSUCHKEY", "", "deny penstock:ManageKeys PSAKNOSUCHKEY"},
		{"DELETE", "/v1/streams/gate", "", "allow kinesisvideo:DeleteStream " + st.ARN()},
		{"GET", "/v1/streams/gate", "", "deny kinesisvideo:DescribeStream gate"},
	} {
		if step.path == "/v1/streams/gate/live.m3u8" {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // nothing is live: the playlist would be waited for
			req := httptest.NewRequestWithContext(ctx, step.method, step.path, nil)
			req.Header.Set("Authorization", "Bearer "+admin)
			site.server.ServeHTTP(httptest.NewRecorder(), req)
		} else {
			site.send(step.method, step.path, admin, step.body)
		}
		if got := lines.take(); !slices.Contains(got, step.want) {
			t.Errorf("%s %s left %q, want %q", step.method, step.path, got, step.want)
		}
	}
}

func TestPlayingByManyRequestsIsOneLine(t *testing.T) {
	lines := &trail{}
	site := newSite(t, func(c *auth.Config) { c.Audit = lines })
	site.create(auth.DefaultAccount, "front")
	viewer := site.key(auth.NewKey{Role: auth.RoleViewer})
	lines.take()
	for i := range 50 {
		site.send("GET", fmt.Sprintf("/v1/streams/front/fragments/%d.mp4", i), viewer, "")
	}
	if got := lines.take(); len(got) != 1 {
		t.Errorf("50 fragments left %d lines: %q", len(got), got)
	}
	for range 50 {
		site.send("DELETE", "/v1/streams/front", viewer, "")
	}
	if got := lines.take(); len(got) != 1 || !strings.HasPrefix(got[0], "deny kinesisvideo:DeleteStream ") {
		t.Errorf("50 refusals left %q", got)
	}
}

func TestAViewByManyRequestsHasAStartAndAnEnd(t *testing.T) {
	var v views
	k := viewer{principal: "arn:someone", object: "arn:stream", remote: "192.0.2.1", action: auth.GetHLS}
	now := time.Unix(1_700_000_000, 0)
	var lines []string
	ask := func(k viewer) {
		begun, ended := v.watch(k, auth.Principal{}, now)
		for _, d := range []*auth.Deed{ended, begun} {
			if d != nil {
				lines = append(lines, d.Detail+" "+d.Remote)
			}
		}
	}
	other := k
	other.remote = "192.0.2.2"
	for range 10 {
		ask(k)
		now = now.Add(2 * time.Second)
	}
	ask(other)
	now = now.Add(viewSilence)
	ask(k) // comes back before anyone swept
	v.sweep(now.Add(-viewSilence), func(auth.Principal, auth.Deed) { t.Error("something ended too soon") })
	now = now.Add(viewSilence + time.Second)
	v.sweep(now.Add(-viewSilence), func(_ auth.Principal, d auth.Deed) { lines = append(lines, d.Detail+" "+d.Remote) })
	slices.Sort(lines[4:])
	want := []string{"start 192.0.2.1", "start 192.0.2.2", "stop after 18s 192.0.2.1", "start 192.0.2.1", "stop after 0s 192.0.2.1", "stop after 0s 192.0.2.2"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	if len(v.open) != 0 {
		t.Errorf("%d views are kept for ever", len(v.open))
	}
}

func TestAFloodOfViewersIsBounded(t *testing.T) {
	var v views
	for i := range viewsMax + 10 {
		begun, _ := v.watch(viewer{object: fmt.Sprint(i)}, auth.Principal{}, time.Unix(0, 0))
		if begun == nil || (i >= viewsMax) != (begun.Every == auth.ViewEvery) {
			t.Fatalf("viewer %d: %+v", i, begun)
		}
	}
	if len(v.open) != viewsMax {
		t.Errorf("%d views are remembered, at most %d are fine", len(v.open), viewsMax)
	}
}
