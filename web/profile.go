package web

import (
	"net/http/pprof"

	"penstock/internal/fault"
)

// showProfile serves a profile of the running server (net/http/pprof): where time and
// memory go, never what is in it. profile and trace take ?seconds=.
func showProfile(c *call) error {
	c.w.Header().Set("Cache-Control", "no-store")
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
