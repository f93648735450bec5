package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheDocumentNamesEveryRouteAndEverySchemaItUses(t *testing.T) {
	rec := httptest.NewRecorder()
	newSite(t).server.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ Summary string }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%v, version %q", err, doc.OpenAPI)
	}
	for _, rt := range table() {
		if doc.Paths[rt.Path][strings.ToLower(rt.Method)].Summary == "" {
			t.Errorf("%s %s is not described", rt.Method, rt.Path)
		}
		for _, name := range []string{rt.Body, rt.Answer} {
			if _, ok := doc.Components.Schemas[name]; name != "" && !strings.Contains(name, "/") && !ok {
				t.Errorf("%s %s names the schema %s, which is not there", rt.Method, rt.Path, name)
			}
		}
	}
}
