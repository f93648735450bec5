package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"penstock/auth"
	"penstock/fragments"
	"penstock/media"
	"penstock/streams"
	"penstock/streams/events"
)

// event sends a request and reads the event that answers it.
func (s *site) event(method, path, token, body string, want int) (e eventView) {
	s.t.Helper()
	rec := s.send(method, path, token, body)
	if rec.Code != want {
		s.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, rec.Code, rec.Body, want)
	}
	if want < 300 && rec.Code != http.StatusNoContent {
		check(s.t, json.Unmarshal(rec.Body.Bytes(), &e))
	}
	return e
}

func TestAnEventOverHTTP(t *testing.T) {
	s := newSite(t)
	front := s.create(auth.DefaultAccount, "front")
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin, Name: "boss"})
	const all = "/v1/streams/front/events"
	rec := s.send("POST", all, admin, `{"label":"<b>parcel</b>","start":"-10m","end":"-9m","before":"5s","keep":"30d","data":{"x":"</script>"}}`)
	if rec.Code != http.StatusCreated || strings.Contains(rec.Body.String(), "<") {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	shape := `^{"id":"[a-z2-7]{16}","stream":"front","kind":"mark","label":"\\u003cb\\u003eparcel\\u003c/b\\u003e","start":"\S+Z","end":"\S+Z","open":false,` +
		`"before":"5s","after":"10s","keep":"30d","kept_from":"\S+Z","kept_to":"\S+Z","kept_until":"\S+Z","by":"boss","data":{"x":"\\u003c/script\\u003e"}}\n$`
	if !regexp.MustCompile(shape).MatchString(rec.Body.String()) {
		t.Errorf("it looks so: %s", rec.Body)
	}
	var first eventView
	check(t, json.Unmarshal(rec.Body.Bytes(), &first))
	if at := rec.Header().Get("Location"); at != all+"/"+first.ID {
		t.Errorf("Location %s", at)
	}
	if k := s.server.c.Events.Keeps(front.ID); len(k) != 1 || !k[0].End.Equal(*first.KeptTo) {
		t.Errorf("the log is told to keep %+v", k)
	}
	open := s.event("POST", all, admin, `{"id":"rec","kind":"recording","open":true,"keep":"forever"}`, http.StatusCreated)
	if !open.Open || open.End != nil || open.KeptTo != nil || open.KeptUntil != nil || open.KeptFrom == nil || open.Keep != "forever" {
		t.Errorf("open: %+v", open)
	}
	if again := s.event("POST", all, admin, `{"id":"rec","kind":"recording","open":true,"keep":"forever"}`, http.StatusOK); !again.Start.Equal(open.Start) {
		t.Errorf("a second try made %+v", again)
	}
	ended := s.event("PATCH", all+"/rec", admin, `{"end":"now","label":"yard","keep":"1d","data":{"n":1}}`, http.StatusOK)
	if ended.Open || ended.End == nil || ended.KeptUntil == nil || ended.Label != "yard" || string(ended.Data) != `{"n":1}` {
		t.Errorf("ended: %+v", ended)
	}
	if got := s.event("GET", all+"/rec", admin, "", http.StatusOK); fmt.Sprint(got.Start, got.Label, got.Keep) != fmt.Sprint(ended.Start, "yard", "24h") {
		t.Errorf("read: %+v", got)
	}
	for body, want := range map[string]int{
		`{"kind":"A"}`: 400, `{"start":"soon"}`: 400, `{"before":"11m"}`: 400, `{"keep":"always"}`: 400, `{"data":[]}`: 400, `{"colour":"red"}`: 400,
		`{"open":true,"end":"now"}`: 400, `{"start":"-2h"}`: 410, `{"id":"rec"}`: 409, ``: 400, `[]`: 400, `{"label":"` + strings.Repeat("a", 65<<10) + `"}`: 400,
	} {
		s.event("POST", all, admin, body, want)
	}
	s.event("PATCH", all+"/rec", admin, `{"end":"now"}`, http.StatusConflict)
	s.event("PATCH", all+"/none", admin, `{}`, http.StatusNotFound)
	s.event("GET", all+"/none", admin, "", http.StatusNotFound)
	s.event("DELETE", all+"/rec", admin, "", http.StatusNoContent)
	s.event("DELETE", all+"/rec", admin, "", http.StatusNotFound)
	check(t, s.server.c.Events.Erase(t.Context(), front.ID))
	s.event("POST", all, admin, `{}`, http.StatusNotFound)
}

func TestEventsAreListedAndOnTheTimeline(t *testing.T) {
	s := newSite(t)
	front := s.create(auth.DefaultAccount, "front")
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin})
	for i := range 5 {
		s.event("POST", "/v1/streams/front/events", admin, fmt.Sprintf(`{"id":"e%d","kind":"k%d","start":"-%dm"}`, i, i%2, 50-i), http.StatusCreated)
	}
	ids := func(token, path string) string {
		t.Helper()
		var v struct {
			Events []eventView
			Next   string
			More   bool `json:"events_more"`
		}
		rec := s.send("GET", path, token, "")
		if rec.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
		check(t, json.Unmarshal(rec.Body.Bytes(), &v))
		var out []string
		for _, e := range v.Events {
			out = append(out, e.ID)
		}
		if v.Next != "" {
			out = append(out, "...")
			if rest := strings.Split(path, "&next=")[0]; !strings.Contains(path, "&next=") {
				more := s.send("GET", rest+"&next="+v.Next, token, "")
				check(t, json.Unmarshal(more.Body.Bytes(), &v))
				out = append(out, v.Events[0].ID)
			}
		}
		return strings.Join(out, " ")
	}
	const one = "/v1/streams/front"
	for path, want := range map[string]string{
		"/events":                             "e0 e1 e2 e3 e4",
		"/events?kind=k1":                     "e1 e3",
		"/events?limit=2&kind=":               "e0 e1 ... e2",
		"/events?order=asc&kind=k0":           "e0 e2 e4",
		"/events?order=desc":                  "e4 e3 e2 e1 e0",
		"/events?order=desc&limit=2":          "e4 e3 ... e2",
		"/events?order=desc&kind=k0&limit=2":  "e4 e2 ... e0",
		"/events?order=desc&end=-47m30s":      "e2 e1 e0",
		"/events?start=-48m30s&end=-46m30s":   "e2 e3",
		"/timeline?start=-48m30s&end=-46m30s": "e2 e3",
		"/timeline":                           "e0 e1 e2 e3 e4",
		"/timeline?events=false":              "",
	} {
		if got := ids(admin, one+path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"/events?limit=0", "/events?next=x", "/events?kind=K", "/events?order=newest", "/events?order=desc&next=x", "/events?start=-1m&end=-2m", "/events?start=x", "/timeline?events=x"} {
		if rec := s.send("GET", one+path, admin, ""); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
	// Who may see the timeline, and not what happened, sees none of it.
	blind := s.key(auth.NewKey{Role: auth.RoleCustom, Policy: []byte(`{"Statement":{"Effect":"Allow","Action":["kinesisvideo:ListFragments","kinesisvideo:DescribeStream"],"Resource":"*"}}`)})
	if got := ids(blind, one+"/timeline"); got != "" {
		t.Errorf("without the right: %s", got)
	}
	p, err := s.server.c.Auth.Bearer(t.Context(), admin, "")
	check(t, err)
	token, _, err := s.server.c.Auth.MintMedia(p, front.ARN(), time.Hour, time.Time{}, time.Time{})
	check(t, err)
	if got := ids("", one+"/timeline?token="+token.Reveal()); got != "" {
		t.Errorf("with a media token: %s", got)
	}
}

func TestWhoMayChangeWhoseEvents(t *testing.T) {
	s := newSite(t)
	s.create(auth.DefaultAccount, "front")
	keys := map[string]string{}
	for _, role := range []string{auth.RoleOperator, auth.RoleViewer, auth.RoleProducer, auth.RoleWorker} {
		keys[role] = s.key(auth.NewKey{Role: role, Name: role})
	}
	keys["worker of back"] = s.key(auth.NewKey{Role: auth.RoleWorker, Streams: []string{"back"}})
	keys["worker two"] = s.key(auth.NewKey{Role: auth.RoleWorker, Name: "two"})
	keys["no keeper"] = s.key(auth.NewKey{Role: auth.RoleCustom, Policy: []byte(`{"Statement":{"Effect":"Allow","Action":["penstock:PutEvent","kinesisvideo:DescribeStream"],"Resource":"*"}}`)})
	const all = "/v1/streams/front/events"
	for _, c := range []struct {
		who, method, path, body string
		want                    int
	}{
		{auth.RoleWorker, "POST", "", `{"id":"w","keep":"1d"}`, 201},
		{auth.RoleProducer, "POST", "", `{"id":"p","keep":"1d"}`, 201},
		{auth.RoleViewer, "POST", "", `{"id":"v"}`, 403},
		{"worker of back", "POST", "", `{"id":"b"}`, 404},
		{auth.RoleProducer, "GET", "", ``, 403},
		{auth.RoleProducer, "GET", "/p", ``, 403},
		{auth.RoleViewer, "GET", "/w", ``, 200},
		{"worker two", "PATCH", "/w", `{"label":"x"}`, 403},
		{"worker two", "DELETE", "/w", ``, 403},
		{"worker two", "POST", "", `{"id":"w","keep":"1d"}`, 409},
		{auth.RoleViewer, "PATCH", "/w", `{"label":"x"}`, 403},
		{auth.RoleViewer, "DELETE", "/w", ``, 403},
		{"worker of back", "DELETE", "/w", ``, 404},
		{auth.RoleWorker, "PATCH", "/w", `{"label":"x","keep":"2d"}`, 200},
		{auth.RoleProducer, "PATCH", "/p", `{"label":"x"}`, 200},
		{auth.RoleOperator, "PATCH", "/w", `{"keep":"forever"}`, 200},
		{"no keeper", "POST", "", `{"id":"n"}`, 201},
		{"no keeper", "POST", "", `{"id":"n2","keep":"1d"}`, 403},
		{"no keeper", "PATCH", "/n", `{"keep":"1d"}`, 403},
		{"no keeper", "PATCH", "/n", `{"keep":"","label":"x"}`, 200},
		{auth.RoleWorker, "DELETE", "/w", ``, 204},
		{auth.RoleOperator, "DELETE", "/p", ``, 204},
	} {
		if rec := s.send(c.method, all+c.path, keys[c.who], c.body); rec.Code != c.want {
			t.Errorf("%s: %s %s %s: %d %s, want %d", c.who, c.method, c.path, c.body, rec.Code, rec.Body, c.want)
		}
	}
}

func TestEventsInTheAuditLog(t *testing.T) {
	lines := &trail{}
	s := newSite(t, func(c *auth.Config) { c.Audit = lines })
	front := s.create(auth.DefaultAccount, "front")
	worker := s.key(auth.NewKey{Role: auth.RoleWorker})
	lines.take()
	for range 20 { // a detector leaves one line, not one each time
		s.event("POST", "/v1/streams/front/events", worker, `{"kind":"person"}`, http.StatusCreated)
	}
	if got := lines.take(); !slices.Equal(got, []string{"allow penstock:PutEvent " + front.ARN()}) {
		t.Errorf("of twenty there are %q", got)
	}
	s.event("POST", "/v1/streams/front/events", worker, `{"id":"a","keep":"1d"}`, http.StatusCreated)
	s.event("PATCH", "/v1/streams/front/events/a", worker, `{"keep":"2d"}`, http.StatusOK)
	s.event("DELETE", "/v1/streams/front/events/a", worker, ``, http.StatusNoContent)
	line := "allow penstock:PutEvent " + front.ARN() + "/event/a"
	if got := lines.take(); !slices.Equal(got, []string{line, line, line}) {
		t.Errorf("of what is kept there are %q", got)
	}
}

func TestChangesOfEventsAreSent(t *testing.T) {
	s := newSite(t)
	s.create(auth.DefaultAccount, "front")
	s.create(auth.DefaultAccount, "back")
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin})
	viewer := s.key(auth.NewKey{Role: auth.RoleViewer, Streams: []string{"front"}})
	web := httptest.NewServer(s.server)
	defer web.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	req, err := http.NewRequestWithContext(ctx, "GET", web.URL+"/v1/events", nil)
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+viewer)
	res, err := http.DefaultClient.Do(req)
	check(t, err)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func() (name, data string) {
		for lines.Scan() {
			switch text := lines.Text(); {
			case strings.HasPrefix(text, "event: "):
				name = text[7:]
			case strings.HasPrefix(text, "data: ") && strings.Contains(name, "mark"):
				return name, text[6:]
			}
		}
		t.Fatal("it ended")
		return "", ""
	}
	s.event("POST", "/v1/streams/back/events", admin, `{"id":"hidden"}`, http.StatusCreated)
	s.event("POST", "/v1/streams/front/events", admin, `{"id":"a","label":"x"}`, http.StatusCreated)
	name, data := next()
	var e eventView
	if check(t, json.Unmarshal([]byte(data), &e)); name != "mark" || e.ID != "a" || e.Stream != "front" || e.Label != "x" {
		t.Errorf("%s %s", name, data)
	}
	s.event("DELETE", "/v1/streams/back/events/hidden", admin, ``, http.StatusNoContent)
	s.event("DELETE", "/v1/streams/front/events/a", admin, ``, http.StatusNoContent)
	if name, data := next(); name != "unmark" || data != `{"id":"a","stream":"front"}` {
		t.Errorf("%s %s", name, data)
	}
}

// record puts fragments of a second each into a stream's log: it is in memory, and shown.
func (s *site) record(st streams.Stream, start time.Time, n, size int) {
	s.t.Helper()
	log := s.server.c.Hub.Log(st)
	for i := range n {
		at := start.Add(time.Duration(i) * time.Second)
		f := &fragments.Fragment{Tracks: []media.Track{{ID: 1, Timescale: 90000, Codec: &media.H264{SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8}, PPS: []byte{0x68, 0xce, 0x3c, 0x80}}}},
			Ends: []int64{90000 * int64(i+1)}, Samples: []media.Sample{{Track: 1, DTS: 90000 * int64(i), Sync: true, Data: make([]byte, size)}}}
		f.Start, f.End = at, at.Add(time.Second)
		check(s.t, log.Append(f, nil))
	}
}

func TestAPreviewTellsAndChangesNothing(t *testing.T) {
	lines := &trail{}
	s := newSite(t, func(c *auth.Config) { c.Audit = lines })
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin})
	lines.take()
	if rec := s.send("POST", "/v1/streams", admin, `{"name":"front","retention":"10d","retention_bytes":"500GiB"}`); rec.Code != http.StatusCreated || !strings.Contains(rec.Body.String(), `"retention_bytes":536870912000`) {
		t.Fatal(rec.Body)
	}
	st, err := s.server.c.Catalogue.Get(auth.DefaultAccount, "front")
	check(t, err)
	front := "UpdateStream " + st.ARN()
	start := time.Now().Add(-4 * time.Hour).UTC().Truncate(time.Second)
	s.record(st, start, 60, 10_000)
	s.record(st, start.Add(3*time.Hour+30*time.Minute), 60, 10_000)
	preview := func(body string) (v previewView) {
		t.Helper()
		rec := s.send("PATCH", "/v1/streams/front?preview=true", admin, body)
		if rec.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", body, rec.Code, rec.Body)
		}
		check(t, json.Unmarshal(rec.Body.Bytes(), &v))
		return v
	}
	v := preview(`{"retention":"2h"}`)
	if v.Delete.Fragments != 60 || v.Delete.Bytes < 600_000 || !v.Delete.First.Equal(start) || !v.Delete.Last.Equal(start.Add(time.Minute)) || v.KeptBytes != 0 {
		t.Errorf("shorter: %+v", v)
	}
	if v := preview(`{"retention":"5h"}`); v.Delete.Fragments != 0 || v.Delete.First != nil || v.Delete.Last != nil {
		t.Errorf("long enough: %+v", v)
	}
	s.event("POST", "/v1/streams/front/events", admin, fmt.Sprintf(`{"start":%q,"before":"0s","after":"9500ms","keep":"forever"}`, start.Format(time.RFC3339)), http.StatusCreated)
	if v := preview(`{"retention":"2h"}`); v.Delete.Fragments != 50 || v.KeptBytes < 100_000 || v.KeptBytes > 110_000 {
		t.Errorf("with an event that keeps ten: %+v", v)
	}
	now, err := s.server.c.Catalogue.Get(auth.DefaultAccount, "front")
	if err != nil || now.Version != st.Version || now.Retention != st.Retention {
		t.Errorf("it was changed: %+v %v", now, err)
	}
	if got := lines.take(); len(got) != 3 || !strings.HasSuffix(got[1], front) { // made, previewed, and the event
		t.Errorf("the audit log says %q", got)
	}
	for _, c := range []string{`?preview=true {"retention":"1m"}`, `?preview=true {"retention_bytes":5}`, `?preview=yes {"retention":"1h"}`, ` {"retention_bytes":-1}`,
		` {"retention_bytes":1.5}`, ` {"retention_bytes":"many"}`, ` {"retention_bytes":true}`, ` {"retention_bytes":1000}`, ` {"retention_bytes":2305843009213693952}`} {
		query, body, _ := strings.Cut(c, " ")
		if rec := s.send("PATCH", "/v1/streams/front"+query, admin, body); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", c, rec.Code, rec.Body)
		}
	}
	for body, want := range map[string]int64{`{"retention_bytes":"1.5 GB"}`: 15e8, `{"retention_bytes":2000000}`: 2e6, `{"retention_bytes":null}`: 2e6, `{"retention":"9d"}`: 2e6} {
		if strings.Contains(body, "null") || strings.Contains(body, "9d") {
			s.send("PATCH", "/v1/streams/front", admin, `{"retention_bytes":2000000}`)
		}
		if rec := s.send("PATCH", "/v1/streams/front", admin, body); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), fmt.Sprintf(`"retention_bytes":%d,`, want)) {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"kind":"person","label":"two","start":"-10s","end":"now","before":"5s","after":"0s","keep":"30d","data":{"score":0.9}}`))
	f.Add([]byte(`{"id":"a","open":true,"keep":"forever"}`))
	f.Add([]byte(`{}`))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		var b newEventBody
		if decodeText(body, &b) != nil {
			return
		}
		n, err := b.event(now)
		if err != nil {
			return
		}
		e, err := n.Check(now)
		if err != nil {
			return
		}
		switch {
		case !regexp.MustCompile(`^[a-z][a-z0-9._-]{0,31}$`).MatchString(e.Kind), !regexp.MustCompile(`^[A-Za-z0-9_-]{0,64}$`).MatchString(e.ID):
			t.Errorf("kind %q, id %q", e.Kind, e.ID)
		case len(e.Label) > events.LabelMax, !utf8.ValidString(e.Label), strings.ContainsAny(e.Label, "\x00\n\r\x1b"):
			t.Errorf("label %q", e.Label)
		case len(e.Data) > events.DataMax, e.Data[0] != '{', !json.Valid(e.Data):
			t.Errorf("data %s", e.Data)
		case e.Start.UnixMicro() <= 0, !e.Open() && e.End.Before(e.Start), e.Start.Sub(now) > events.FutureMax, e.Open() != n.Open:
			t.Errorf("from %v to %v", e.Start, e.End)
		case e.Before < 0, e.After < 0, e.Before > events.RollMax, e.After > events.RollMax, e.Keep < events.Forever:
			t.Errorf("keeps %v before, %v after, for %v", e.Before, e.After, e.Keep)
		}
		text, err := json.Marshal(viewEvent(streams.Stream{Name: "front"}, e))
		if err != nil || strings.ContainsAny(string(text), "<>&") {
			t.Errorf("shown as %s, %v", text, err)
		}
	})
}

func FuzzByteCount(f *testing.F) {
	for _, text := range []string{"0", `"500GiB"`, "1e3", "-1", `"-1"`, "null", "9223372036854775808", `"1.5 GB"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var v struct{ Bytes byteCount }
		if err := json.Unmarshal(append(append([]byte(`{"Bytes":`), text...), '}'), &v); err == nil && v.Bytes < 0 {
			t.Errorf("%s is %d", text, v.Bytes)
		}
	})
}

func TestATimelineShowsAThousandEventsAndSaysThatThereAreMore(t *testing.T) {
	s := newSite(t)
	front := s.create(auth.DefaultAccount, "front")
	viewer := s.key(auth.NewKey{Role: auth.RoleViewer})
	begin := time.Now().Add(-30 * time.Minute)
	line := func() (v struct {
		Events []eventView
		More   bool `json:"events_more"`
	}) {
		t.Helper()
		rec := s.send("GET", "/v1/streams/front/timeline?start=-1h", viewer, "")
		check(t, json.Unmarshal(rec.Body.Bytes(), &v))
		return v
	}
	add := func(from, to int) {
		var all sync.WaitGroup
		for part := range 50 {
			all.Go(func() {
				for i := from + part; i < to; i += 50 {
					n := events.New{Stream: front.ID, Kind: "motion", Start: begin.Add(time.Duration(i) * time.Second), Owner: "1:x"}
					if _, _, err := s.server.c.Events.Add(t.Context(), n); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
	add(0, timelineEvents)
	if v := line(); len(v.Events) != timelineEvents || v.More {
		t.Errorf("%d events, more: %v", len(v.Events), v.More)
	}
	add(timelineEvents, timelineEvents+1)
	if v := line(); len(v.Events) != timelineEvents || !v.More || !v.Events[0].Start.Equal(begin.UTC().Truncate(time.Microsecond)) {
		t.Errorf("%d events from %v, more: %v", len(v.Events), v.Events[0].Start, v.More)
	}
}
