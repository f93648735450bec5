package web

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
)

func TestChangesOfWhatIsKeptArePaced(t *testing.T) {
	var p pace
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	let := func(who string, tries int) (n int) {
		for range tries {
			if err := p.take(who, now); err == nil {
				n++
			} else if !fault.Is(err, fault.Throttled) {
				t.Fatal(err)
			}
		}
		return n
	}
	if n := let("a", 1000); n != keepsAtOnce {
		t.Errorf("%d at once", n)
	}
	if n := let("b", 10); n != 10 {
		t.Errorf("another is let %d of 10", n)
	}
	now = now.Add(10 * time.Second)
	if n := let("a", 1000); n != 50 {
		t.Errorf("%d after ten seconds", n)
	}
	now = now.Add(-time.Hour) // a clock that is set back holds nobody up for good
	if n := let("a", 1000); n != keepsAtOnce {
		t.Errorf("%d with a clock set back", n)
	}
	now = now.Add(2 * time.Hour)
	for i := range 2 * pacedMost {
		let(fmt.Sprint("crowd ", i), 1)
	}
	if n := len(p.free); n > pacedMost+1 {
		t.Errorf("%d are remembered", n)
	}
}

// TestMarksMadeAndUnmadeDoNotFillTheAuditLog has a camera's key do so as fast as it can.
func TestMarksMadeAndUnmadeDoNotFillTheAuditLog(t *testing.T) {
	lines := &trail{}
	s := newSite(t, func(c *auth.Config) { c.Audit = lines })
	s.create(auth.DefaultAccount, "front")
	s.server.c.Clock = hosttest.NewClock(time.Now()) // it stands still
	token := s.key(auth.NewKey{Role: auth.RoleProducer, Streams: []string{"front"}})
	lines.take()
	for _, keep := range []string{"1h", ""} {
		throttled := 0
		for i := range 400 {
			id := fmt.Sprintf("e%s-%d", keep, i)
			switch rec := s.send("POST", "/v1/streams/front/events", token, `{"id":"`+id+`","keep":"`+keep+`"}`); rec.Code {
			case http.StatusCreated:
			case http.StatusTooManyRequests:
				throttled++
				continue
			default:
				t.Fatal(rec.Code, rec.Body)
			}
			if rec := s.send("DELETE", "/v1/streams/front/events/"+id, token, ""); rec.Code != http.StatusNoContent && rec.Code != http.StatusTooManyRequests {
				t.Fatal(rec.Code, rec.Body)
			}
		}
		got := len(lines.take())
		if keep == "" && (got > 2 || throttled > 0) {
			t.Errorf("400 events that keep nothing, made and deleted, left %d lines; %d were refused", got, throttled)
		}
		if keep != "" && (got > keepsAtOnce+2 || throttled < 200) {
			t.Errorf("400 events that keep video left %d lines; %d were refused", got, throttled)
		}
	}
}
