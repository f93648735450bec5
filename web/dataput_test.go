package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/auth"
	"penstock/records"
	"penstock/wire/kpl"
	"penstock/wire/sigv4"
)

// put sends a body as a content type.
func (s *site) put(path, token, kind, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("POST", path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	rec := httptest.NewRecorder()
	s.server.ServeHTTP(rec, req)
	return rec
}

// tail reads what a data stream holds, as "key=json, text or data".
func (s *site) tail(name, token, query string) []string {
	s.t.Helper()
	rec := s.send("GET", "/v1/data/"+name+"/tail?follow=no&from=horizon&"+query, token, "")
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/x-ndjson" {
		s.t.Fatalf("tail: %d %s", rec.Code, rec.Body)
	}
	var out []string
	for line := range strings.Lines(rec.Body.String()) {
		var e struct {
			Shard, Key, Text, Data string
			Sequence               string `json:"sequence_number"`
			JSON                   json.RawMessage
			Sub                    *int
			Error                  any
		}
		check(s.t, json.Unmarshal([]byte(line), &e))
		if e.Sequence == "" || e.Error != nil {
			s.t.Fatalf("line %s", line)
		}
		out = append(out, e.Key+"="+string(e.JSON)+e.Text+e.Data)
	}
	return out
}

func TestWhatIsPutIsShownWhereItIs(t *testing.T) {
	s := newSite(t)
	token := s.key(auth.NewKey{Role: auth.RoleOperator})
	for i, c := range []struct{ query, kind, body, want string }{
		{"?key=/id", "application/json", `[{"id":"a","v":1}, {"id":2}]`, `a={"id":"a","v":1} 2={"id":2}`},
		{"?key=/id", "application/x-ndjson", "{\"id\":1}\n{\"id\":2}\n", `1={"id":1} 2={"id":2}`},
		{"?key=/id", "text/csv", "id,v\nx,1.5\n", `x={"id":"x","v":1.5}`},
		{"?key=/id", "application/cbor", "\xa1\x62id\x61a", "a=oWJpZGFh"},
		{"?key=k", "text/plain", "hello", "k=hello"},
		{"?key=k", "", `{"guessed":true}`, `k={"guessed":true}`},
	} {
		name := fmt.Sprint("stream-", i)
		rec := s.put("/v1/data/"+name+c.query, token, c.kind, c.body)
		var answer storedView
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != 200 || len(answer.Records) != strings.Count(c.want, "=") || !strings.HasPrefix(answer.Records[0].Shard, "shardId-") || len(answer.Records[0].SequenceNumber) != 56 {
			t.Errorf("%s: %d %s", c.kind, rec.Code, rec.Body)
		}
		got := s.tail(name, token, "")
		for _, want := range strings.Fields(c.want) {
			if !strings.Contains(strings.Join(got, " "), want) {
				t.Errorf("%s: %q lacks %q", c.kind, got, want)
			}
		}
	}
	req := httptest.NewRequest("POST", "/v1/data/headed", strings.NewReader("x"))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("X-Partition-Key", "/not a pointer")
	s.server.ServeHTTP(httptest.NewRecorder(), req)
	if got := s.tail("headed", token, "as=base64"); len(got) != 1 || got[0] != "/not a pointer=eA==" {
		t.Errorf("key from the header: %q", got)
	}
}

func TestPutsThatAreRefused(t *testing.T) {
	s := newSite(t)
	operator, producer, viewer := s.key(auth.NewKey{Role: auth.RoleOperator}), s.key(auth.NewKey{Role: auth.RoleProducer, Streams: []string{"mine-*"}}), s.key(auth.NewKey{Role: auth.RoleViewer})
	if rec := s.put("/v1/data/mine-1", producer, "", "x"); rec.Code != 200 {
		t.Errorf("a producer's first put: %d %s", rec.Code, rec.Body)
	}
	for name, c := range map[string]struct {
		path, token, kind, body, says string
		want                          int
	}{
		"no JSON":              {"/v1/data/mine-1", operator, "application/json", "{", "it is not JSON", 400},
		"no such charset":      {"/v1/data/mine-1", operator, "text/csv; charset=utf-16", "a\n1", "UTF-8", 400},
		"no key there":         {"/v1/data/mine-1?key=/id", operator, "application/json", "{}", "no key at /id", 400},
		"a record too big":     {"/v1/data/mine-1", operator, "", strings.Repeat("x", 1<<20+1), "the stream takes 1048576", 400},
		"a body too big":       {"/v1/data/mine-1", operator, "", strings.Repeat("x", 17<<20), "16 MiB", 400},
		"not its stream":       {"/v1/data/other", producer, "", "x", "no such data stream", 404},
		"may not create":       {"/v1/data/fresh", viewer, "", "x", "no such data stream", 404},
		"no name for a stream": {"/v1/data/a%20b", operator, "", "x", "letters, digits", 400},
	} {
		if rec := s.put(c.path, c.token, c.kind, c.body); rec.Code != c.want || !strings.Contains(rec.Body.String(), c.says) {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
	if rec := s.send("GET", "/v1/data/mine-1/tail", producer, ""); rec.Code != 403 {
		t.Errorf("a producer tails: %d", rec.Code)
	}
	for _, query := range []string{"from=yesterday", "follow=maybe", "as=xml", "limit=0", "shard=7", "shard=x", "from=49000000000000000000000000000000000000000000000000000000", "filter=" + strings.Repeat("x", 2000)} {
		if rec := s.send("GET", "/v1/data/mine-1/tail?"+query, operator, ""); rec.Code != 400 && rec.Code != 404 {
			t.Errorf("tail?%.40s: %d %s", query, rec.Code, rec.Body)
		}
	}
}

// TestNoPutIsAnswered200ThatIsNotAllStored puts more than a shard takes.
func TestNoPutIsAnswered200ThatIsNotAllStored(t *testing.T) {
	s := newSite(t)
	token := s.key(auth.NewKey{Role: auth.RoleOperator})
	s.data("POST", "/v1/data", token, `{"name":"narrow","shards":1}`, http.StatusCreated)
	rec := s.put("/v1/data/narrow", token, "application/x-ndjson", strings.Repeat("1\n", 1500))
	var answer struct {
		storedView
		Error struct{ Code, Hint string }
	}
	check(t, json.Unmarshal(rec.Body.Bytes(), &answer))
	stored, refused := 0, 0
	for _, r := range answer.Records {
		if r.SequenceNumber != "" {
			stored++
		} else if r.Error == "throttled" {
			refused++
		}
	}
	if rec.Code != 429 || answer.Error.Code != "throttled" || answer.Error.Hint == "" || stored+refused != 1500 || stored < 1000 || refused == 0 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d: %d stored, %d refused, %+v", rec.Code, stored, refused, answer.Error)
	}
	if got := s.tail("narrow", token, ""); len(got) != stored {
		t.Errorf("%d are there of %d", len(got), stored)
	}
}

func TestALargePutMayBeSigned(t *testing.T) {
	s := newSite(t)
	issued, err := s.server.c.Auth.CreateKey(t.Context(), auth.NewKey{Role: auth.RoleOperator})
	check(t, err)
	body := bytes.Repeat([]byte("{\"a\":\"some more than the usual 64 KiB\"}\n"), 4000)
	req := httptest.NewRequest("POST", "http://example.com/v1/data/signed", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/x-ndjson")
	(&sigv4.Signer{AccessKey: issued.ID, Secret: issued.Secret.Reveal(), Region: auth.DefaultRegion, Service: "kinesis"}).Sign(req, body, time.Now())
	rec := httptest.NewRecorder()
	s.server.ServeHTTP(rec, req)
	if rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestTheStreamsOwnPolicyIsAsked(t *testing.T) {
	s := newSite(t)
	token := s.key(auth.NewKey{Role: auth.RoleOperator})
	s.put("/v1/data/closed", token, "", "x")
	st, err := s.server.c.Data.Get(t.Context(), auth.DefaultAccount, auth.DefaultRegion, "closed")
	check(t, err)
	check(t, st.SetPolicy(t.Context(), `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"kinesis:PutRecords","Resource":"*"}]}`))
	if rec := s.put("/v1/data/closed", token, "", "x"); rec.Code != 403 {
		t.Errorf("put: %d %s", rec.Code, rec.Body)
	}
	if rec := s.send("GET", "/v1/data/closed", token, ""); rec.Code != 200 {
		t.Errorf("describe: %d %s", rec.Code, rec.Body)
	}
}

func TestTailGoesOn(t *testing.T) {
	s := newSite(t)
	server := httptest.NewServer(s.server)
	defer server.Close()
	issued, err := s.server.c.Auth.CreateKey(t.Context(), auth.NewKey{Role: auth.RoleOperator})
	check(t, err)
	token := issued.Token.Reveal()
	s.put("/v1/data/live?key=k", token, "", "first")
	follow := func(accept, query string) (*bufio.Reader, io.Closer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/data/live/tail?from=horizon&"+query, nil)
		check(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Accept", accept)
		res, err := server.Client().Do(req)
		check(t, err)
		return bufio.NewReader(res.Body), res.Body
	}
	line := func(r *bufio.Reader) string {
		t.Helper()
		for {
			text, err := r.ReadString('\n')
			check(t, err)
			if text = strings.TrimSpace(text); text != "" {
				return text
			}
		}
	}
	events, done := follow("text/event-stream", "filter=key:k")
	defer done.Close()
	if a, b, c := line(events), line(events), line(events); a != "event: record" || !strings.HasPrefix(b, "id: shardId-") || !strings.Contains(c, `"text":"first"}`) {
		t.Errorf("%s\n%s\n%s", a, b, c)
	}
	lines, also := follow("*/*", "limit=4")
	defer also.Close()
	line(lines)
	var b kpl.Builder
	b.Add(kpl.Record{Key: "k", Data: []byte("one")})
	b.Add(kpl.Record{Key: "other", Data: []byte("two")})
	s.put("/v1/data/live?key=outer", token, "application/octet-stream", string(b.Append(nil)))
	if a, b := line(lines), line(lines); !strings.Contains(a, `"sub":0`) || !strings.Contains(a, `"text":"one"`) || !strings.Contains(b, `"sub":1`) || !strings.Contains(b, `"key":"other"`) {
		t.Errorf("%s\n%s", a, b)
	}
	s.put("/v1/data/live?key=k", token, "", "last")
	line(lines)
	if _, err := lines.ReadString('\n'); err != io.EOF {
		t.Errorf("after the limit: %v", err)
	}
	for range 5 {
		line(events) // the one of the aggregate; then the last
	}
	// The key's end is the tail's.
	check(t, s.server.c.Auth.RemoveKey(t.Context(), issued.ID))
	rest, err := io.ReadAll(events)
	if err != nil || !strings.Contains(string(rest), "event: error") || !strings.Contains(string(rest), "was removed") {
		t.Errorf("after the key was removed: %q, %v", rest, err)
	}
}

func TestASequenceNumberIsAPlaceToBegin(t *testing.T) {
	s := newSite(t)
	token := s.key(auth.NewKey{Role: auth.RoleOperator})
	var answer storedView
	for range 3 {
		rec := s.put("/v1/data/numbered?key=k", token, "application/json", `["a","b","c"]`)
		check(t, json.Unmarshal(rec.Body.Bytes(), &answer))
	}
	rec := s.send("GET", "/v1/data/numbered/tail?follow=no&shard="+answer.Records[0].Shard+"&from="+answer.Records[1].SequenceNumber, token, "")
	if n := strings.Count(rec.Body.String(), "\n"); n != 2 {
		t.Errorf("%d records: %s", n, rec.Body)
	}
	if _, err := records.ParseSeq(answer.Records[1].SequenceNumber); err != nil {
		t.Error(err)
	}
}

func TestTailsAndBodiesAreBounded(t *testing.T) {
	s := newSite(t)
	token := s.key(auth.NewKey{Role: auth.RoleOperator})
	s.put("/v1/data/busy", token, "", "x")
	if !s.server.tails.TryAcquire(tailsMax-3) || !s.server.bodies.TryAcquire(bodiesMax-10) {
		t.Fatal("the last request still holds something")
	}
	if rec := s.send("GET", "/v1/data/busy/tail?follow=no", token, ""); rec.Code != 429 {
		t.Errorf("a tail of 4 shards where 3 have room: %d %s", rec.Code, rec.Body)
	}
	if rec := s.send("GET", "/v1/data/busy/tail?follow=no&shard=0", token, ""); rec.Code != 200 {
		t.Errorf("a tail of one: %d %s", rec.Code, rec.Body)
	}
	if rec := s.put("/v1/data/busy", token, "", "more than ten bytes"); rec.Code != 429 {
		t.Errorf("a body that has no room: %d %s", rec.Code, rec.Body)
	}
	if rec := s.put("/v1/data/busy", token, "", "few"); rec.Code != 200 {
		t.Errorf("a body that has room: %d %s", rec.Code, rec.Body)
	}
}
