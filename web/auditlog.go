package web

import (
	"time"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/internal/fault"
	"penstock/playback"
)

// auditEntry is a line of the audit log.
type auditEntry struct {
	Time      time.Time `json:"time"`
	Action    string    `json:"action"`
	Principal string    `json:"principal"`
	Account   string    `json:"account"`
	Remote    string    `json:"remote"`
	Object    string    `json:"object"`
	Decision  string    `json:"decision"` // allow, deny or fail
	Detail    string    `json:"detail"`
	Log       string    `json:"log"` // server or cli
	Seq       uint64    `json:"seq"`
	Hash      string    `json:"hash"`
}

type auditView struct {
	Entries []auditEntry `json:"entries"`
	Next    string       `json:"next,omitempty"`
}

// listAudit shows the caller's account's lines, newest first. Those of nobody's account, as
// of strangers who were refused, are the server's own account's. That they were read is
// written down once in a while: a page that shows the log must not fill it.
func listAudit(c *call) error {
	if c.s.c.Audit == nil {
		return fault.New(fault.Unavailable, "read audit log", "", "this server keeps none")
	}
	q, err := c.auditQuery()
	if err != nil {
		return err
	}
	page, err := c.s.c.Audit.Read(c.r.Context(), q)
	if err != nil {
		return err
	}
	c.s.c.Auth.Note(c.r.Context(), c.principal, auth.Deed{Action: auth.ReadAudit, Object: auth.SystemARN(c.principal.Account), Remote: remoteHost(c.r), Detail: "read", Every: auth.ViewEvery})
	view := auditView{Entries: []auditEntry{}, Next: page.Next}
	for _, e := range page.Entries {
		view.Entries = append(view.Entries, auditEntry{Time: e.Time, Action: e.Action, Principal: e.Principal, Account: e.Account, Remote: e.Remote,
			Object: e.Object, Decision: e.Decision, Detail: e.Detail, Log: e.Log, Seq: e.Seq, Hash: e.Hash})
	}
	return c.json(view)
}

func (c *call) auditQuery() (q audit.Query, err error) {
	v := c.r.URL.Query()
	q = audit.Query{Principal: v.Get("principal"), Action: v.Get("action"), Object: v.Get("object"), Decision: v.Get("decision"), Next: v.Get("next"),
		Account: c.principal.Account, Strangers: auth.SystemARN(c.principal.Account) == c.s.c.Auth.SystemARN()}
	now := c.s.c.Clock.Now()
	for name, to := range map[string]*time.Time{"start": &q.Start, "end": &q.End} {
		if text := v.Get(name); text != "" {
			if *to, err = playback.ParseTime(text, now); err != nil {
				return q, err
			}
		}
	}
	if v.Get("limit") == "" {
		return q, nil
	}
	q.Limit, err = number(v.Get("limit"), audit.PageMost)
	return q, err
}
