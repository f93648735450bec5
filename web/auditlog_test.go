package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/internal/host"
)

// logged is a site with an audit log on the disk. written stops its writer and returns when
// all lines are there.
func logged(t *testing.T) (s *site, written func()) {
	dir := filepath.Join(t.TempDir(), "server")
	log, err := audit.Open(t.Context(), audit.Config{Dir: dir})
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	s = newSite(t, func(c *auth.Config) { c.Audit = log })
	s.server.c.Audit = &audit.Reader{FS: host.OS{}, Sources: []audit.Source{{Name: "server", Dir: dir}}}
	written = func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(func() {
		written()
		check(t, log.Close())
	})
	return s, written
}

// audited asks for a page.
func (s *site) audited(token, query string) (page auditView) {
	s.t.Helper()
	rec := s.send("GET", "/v1/audit"+query, token, "")
	if rec.Code != http.StatusOK {
		s.t.Fatalf("%s: %d %s", query, rec.Code, rec.Body)
	}
	check(s.t, json.Unmarshal(rec.Body.Bytes(), &page))
	return page
}

func TestTheAuditLogIsShownToThoseWhoMay(t *testing.T) {
	const other = "111111111111"
	s, written := logged(t)
	admin, theirs := s.key(auth.NewKey{Role: auth.RoleAdmin, Name: "boss"}), s.key(auth.NewKey{Account: other, Role: auth.RoleAdmin, Name: "neighbour"})
	narrow := s.key(auth.NewKey{Role: auth.RoleAdmin, Streams: []string{"gate"}})
	policy := s.key(auth.NewKey{Role: auth.RoleCustom, Policy: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"penstock:ReadAudit","Resource":"*"}}`)})
	for _, st := range []struct{ token, name string }{{admin, "gate"}, {theirs, "cellar"}} {
		if rec := s.send("POST", "/v1/streams", st.token, `{"name":"`+st.name+`"}`); rec.Code != http.StatusCreated {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	hostile := `"><script>alert(1)</script>` + "\u2028\n"
	s.send("GET", "/v1/streams/"+url.PathEscape(hostile), "", "")
	written()

	page := s.audited(admin, "?limit=1000")
	actions := map[string]int{}
	for _, e := range page.Entries {
		actions[e.Action]++
		if e.Account == other || strings.Contains(fmt.Sprint(e), "neighbour") || strings.Contains(fmt.Sprint(e), "cellar") {
			t.Errorf("the neighbour's line is shown: %+v", e)
		}
		if e.Log != "server" || e.Time.IsZero() || len(e.Hash) != 64 || e.Seq == 0 {
			t.Errorf("got %+v", e)
		}
	}
	if actions["kinesisvideo:CreateStream"] != 1 || actions["penstock:CreateKey"] != 3 || actions["kinesisvideo:DescribeStream"] != 1 {
		t.Errorf("actions %v", actions)
	}
	if page := s.audited(admin, "?object=SCRIPT&decision=deny"); len(page.Entries) != 1 || page.Entries[0].Object != hostile || page.Entries[0].Principal != "anonymous" {
		t.Errorf("the stranger's attempt: %+v", page)
	}
	for _, e := range s.audited(theirs, "?limit=1000").Entries {
		if e.Account != other {
			t.Errorf("the neighbour is shown %+v", e)
		}
	}
	if page := s.audited(theirs, "?action=createstream"); len(page.Entries) != 1 || !strings.Contains(page.Entries[0].Object, "cellar") {
		t.Errorf("the neighbour's own: %+v", page)
	}
	if page := s.audited(policy, "?principal=BOSS&action=kinesisvideo:&limit=1"); len(page.Entries) != 1 || !strings.Contains(page.Entries[0].Object, "gate") {
		t.Errorf("one allowed to read the log alone: %+v", page)
	}
	if rec := s.send("GET", "/v1/audit", narrow, ""); rec.Code != http.StatusForbidden {
		t.Errorf("an admin of one stream: %d %s", rec.Code, rec.Body)
	}
	for _, bad := range []string{"?limit=0", "?limit=x", "?start=soon", "?decision=maybe", "?next=server.x.1", "?object=" + strings.Repeat("x", 300)} {
		if rec := s.send("GET", "/v1/audit"+bad, admin, ""); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, rec.Code)
		}
	}
}

func TestReadingTheAuditLogDoesNotFillIt(t *testing.T) {
	lines, clock := &trail{}, &leaper{}
	s := newSite(t, func(c *auth.Config) { c.Audit, c.Clock = lines, clock })
	s.server.c.Audit = &audit.Reader{FS: host.OS{}, Sources: []audit.Source{{Name: "server", Dir: t.TempDir()}}}
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin})
	lines.take()
	for range 500 {
		s.audited(admin, "?start=-1h")
		clock.ahead.Add(int64(time.Second))
	}
	if got := lines.take(); len(got) != 1 || !strings.HasPrefix(got[0], "allow penstock:ReadAudit") {
		t.Errorf("500 reads in 500 seconds left %q", got)
	}
}

func TestPagesOfTheAuditLogFollowEachOther(t *testing.T) {
	s, written := logged(t)
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin})
	for i := range 25 {
		s.send("POST", "/v1/streams", admin, fmt.Sprintf(`{"name":"cam-%d"}`, i))
	}
	written()
	var got []string
	for next, pages := "", 0; pages < 20; pages++ {
		page := s.audited(admin, "?action=CreateStream&limit=10&next="+url.QueryEscape(next))
		for _, e := range page.Entries {
			got = append(got, e.Object)
		}
		if next = page.Next; next == "" {
			break
		}
	}
	if len(got) != 25 || !strings.Contains(got[0], "cam-24/") || !strings.Contains(got[24], "cam-0/") {
		t.Errorf("got %q", got)
	}
}
