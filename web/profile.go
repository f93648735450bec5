package web

import (
	"net/http"
	"net/http/pprof"
	"time"

	"penstock/internal/fault"
)

// showProfile serves a profile of the running server (net/http/pprof): where time and
// memory go, never what is in it. profile and trace take ?seconds=.
func showProfile(c *call) error {
	c.w.Header().Set("Cache-Control", "no-store")
	// It takes as long as it was asked to. A writer without deadlines goes without.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{})
	switch name := c.r.PathValue("profile"); name {
	case "profile":
		pprof.Profile(c.w, c.r)
	case "trace":
		pprof.Trace(c.w, c.r)
	case "heap", "allocs", "goroutine", "block", "mutex", "threadcreate":
		pprof.Handler(name).ServeHTTP(c.w, c.r)
	default:
		return fault.New(fault.NotFound, "find profile", name, "no such profile").WithHint("profile, trace, heap, allocs, goroutine, block, mutex or threadcreate")
	}
	return nil
}
