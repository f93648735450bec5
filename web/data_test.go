package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"penstock/auth"
)

func (s *site) data(method, path, token, body string, want int) dataView {
	s.t.Helper()
	rec := s.send(method, path, token, body)
	if rec.Code != want {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, rec.Code, rec.Body, want)
	}
	var v dataView
	if rec.Body.Len() > 0 {
		_ = json.Unmarshal(rec.Body.Bytes(), &v)
	}
	return v
}

func TestShardsAreSplitAndMerged(t *testing.T) {
	s := newSite(t)
	admin := s.key(auth.NewKey{Role: auth.RoleAdmin})
	v := s.data("POST", "/v1/data", admin, `{"name":"trucks","shards":2,"retention":"7d"}`, http.StatusCreated)
	if v.OpenShards != 2 || v.Retention != "7d" || v.Mode != "PROVISIONED" || len(v.Shards) != 2 || v.Shards[0].From != "0" {
		t.Fatalf("got %+v", v)
	}
	v = s.data("POST", "/v1/data/trucks/split", admin, `{"shard":"shardId-000000000001"}`, http.StatusOK)
	if v.OpenShards != 3 || len(v.Shards) != 4 || v.Shards[1].Open || v.Shards[2].Parents[0] != v.Shards[1].ID || v.Shards[3].From != "255211775190703847597530955573826158592" {
		t.Fatalf("after the split: %+v", v.Shards)
	}
	v = s.data("POST", "/v1/data/trucks/merge", admin, `{"shards":["shardId-000000000003","shardId-000000000002"]}`, http.StatusOK)
	if v.OpenShards != 2 || len(v.Shards[4].Parents) != 2 {
		t.Fatalf("after the merge: %+v", v.Shards)
	}
	v = s.data("PATCH", "/v1/data/trucks", admin, `{"shards":4,"retention":"24h"}`, http.StatusOK)
	if v.OpenShards != 4 || v.Retention != "24h" && v.Retention != "1d" {
		t.Fatalf("after the change: %d open shards, kept %s", v.OpenShards, v.Retention)
	}
	for _, c := range []struct {
		method, path, body, says string
		want                     int
	}{
		{"POST", "/v1/data/trucks/merge", `{"shards":["0","4"]}`, "split or merged already", http.StatusBadRequest},
		{"POST", "/v1/data/trucks/merge", `{"shards":["0"]}`, "name two shards", http.StatusBadRequest},
		{"POST", "/v1/data/trucks/split", `{"shard":"shardId-000000000099"}`, "no such shard", http.StatusNotFound},
		{"POST", "/v1/data/trucks/split", `{"shard":"x"}`, "", http.StatusNotFound},
		{"POST", "/v1/data", `{"name":"trucks","shards":1}`, "", http.StatusConflict},
		{"POST", "/v1/data", `{"name":"../x","shards":1}`, "", http.StatusBadRequest},
		{"POST", "/v1/data", `{"name":"y","retention":"1h"}`, "24h to 8760h", http.StatusBadRequest},
		{"GET", "/v1/data/nothing", ``, "no such data stream", http.StatusNotFound},
	} {
		rec := s.send(c.method, c.path, admin, c.body)
		if rec.Code != c.want || !strings.Contains(rec.Body.String(), c.says) {
			t.Errorf("%s %s %s: %d %s, want %d and %q", c.method, c.path, c.body, rec.Code, rec.Body, c.want, c.says)
		}
	}
	s.data("DELETE", "/v1/data/trucks", admin, "", http.StatusNoContent)
	s.data("GET", "/v1/data/trucks", admin, "", http.StatusNotFound)
}

func TestListsShowOnlyWhatACallerMayKnowOf(t *testing.T) {
	s := newSite(t)
	s.create(auth.DefaultAccount, "front")
	s.create(auth.DefaultAccount, "back")
	s.create("111111111111", "other")
	narrowed := s.key(auth.NewKey{Role: auth.RoleOperator, Streams: []string{"fr*"}})
	rec := s.send("GET", "/v1/data", narrowed, "")
	var list struct{ Streams []dataView }
	check(t, json.Unmarshal(rec.Body.Bytes(), &list))
	if len(list.Streams) != 1 || list.Streams[0].Name != "front" || list.Streams[0].OpenShards != 2 {
		t.Errorf("got %s", rec.Body)
	}
}
