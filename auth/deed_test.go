package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
)

// noted are the lines that doors wrote, without those of making keys.
func (r *rig) noted() []AuditEvent {
	r.audit.mu.Lock()
	defer r.audit.mu.Unlock()
	var out []AuditEvent
	for _, e := range r.audit.list {
		if e.Action != "penstock:CreateKey" {
			out = append(out, e)
		}
	}
	return out
}

func TestDoorsNoteWhoDidWhatFromWhere(t *testing.T) {
	r := newRig(t)
	k, p := r.key(NewKey{Role: RoleViewer, Name: "wall"})
	r.a.Note(t.Context(), p, Deed{Action: GetMedia, Object: frontDoor, Remote: "192.0.2.1:9", Detail: "start"})
	r.a.Note(t.Context(), p, Deed{Action: DeleteStream, Object: frontDoor, Remote: "192.0.2.1:9", Err: fault.New(fault.Denied, "x", "", "no")})
	r.a.Note(t.Context(), Principal{}, Deed{Action: GetMedia, Object: "front-door", Remote: "192.0.2.1:9", Err: fault.New(fault.Unauthentic, "x", "", "no")})
	r.a.Note(t.Context(), p, Deed{Action: CreateStream, Object: frontDoor, Remote: "192.0.2.1:9", Err: fault.New(fault.InUse, "x", "", "taken")})
	want := []AuditEvent{
		{Action: "kinesisvideo:GetMedia", Principal: p.ARN(), Account: DefaultAccount, Remote: "192.0.2.1", Object: frontDoor, Decision: "allow", Detail: k.ID + " by bearer, start"},
		{Action: "kinesisvideo:DeleteStream", Principal: p.ARN(), Account: DefaultAccount, Remote: "192.0.2.1", Object: frontDoor, Decision: "deny", Detail: k.ID + " by bearer, " + fault.Denied.String()},
		{Action: "kinesisvideo:GetMedia", Principal: "anonymous", Account: DefaultAccount, Remote: "192.0.2.1", Object: "front-door", Decision: "deny", Detail: fault.Unauthentic.String()},
		{Action: "kinesisvideo:CreateStream", Principal: p.ARN(), Account: DefaultAccount, Remote: "192.0.2.1", Object: frontDoor, Decision: "fail", Detail: k.ID + " by bearer, " + fault.InUse.String()},
	}
	got := r.noted()
	if len(got) != len(want) {
		t.Fatalf("%d lines: %+v", len(got), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestAScanDoesNotFillTheAuditLog(t *testing.T) {
	r := newRig(t)
	no := fault.New(fault.Unauthentic, "x", "", "no")
	for i := range 10_000 {
		r.a.Note(t.Context(), Principal{}, Deed{Action: GetMedia, Object: fmt.Sprint("guess-", i), Remote: "192.0.2.1:9", Err: no})
		r.a.Note(t.Context(), Principal{}, Deed{Action: GetMedia, Object: "front", Remote: "192.0.2.1:9", Err: no})
	}
	if n := len(r.noted()); n != refusedMost {
		t.Errorf("%d lines on 20000 refusals in one minute, want %d", n, refusedMost)
	}
	// What is allowed is written down all the same.
	_, p := r.key(NewKey{Role: RoleAdmin})
	r.a.Note(t.Context(), p, Deed{Action: DeleteStream, Object: frontDoor})
	if last := r.noted()[refusedMost]; last.Decision != "allow" {
		t.Errorf("the change after a scan: %+v", last)
	}
	r.clock.Add(refusedEvery)
	r.a.sumUp(t.Context(), r.clock.Now())
	if last := r.noted()[refusedMost+1]; !strings.HasPrefix(last.Detail, fmt.Sprint(10_000+1-refusedMost, " more")) {
		t.Errorf("the sum: %+v", last)
	}
	r.a.Note(t.Context(), Principal{}, Deed{Action: GetMedia, Object: "front", Remote: "192.0.2.1:9", Err: no})
	if n := len(r.noted()); n != refusedMost+3 {
		t.Errorf("%d lines: a minute later the same refusal is news again", n)
	}
}

func TestWatchingIsNotedOnceInAWhile(t *testing.T) {
	r := newRig(t)
	_, p := r.key(NewKey{Role: RoleViewer})
	view := Deed{Action: GetHLS, Object: frontDoor, Every: ViewEvery}
	for range 100 {
		r.a.Note(t.Context(), p, view)
		r.clock.Add(time.Second)
	}
	other := view
	other.Object = backDoor
	r.a.Note(t.Context(), p, other)
	if n := len(r.noted()); n != 2 {
		t.Errorf("%d lines, want one for each stream", n)
	}
	r.clock.Add(ViewEvery)
	r.a.Note(t.Context(), p, view)
	if n := len(r.noted()); n != 3 {
		t.Errorf("%d lines, want another after %v", n, ViewEvery)
	}
}

func TestTheLedgerOfDeedsIsBounded(t *testing.T) {
	r := newRig(t)
	_, p := r.key(NewKey{Role: RoleViewer})
	for i := range deedsMost + 500 {
		r.a.Note(t.Context(), p, Deed{Action: GetHLS, Object: fmt.Sprint(i), Every: ViewEvery})
	}
	if n := len(r.a.deeds.until); n != deedsMost {
		t.Errorf("%d remembered, want %d", n, deedsMost)
	}
	if n := len(r.noted()); n != deedsMost+500 {
		t.Errorf("%d lines: some views are lost", n)
	}
}
