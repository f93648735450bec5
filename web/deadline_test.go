package web

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/auth"
)

// clocked is a recorder that takes deadlines.
type clocked struct {
	*httptest.ResponseRecorder
	last time.Time
	sets int
}

func (c *clocked) SetWriteDeadline(t time.Time) error {
	c.last, c.sets = t, c.sets+1
	return nil
}

func TestNoAnswerWaitsForeverForItsReader(t *testing.T) {
	site := newSite(t)
	token := site.key(auth.NewKey{Role: auth.RoleAdmin, Name: "k"})
	for _, path := range []string{"/livez", "/", "/no-such", "/v1/streams", "/v1/system"} {
		w := &clocked{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		site.server.ServeHTTP(w, r)
		if left := time.Until(w.last); left <= 0 || left > answerTimeout {
			t.Errorf("%s may take %v to leave", path, left)
		}
	}
	// Events go on for days: each has a deadline of its own.
	ctx, cancel := context.WithCancel(t.Context())
	w := &clocked{ResponseRecorder: httptest.NewRecorder()}
	c := &call{s: site.server, w: w, r: httptest.NewRequest(http.MethodGet, "/v1/events", nil).WithContext(ctx)}
	out := make(chan event)
	ended := make(chan error)
	go func() { ended <- c.pump(out, http.NewResponseController(w)) }()
	for range 3 {
		out <- event{"stream", nil}
	}
	cancel()
	check(t, <-ended)
	if left := time.Until(w.last); w.sets != 3 || left <= 0 || left > eventTimeout {
		t.Errorf("3 events set %d deadlines, the last in %v", w.sets, left)
	}
}

func TestHeadOfTheEventsEnds(t *testing.T) {
	site := newSite(t)
	server := httptest.NewServer(site.server)
	defer server.Close()
	token := site.key(auth.NewKey{Role: auth.RoleAdmin, Name: "k"})
	// One connection: while a handler has not returned, the next request waits.
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		req, err := http.NewRequestWithContext(ctx, method, server.URL+"/v1/events", nil)
		check(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		check(t, err)
		if kind := res.Header.Get("Content-Type"); res.StatusCode != 200 || kind != "text/event-stream" {
			t.Errorf("%s: %s, %s", method, res.Status, kind)
		}
		if method == http.MethodHead {
			_, err := io.ReadAll(res.Body)
			check(t, err)
		} else {
			site.create(auth.DefaultAccount, "front")
			line, err := bufio.NewReader(res.Body).ReadString('\n')
			if check(t, err); !strings.HasPrefix(line, "event: stream") {
				t.Errorf("it said %q", line)
			}
		}
		check(t, res.Body.Close())
	}
}
