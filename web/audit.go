package web

import (
	"net/http"
	"time"

	"penstock/auth"
)

// handle runs the row's handler and writes into the audit log what is worth a line:
// each change, and each time that media begins to be watched. Sign-ins and what they
// are refused for are auth's own lines.
func (s *Server) handle(rt route, c *call) error {
	switch {
	case rt.On == toNobody:
		return rt.Handle(c)
	case rt.Path == socketPath:
		return c.watched(rt)
	case showing(rt):
		c.viewed(rt)
		return rt.Handle(c)
	case rt.Method == http.MethodGet:
		return rt.Handle(c)
	}
	err := rt.Handle(c)
	if rt.Large {
		c.putting(rt, err)
		return err
	}
	object := c.object
	if object == "" {
		object = c.resource(rt.On)
	}
	c.note(rt, object, rt.Method+" "+rt.Path+c.aside, err)
	return err
}

// showing reports whether the row shows pictures.
func showing(rt route) bool {
	switch rt.Action {
	case auth.GetHLS, auth.GetFragmentMedia, auth.GetClip, auth.GetImages:
		return true
	}
	return false
}

// watched is handle for a socket, whose end is known.
func (c *call) watched(rt route) error {
	defer c.watching(rt.Action, c.stream.ARN())()
	return rt.Handle(c)
}

// watching notes that media begins to be watched; what it returns notes the end.
func (c *call) watching(action auth.Action, object string) (ended func()) {
	deed := auth.Deed{Action: action, Object: object, Remote: remoteHost(c.r), Detail: "start"}
	begin := c.s.c.Clock.Now()
	c.s.c.Auth.Note(c.r.Context(), c.principal, deed)
	return func() {
		deed.Detail = "stop after " + c.s.c.Clock.Now().Sub(begin).Round(time.Second).String()
		c.s.c.Auth.Note(c.r.Context(), c.principal, deed)
	}
}

// note writes one line.
func (c *call) note(rt route, object, detail string, err error) {
	action := rt.Action
	if action == "" {
		action = "penstock:Session"
	}
	c.s.c.Auth.Note(c.r.Context(), c.principal, auth.Deed{Action: action, Object: object, Remote: remoteHost(c.r), Detail: detail, Err: err, Every: c.every})
}

// tried is what a caller who was not let in asked for, as the path names it.
func (c *call) tried() string {
	if name := c.r.PathValue("name"); name != "" {
		return name
	}
	return c.r.Pattern
}
