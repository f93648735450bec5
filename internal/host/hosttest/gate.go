package hosttest

import (
	"sync"
	"time"
)

// Gate makes timers that wait for a test and not for time: they fire while it is open. The
// zero Gate is closed.
type Gate struct {
	mu   sync.Mutex
	open bool
	held []*time.Timer
}

// NewTimer returns a timer that fires when the gate is open.
func (g *Gate) NewTimer() *time.Timer {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		return time.NewTimer(0)
	}
	t := time.NewTimer(24 * time.Hour)
	g.held = append(g.held, t)
	return t
}

// Open lets all timers fire, and those that are made while it is open.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for _, t := range g.held {
		if t.Stop() { // else nobody waits for it any more
			t.Reset(0)
		}
	}
	g.held = nil
}

// Close holds the timers that are made from now on.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = false
}
