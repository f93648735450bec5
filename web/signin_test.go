package web

import (
	"net/http"
	"strconv"
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
