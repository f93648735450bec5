// Package hosttest stands in for the machine in tests that run on real goroutines; a test
// that needs timers to follow the time it sets belongs inside testing/synctest.
package hosttest

import (
	"sync"
	"time"
)

// Clock is a host.Clock that only the test moves; its timers are real.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at t.
func NewClock(t time.Time) *Clock { return &Clock{now: t} }

// Now is the time that the test set.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// NewTimer waits in real time.
func (c *Clock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// Add moves the clock on by d; d may be negative.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set moves the clock to t, which may lie in the past.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}
