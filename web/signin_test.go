package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"penstock/auth"
)

func TestGuessingIsAnsweredWith429AndWhenToTryAgain(t *testing.T) {
	site := newSite(t)
	check(t, site.server.c.Auth.SetPassword(t.Context(), auth.AdminName, "correct horse"))
	for n := range 30 {
		rec := site.send("POST", "/v1/session", "", `{"password":"guess `+strconv.Itoa(n)+`"}`)
		if rec.Code == http.StatusUnauthorized {
			continue
		}
		if rec.Code != http.StatusTooManyRequests {
			t.Fatalf("try %d: %d %s", n, rec.Code, rec.Body)
		}
		after, err := strconv.Atoi(rec.Header().Get("Retry-After"))
		if err != nil || after < 10 || after > 60 {
			t.Errorf("Retry-After %q, want about half a minute", rec.Header().Get("Retry-After"))
		}
		if rec := site.send("POST", "/v1/session", "", `{"password":"correct horse"}`); rec.Code != http.StatusTooManyRequests {
			t.Errorf("the right password from that address: %d; a guesser would learn that it is right", rec.Code)
		}
		return
	}
	t.Error("30 guesses, and no end")
}

// TestAnotherPasswordNeedsThePresentOne has somebody at a browser that was left open.
func TestAnotherPasswordNeedsThePresentOne(t *testing.T) {
	site := newSite(t)
	check(t, site.server.c.Auth.SetPassword(t.Context(), auth.AdminName, "correct horse"))
	rec := site.send("POST", "/v1/session", "", `{"password":"correct horse"}`)
	var session struct {
		CSRF string
		Own  bool `json:"own_password"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &session); err != nil || rec.Code != http.StatusOK || !session.Own {
		t.Fatalf("sign in: %d %s", rec.Code, rec.Body)
	}
	set := func(body string) int {
		t.Helper()
		r := httptest.NewRequest("POST", "/v1/password", strings.NewReader(body))
		r.AddCookie(rec.Result().Cookies()[0])
		r.Header.Set("X-CSRF-Token", session.CSRF)
		w := httptest.NewRecorder()
		site.server.ServeHTTP(w, r)
		return w.Code
	}
	for body, want := range map[string]int{
		`{"password":"a stranger's"}`:                             http.StatusForbidden,
		`{"password":"a stranger's","current":""}`:                http.StatusForbidden,
		`{"password":"a stranger's","current":"correct horses"}`:  http.StatusForbidden,
		`{"password":"a stranger's","current":"Correct horse"}`:   http.StatusForbidden,
		`{"password":"a stranger's","current":"a stranger's"}`:    http.StatusForbidden,
		`{"password":"a stranger's","current":"correct horse\n"}`: http.StatusForbidden,
	} {
		if got := set(body); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
	if got := set(`{"password":"battery staple","current":"correct horse"}`); got != http.StatusNoContent {
		t.Errorf("with the present password: %d", got)
	}
	if rec := site.send("POST", "/v1/session", "", `{"password":"battery staple"}`); rec.Code != http.StatusOK {
		t.Errorf("with the new one: %d", rec.Code)
	}
	if got := set(`{"password":"third one here","current":"battery staple"}`); got != http.StatusUnauthorized {
		t.Errorf("the session from before: %d", got)
	}
}

// TestASignInEndsTheSessionBefore signs in twice with one browser, then out.
func TestASignInEndsTheSessionBefore(t *testing.T) {
	site := newSite(t)
	check(t, site.server.c.Auth.SetPassword(t.Context(), auth.AdminName, "correct horse"))
	ask := func(method, body, csrf string, cookie *http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/v1/session", strings.NewReader(body))
		if cookie != nil {
			r.AddCookie(cookie)
		}
		r.Header.Set("X-CSRF-Token", csrf)
		w := httptest.NewRecorder()
		site.server.ServeHTTP(w, r)
		return w
	}
	planted := &http.Cookie{Name: cookiePlain, Value: "psc_planted"}
	first := ask("POST", `{"password":"correct horse"}`, "", planted).Result().Cookies()[0]
	if first.Value == planted.Value || ask("GET", "", "", first).Code != http.StatusOK {
		t.Fatalf("the first sign-in: %v", first)
	}
	second := ask("POST", `{"password":"correct horse"}`, "", first)
	cookie := second.Result().Cookies()[0]
	if got := ask("GET", "", "", first).Code; got != http.StatusUnauthorized {
		t.Errorf("the first session after the second sign-in: %d", got)
	}
	if got := ask("GET", "", "", cookie).Code; got != http.StatusOK {
		t.Errorf("the second session: %d", got)
	}
	var session struct{ CSRF string }
	check(t, json.Unmarshal(second.Body.Bytes(), &session))
	if got := ask("DELETE", "", "", cookie).Code; got != http.StatusForbidden {
		t.Errorf("sign out without the token of the page: %d", got)
	}
	out := ask("DELETE", "", session.CSRF, cookie)
	if out.Code != http.StatusNoContent || out.Header().Get("Clear-Site-Data") != `"cache"` {
		t.Errorf("sign out: %d %v", out.Code, out.Header())
	}
	if got := ask("GET", "", "", cookie).Code; got != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", got)
	}
}
