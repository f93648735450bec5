package auth

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"penstock/internal/fault"
)

// Limits of what doors write into the audit log.
const (
	// ViewEvery is how often going on to watch by many requests (a playlist and its
	// segments) is written down again.
	ViewEvery = 10 * time.Minute
	// refusedEvery is how often one refusal is written down again, and the window of refusedMost.
	refusedEvery = time.Minute
	// refusedMost bounds the lines on refusals in one window, whoever they are for: a scan
	// fills neither the log nor the disk. The rest are counted in one line.
	refusedMost = 120
	// deedsMost bounds what is remembered of both.
	deedsMost = 8192
	// noteWait bounds how long a door waits for the log.
	noteWait = 2 * time.Second
)

// Deed is what somebody asked of a door, for the audit log.
type Deed struct {
	Action Action
	Object string // ARN or name of what was touched
	Remote string // address of the caller
	Detail string // more in words, such as "start"; never a secret
	// Err is what came of it: nil was allowed and done, fault.Denied, fault.Unauthentic
	// and fault.NotFound were refused, all else failed.
	Err error
	// Every, if not zero, writes this down once in that time for a principal, action and
	// object. Refusals and failures are always coalesced so, by the minute.
	Every time.Duration
}

// Note writes into the audit log what p asked of a door and what came of it. Doors note
// each change and each time that media begins and ends to be watched or sent. It outlives
// ctx: a caller who hangs up is noted too. A log whose disk is thousands of lines behind
// is waited for no longer than noteWait.
func (a *Authority) Note(ctx context.Context, p Principal, d Deed) {
	if a.config.Audit == nil {
		return
	}
	e := AuditEvent{Action: string(d.Action), Principal: p.ARN(), Account: p.Account, Remote: hostOf(d.Remote), Object: d.Object, Decision: "allow", Detail: d.Detail}
	if p.Known() {
		e.Detail = strings.TrimSuffix(p.ID+" by "+p.Via+", "+d.Detail, ", ")
	}
	if d.Err != nil {
		e.Decision = "fail"
		switch kind := fault.KindOf(d.Err); kind {
		case fault.Denied, fault.Unauthentic, fault.NotFound:
			e.Decision = "deny"
			fallthrough
		default:
			e.Detail = strings.TrimPrefix(e.Detail+", "+kind.String(), ", ")
		}
	}
	if !a.deeds.fresh(a.config.Clock.Now(), p, d, e) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWait)
	defer cancel()
	a.audit(ctx, e)
}

// deeds remembers what was written down lately.
type deeds struct {
	mu     sync.Mutex
	until  map[string]time.Time // when to write down again
	window time.Time            // begin of the window that the next two count
	lines  int                  // on refusals
	hidden int                  // refusals without a line
}

func newDeeds() *deeds { return &deeds{until: map[string]time.Time{}} }

// fresh reports whether to write the deed down.
func (n *deeds) fresh(now time.Time, p Principal, d Deed, e AuditEvent) bool {
	every := d.Every
	if d.Err != nil {
		every = refusedEvery
	}
	if every == 0 {
		return true
	}
	key := strings.Join([]string{e.Decision, p.ID, e.Action, e.Object, d.Detail}, "\x00")
	if !p.Known() {
		key += "\x00" + addressKey(d.Remote)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if d.Err != nil && now.Sub(n.window) >= refusedEvery {
		n.window, n.lines = now, 0
	}
	if now.Before(n.until[key]) {
		return false
	}
	full := len(n.until) >= deedsMost
	if d.Err != nil && (full || n.lines >= refusedMost) {
		n.hidden++
		return false
	}
	if d.Err != nil {
		n.lines++
	}
	if !full { // else it is written down each time: more lines, none lost
		n.until[key] = now.Add(every)
	}
	return true
}

// refusalIsNews reports whether a refused sign-in from remote is worth a line, by the rule
// for all refusals.
func (a *Authority) refusalIsNews(remote string, e AuditEvent, err error) bool {
	return a.deeds.fresh(a.config.Clock.Now(), Principal{}, Deed{Remote: remote, Detail: e.Detail, Err: err}, e)
}

// forget drops what is due again, and returns how many refusals went without a line in a
// window that is over.
func (n *deeds) forget(now time.Time) (hidden int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, until := range n.until {
		if !now.Before(until) {
			delete(n.until, key)
		}
	}
	if now.Sub(n.window) < refusedEvery {
		return 0
	}
	hidden, n.hidden = n.hidden, 0
	return hidden
}

// sumUp writes one line on the refusals that got none.
func (a *Authority) sumUp(ctx context.Context, now time.Time) {
	if hidden := a.deeds.forget(now); hidden > 0 {
		a.audit(ctx, AuditEvent{Action: "penstock:Refusals", Decision: "deny", Detail: fmt.Sprintf("%d more refusals without a line of their own", hidden)})
	}
}
